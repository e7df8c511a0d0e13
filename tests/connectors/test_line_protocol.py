"""Influx line protocol: every line is a point, a fault with its number and reason, or nothing; what is written is read back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import line_protocol
from connectors.line_protocol import INT64, UINT64, Fault, Point, line, lines, parse

NAMES = (
    st.text(
        st.one_of(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), st.sampled_from("\\,= \"#%'\t")), min_size=1
    )
    .filter(lambda text: not text.endswith("\\"))
    .filter(lambda text: text[0] not in "#\t\r")
)
TEXTS = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from('\\", \n=#')))
VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.integers(INT64.start, UINT64.stop - 1),
    TEXTS,
)
POINTS = st.builds(
    Point,
    NAMES,
    st.dictionaries(NAMES, VALUES, min_size=1, max_size=4),
    st.dictionaries(NAMES, NAMES, max_size=4),
    st.one_of(st.none(), st.integers(INT64.start, INT64.stop - 1)),
)


@given(st.lists(POINTS, max_size=5))
def test_what_is_written_is_read_back(points: list[Point]) -> None:
    assert parse(lines(points)) == (points, [])


def one(text: str, precision: str = "ns") -> Point:
    [point], faults = parse(text.encode(), precision)
    assert faults == []
    return point


REFERENCE_NAMES = st.text(st.one_of(st.characters(categories=["L", "N", "P", "S"]), st.sampled_from("\\,= ")), min_size=1).filter(
    lambda text: not text.endswith("\\") and not text.startswith("#")
)


@given(
    REFERENCE_NAMES,
    st.dictionaries(REFERENCE_NAMES, REFERENCE_NAMES, max_size=3),
    st.dictionaries(
        REFERENCE_NAMES,
        st.one_of(
            st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.integers(INT64.start, INT64.stop - 1), TEXTS
        ),
        min_size=1,
        max_size=3,
    ),
    st.integers(-(10**18), 10**18),
)
def test_it_reads_what_the_reference_library_writes(measurement: str, tags: dict, fields: dict, time: int) -> None:
    from influxdb_client import Point as Reference

    made = Reference(measurement).time(time)
    for key, value in tags.items():
        made.tag(key, value)
    for key, value in fields.items():
        made.field(key, value)
    read = one(made.to_line_protocol())
    assert (read.measurement, read.tags, read.fields, read.time) == (measurement, tags, fields, time)
    assert {type(v) for v in read.fields.values()} == {type(v) for v in fields.values()}


@given(st.binary(max_size=200), st.sampled_from(["ns", "s", "fortnight"]))
def test_no_bytes_raise(body: bytes, precision: str) -> None:
    points, faults = parse(body, precision)
    assert all(type(p.time) in {int, type(None)} and p.fields for p in points)
    assert all(f.reason for f in faults)


@given(
    st.lists(
        st.sampled_from(['air f="', "air f=1", "air,=", 'air f="a\\', "# air", "", "air f=1i 5", "\xff", 'x",y="']), max_size=6
    )
)
def test_every_line_has_one_fate_at_most(bodies: list[str]) -> None:
    points, faults = parse("\n".join(bodies).encode("latin-1"))
    assert len(points) + len(faults) <= len(bodies)
    assert len({f.line for f in faults}) == len(faults)
    for fault in faults:
        assert fault.raw == bodies[fault.line - 1].encode("latin-1")


@pytest.mark.parametrize(
    ("precision", "ns"), [("ns", 5), ("us", 5_000), ("ms", 5_000_000), ("s", 5_000_000_000), ("u", 5_000), ("m", 300_000_000_000)]
)
def test_timestamps_are_read_in_their_precision(precision: str, ns: int) -> None:
    assert one("air pm25=1 5", precision).time == ns
    assert one("air pm25=1", precision).time is None


def test_the_kinds_of_values() -> None:
    read = one(r'm,t=a\ b\,c\=d\e a=1,b=-2i,c=18446744073709551615u,d=T,e=False,f="x\"y\\z, =\n",g=.5,h=1e3,i=-1.')
    assert read.tags == {"t": r"a b,c=d\e"}
    assert read.fields == {
        "a": 1.0, "b": -2, "c": 18446744073709551615, "d": True, "e": False, "f": r'x"y\z, =\n', "g": 0.5, "h": 1000.0, "i": -1.0,
    }  # fmt: skip
    assert [type(read.fields[k]) for k in "abd"] == [float, int, bool]


def test_comments_blank_lines_carriage_returns_and_strings_of_several_lines() -> None:
    points, faults = parse(b'# head\n\n  air f=1 7\r\nair f="two\nlines" 8\n\t\nair f=t\r\nair f=?')
    assert [(p.fields["f"], p.time) for p in points] == [(1.0, 7), ("two\nlines", 8), (True, None)]
    assert [f.line for f in faults] == [8]


BAD = {
    ",a=b f=1": "measurement is missing",
    "air": "fields are missing",
    "air,a f=1": "a tag is written",
    "air,a= f=1": "a tag is written",
    "air,a=1,a=2 f=1": "tag 'a' is there twice",
    "air f": "a field is written",
    "air f=": "a field is written",
    "air f=1,": "a field is written",
    'air f="x': "a field is written",
    "air f=1x": "field 'f': '1x' is no finite number",
    "air f=NaN": "is no finite number",
    "air f=1e999": "is no finite number",
    "air f=1_0": "is no finite number",
    "air f=١": "is no finite number",
    "air f=9223372036854775808i": "is no finite number",
    "air f=-1u": "is no finite number",
    "air f=1 soon": "timestamp",
    "air f=1 1 1": "timestamp",
    "air f=1 9223372036854775808": "outside the years",
    f"air f=1 {'9' * 5000}": "outside the years",
}


@pytest.mark.parametrize(("bad", "reason"), BAD.items())
def test_a_bad_line_is_named_and_costs_no_other(bad: str, reason: str) -> None:
    points, [fault] = parse(f"air f=1 1\n{bad}\nair f=2 2\n".encode())
    assert [p.time for p in points] == [1, 2]
    assert fault.line == 2
    assert reason in fault.reason
    assert fault.raw == bad.encode()


def test_bytes_that_are_no_text_are_one_fault() -> None:
    points, [fault] = parse(b"air,site=\xb3\xc7 f=1\nair f=2")
    assert len(points) == 1
    assert fault == Fault(1, "is not UTF-8; encode names and strings as UTF-8", b"air,site=\xb3\xc7 f=1")


def test_an_unknown_precision_is_a_fault_of_the_whole_body() -> None:
    [fault] = parse(b"air f=1", "fortnight")[1]
    assert fault.line == 0
    assert "use one of ns" in fault.reason


@pytest.mark.parametrize(
    "impossible",
    [
        Point("", {"f": 1}),
        Point("#air", {"f": 1}),
        Point("\tair", {"f": 1}),
        Point("a\nb", {"f": 1}),
        Point("air", {}),
        Point("air", {"f": math.nan}),
        Point("air", {"f": 1 << 64}),
        Point("air", {"f": 1}, {"site": "S1\\"}),
    ],
)
def test_what_no_line_can_hold_is_refused(impossible: Point) -> None:
    with pytest.raises(ValueError, match=r"line|comment|finite|64 bits"):
        line(impossible)


def test_a_tag_without_value_is_left_out() -> None:
    assert line_protocol.series("air", {"b": "2", "a": ""}) == "air,b=2"
