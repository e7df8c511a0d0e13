from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.core import ARROW, CSV, JSON, NDJSON
from streams.codecs.json_columns import KnownSeries
from streams.codecs.json_text import parse
from streams.codecs.readings import decode_many, decode_readings, encode_readings
from streams.codecs.rows import REASONS, Envelope, Fault, check_time
from streams.codecs.times import times_of
from streams.model import Decoded, Readings, SeriesTable
from tests.streams.codecs.reading_samples import batch, good

ARRIVED = 1_795_399_260_000
AHEAD = 600_000

ODD: list[Any] = [
    None,
    "",
    5,
    0,
    1.5,
    True,
    False,
    [],
    {},
    ["x"],
    "a/b",
    "S2",
    "X" * 129,
    "\n",
    "厂区",
    "N ",
    "avg",
    "AVG",
    "rtd",
    "K",
]
TIMES = ["2026-11-23T10:00:00+08:00", "2026-11-23T02:00:00.123Z", "2026-11-23 02:00:00z", "2026-11-23T10:00:00.5+08:00"]
TIMES += ["2026-11-23T10:11:00+08:00", "2026-11-23T10:12:00+08:00", "2026-11-23T10:00:00", "2026-02-30T10:00:00Z", "soon"]
ROW = st.fixed_dictionaries(
    {},
    optional={
        "site": st.sampled_from(["S1", "S2"]) | st.sampled_from(ODD),
        "point": st.sampled_from(["DA001", "DW001"]) | st.sampled_from(ODD),
        "period": st.sampled_from(["hour", "realtime", "year"]) | st.sampled_from(ODD),
        "stat": st.sampled_from(ODD),
        "time": st.sampled_from(TIMES) | st.sampled_from(ODD),
        "value": st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([10**400, 2**64, *ODD]),
        "flag": st.sampled_from(["N", "D", "?", *ODD]),
        "unit": st.sampled_from(["mg/m3", {"deep": [1]}]),
    },
).map(lambda fields: good(**fields))
GOOD = st.builds(good, site=st.sampled_from(["S1", "S2"]), value=st.floats(-1e9, 1e9), time=st.sampled_from(TIMES[:4]))
ROWS = st.lists(GOOD | ROW | st.sampled_from([5, None, "x", [good()], {}]), max_size=4)


def dumped(row: Any) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass")


def broken(body: bytes, cut: int) -> bytes:
    return body[: cut % (len(body) + 1)]


OBJECT = (GOOD | ROW).map(dumped)
BODY = st.one_of(
    OBJECT,
    OBJECT,
    ROWS.map(dumped),
    ROWS.map(lambda rows: json.dumps(rows, indent=1).encode()),
    OBJECT.map(lambda body: b"\xef\xbb\xbf" + body),
    st.builds(broken, OBJECT, st.integers(0, 400)),
    st.sampled_from(
        [b"", b"[]", b"{", b'{"a":[{}', b'{}],"b":1},{}', b"\xff", b'{"value":NaN}', b'{"site":"\\ud800"}', b"{},\n{}"]
    ),
).map(lambda body: (JSON, body))
LINES = st.lists(
    OBJECT | st.sampled_from([b"", b" ", b"{", b"[]", b"\xff", b"\xef\xbb\xbf{}", b'{"a":[{}', b"{}]},{}"]), max_size=4
)
ANY = BODY | LINES.map(lambda lines: ("application/X-NDJSON; x=1", b"\n".join(lines)))


def one_by_one(records: list[tuple[str, bytes]], table: SeriesTable, arrived: Any, keys: Any, ahead: Any) -> Decoded:
    parts = [
        decode_readings(kind, body, table, int(arrived[i]), record=i, envelope=Envelope(keys and keys[i], ahead))
        for i, (kind, body) in enumerate(records)
    ]
    return Decoded(Readings.concat([p.readings for p in parts]), [], [r for p in parts for r in p.rejects])


def equal(found: Decoded, wanted: Decoded) -> None:
    assert found.rejects == wanted.rejects
    for name in Readings.__slots__:
        assert getattr(found.readings, name).tolist() == getattr(wanted.readings, name).tolist(), name
        assert getattr(found.readings, name).dtype == getattr(wanted.readings, name).dtype, name


def both(records: list[tuple[str, bytes]], *, keys: Any = None, ahead: Any = None) -> Decoded:
    arrived = ARRIVED + np.arange(len(records)) * 1000
    table, other = SeriesTable(), SeriesTable()
    wanted = one_by_one(records, table, arrived, keys, ahead)
    known = KnownSeries(other)
    decode_many([JSON], [dumped(good(site="S9", flag=5))], known, np.array([ARRIVED]))  # refused: numbers nothing
    found = decode_many([k for k, _ in records], [b for _, b in records], known, arrived, keys=keys, ahead=ahead)
    equal(found, wanted)
    assert other.keys == table.keys
    return found


@settings(max_examples=300, deadline=None)
@given(st.lists(ANY, max_size=8), st.booleans(), st.booleans())
def test_many_records_are_decoded_as_each_alone(records: list[tuple[str, bytes]], keyed: bool, bounded: bool) -> None:
    both(records, keys=["S1"] * len(records) if keyed else None, ahead=AHEAD if bounded else None)


@settings(max_examples=30, deadline=None)
@given(st.lists(GOOD | ROW, min_size=64, max_size=80), st.booleans())
def test_a_large_body_is_decoded_as_its_rows_alone(rows: list[Any], lines: bool) -> None:
    table, other = SeriesTable(), SeriesTable()
    body = b"\n".join(map(dumped, rows)) if lines else dumped(rows)
    whole = decode_readings(NDJSON if lines else JSON, body, table, ARRIVED, envelope=Envelope("S1", AHEAD))
    alone = [decode_readings(JSON, dumped(row), other, ARRIVED, envelope=Envelope("S1", AHEAD)) for row in rows]
    assert table.keys == other.keys
    assert whole.readings.value.tolist() == [v for part in alone for v in part.readings.value.tolist()]
    assert whole.readings.series.tolist() == [v for part in alone for v in part.readings.series.tolist()]
    refused = [(r.reason, r.detail, i) for i, part in enumerate(alone) for r in part.rejects]
    assert [(r.reason, r.detail, r.frame) for r in whole.rejects] == refused


def test_texts_that_are_json_only_together_are_refused_alone() -> None:
    for texts in ([b'{"a":[{}', b"{}]},{}"], [b'{"x":"}', b'{","y":{}}', b"{},{}"], [b'{"a":1},\n{"b":1', b'"c":2}']):
        assert [isinstance(found, Fault) for found in parse(texts)] == [True] * len(texts)
    assert parse([b'{"a":1}', b'{"a":2}']) == [{"a": 1}, {"a": 2}]


def test_a_mixture_of_all_content_types_keeps_its_order() -> None:
    readings, table = batch([("S1", "P", f"f{i}", "hour", "avg", i * 1000, i / 8, 78) for i in range(4)])
    bodies = [(kind, encode_readings(kind, readings, table)) for kind in (JSON, ARROW, NDJSON, CSV, JSON)]
    found = both([*bodies, ("text/html", b"x"), (JSON, b"{"), (ARROW, b"x")], keys=["S1"] * 8, ahead=AHEAD)
    assert found.readings.frame.tolist() == [i for i in range(5) for _ in range(4)]
    assert [(r.reason, r.frame) for r in found.rejects] == [("bad_content_type", 5), ("bad_json", 6), ("bad_arrow", 7)]


def test_a_series_keeps_its_number_from_run_to_run() -> None:
    known = KnownSeries(SeriesTable())
    first = decode_many([JSON], [dumped([good(), good(point="P2")])], known, np.array([ARRIVED]))
    second = decode_many([JSON], [dumped([good(point="P2", stat=None), good(stat="AVG")])], known, np.array([ARRIVED]))
    assert (first.readings.series.tolist(), second.readings.series.tolist()) == ([0, 1], [1, 0])


@pytest.mark.parametrize("kind", [JSON, NDJSON, CSV, ARROW])
def test_rows_of_another_site_and_of_the_future_are_refused_in_every_content_type(kind: str) -> None:
    late, soon = ARRIVED + AHEAD, ARRIVED + AHEAD + 1
    readings, table = batch([(site, "P", "f", "hour", "avg", time, 1, 78) for site in ("S1", "S2") for time in (late, soon)])
    decoded = decode_readings(
        kind, encode_readings(kind, readings, table), SeriesTable(), ARRIVED, record=0, envelope=Envelope("S1", AHEAD)
    )
    assert decoded.readings.time.tolist() == [late]
    assert [r.reason for r in decoded.rejects] == ["future_time", "wrong_key", "wrong_key"]
    assert "10 min ahead of log time" in decoded.rejects[0].detail
    assert "'S2' came under the key 'S1'" in decoded.rejects[1].detail
    assert {r.rows for r in decoded.rejects} == {1}


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 3), st.data())
def test_an_encoded_batch_cut_or_damaged_anywhere_raises_nothing(which: int, data: st.DataObject) -> None:
    kind = (JSON, NDJSON, CSV, ARROW)[which]
    readings, table = batch([("S1", "P", f"f{i}", "hour", "avg", i * 1000, i / 8, 78) for i in range(3)])
    body = encode_readings(kind, readings, table)
    at = data.draw(st.integers(0, len(body) - 1))
    damaged = body[:at] + data.draw(st.binary(max_size=4)) + body[at + data.draw(st.integers(0, len(body))) :]
    decoded = decode_readings(kind, damaged, SeriesTable(), ARRIVED, record=0, envelope=Envelope("S1", AHEAD))
    assert {r.reason for r in decoded.rejects} <= set(REASONS)
    assert all(r.detail for r in decoded.rejects)
    if not len(decoded.readings) and not decoded.rejects:
        assert not damaged.strip() or kind in (CSV, ARROW)  # a header alone, or a stream of no batch


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(TIMES + ODD) | st.datetimes().map(lambda t: t.isoformat() + "+08:00") | st.text(max_size=26)))
def test_times_read_together_are_those_read_alone(texts: list[Any]) -> None:
    wanted = []
    for text in texts:
        try:
            wanted.append(check_time(text))
        except Fault:
            wanted.append(None)
    times, bad = times_of(texts)
    assert bad == [i for i, time in enumerate(wanted) if time is None]
    assert [time for i, time in enumerate(times.tolist()) if i not in bad] == [time for time in wanted if time is not None]


@given(st.integers(0, 24), st.characters())
def test_one_wrong_sign_in_a_time_is_found(at: int, sign: str) -> None:
    text = "2024-02-29T23:59:59-11:30"
    test_times_read_together_are_those_read_alone.hypothesis.inner_test([text[:at] + sign + text[at + 1 :]] * 2)


def test_dates_that_do_not_exist_are_found() -> None:
    for text in ("2023-02-29", "1900-02-29", "2026-04-31", "2026-13-01", "2026-00-10", "2026-01-00"):
        assert times_of([f"{text}T00:00:00Z"])[1] == [0]
    assert times_of(["2000-02-29T00:00:00Z"])[1] == []


def test_hours_and_offsets_have_ends() -> None:
    for text in ("24:00:00Z", "23:60:00Z", "23:59:60Z", "00:00:00+24:00", "00:00:00+08:60"):
        assert times_of([f"2026-01-01T{text}"])[1] == [0]


def test_rejects_of_a_run_keep_the_bytes_of_their_line() -> None:
    bad = dumped(good(value=None))
    found = both([(NDJSON, dumped(good()) + b"\n" + bad + b"\n{")])
    assert [(r.reason, r.raw) for r in found.rejects] == [("bad_json", b"{"), ("missing_field", bad)]
    assert replace(found.rejects[0], raw=b"").detail.startswith("row 2: ")
