from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.core import ARROW, CSV, JSON, NDJSON, Refused
from streams.codecs import json_
from streams.codecs.events import KINDS, decode_events, encode_event
from streams.codecs.events import REASONS as EVENT_REASONS
from streams.codecs.readings import bare, decode_readings, encode_readings, split_by_site
from streams.codecs.rows import REASONS, format_time, parse_time
from streams.model import Readings, SeriesKey, SeriesTable
from tests.streams.codecs.reading_samples import ROW, batch, good, same

MORNING = 1_795_399_200_000


def reject(body: bytes, decode: Any = json_.decode) -> Any:
    decoded = decode(body, SeriesTable(), 7)
    assert len(decoded.readings) == 0
    assert len(decoded.rejects) == 1
    assert decoded.rejects[0].reason in REASONS
    return decoded.rejects[0]


@settings(max_examples=40, deadline=None)
@given(st.lists(ROW, max_size=70))
def test_what_is_encoded_is_decoded(rows: list[tuple[Any, ...]]) -> None:
    readings, table = batch(rows)
    for encode, decode in ((json_.encode, json_.decode), (json_.encode_ndjson, json_.decode_ndjson)):
        found_table = SeriesTable()
        decoded = decode(encode(readings, table), found_table, 7)
        assert decoded.rejects == []
        same(decoded.readings, found_table, readings, table)


def test_one_object_is_a_batch_of_one() -> None:
    table = SeriesTable()
    decoded = json_.decode(json.dumps(good()).encode(), table, 99)
    assert table.keys == [SeriesKey("S1", "DA001", "a21026", "hour", "avg")]
    assert decoded.readings.time.tolist() == [MORNING]
    assert decoded.readings.value.tolist() == [12.5]
    assert decoded.readings.flag.tolist() == [ord("N")]
    assert decoded.readings.arrived.tolist() == [99]


def test_a_statistic_that_is_not_given_is_the_usual_one() -> None:
    table = SeriesTable()
    rows = [good(period=period) for period in ("realtime", "hour")]
    for row in rows:
        del row["stat"]
    json_.decode(json.dumps(rows).encode(), table, 0)
    assert [key.stat for key in table.keys] == ["rtd", "avg"]


@pytest.mark.parametrize(
    ("flag", "byte"), [("N", 78), ("", 0), (None, 0), ("?", 63), ("X", 63), ("n", 63), ("NN", 63), ("正常", 63)]
)
def test_an_unknown_flag_is_kept_as_not_usable(flag: str | None, byte: int) -> None:
    decoded = json_.decode(json.dumps(good(flag=flag)).encode(), SeriesTable(), 0)
    assert decoded.readings.flag.tolist() == [byte]


BAD = [
    *[({name: None}, "missing_field") for name in ("site", "point", "factor", "time", "period", "value")],
    *[({name: ""}, "missing_field") for name in ("site", "point", "factor", "time", "period")],
    *[({name: 5}, "wrong_type") for name in ("site", "point", "factor", "period", "stat", "flag")],
    *[({name: ["x"]}, "wrong_type") for name in ("site", "period", "stat", "flag", "value")],
    *[({"value": value}, "wrong_type") for value in (True, False, {}, [])],
    *[({"value": value}, "bad_number") for value in ("12.5", "", "abc")],
    ({"value": 10**400}, "not_finite"),
    ({"period": "hourly"}, "bad_period"),
    ({"stat": "a/b"}, "bad_name"),
    *[({"site": site}, "bad_name") for site in ("a/b", "a\x00", "a\n", "x" * 129, "\ud800")],
    *[({"time": time}, "bad_time") for time in (5, 1795399200000, True, {})],
    *[
        ({"time": time}, "bad_time")
        for time in (
            "2026-11-23T10:00:00",
            "2026-11-23",
            "2026-02-30T10:00:00Z",
            "2026-11-23T25:00:00Z",
            "2026-11-23T10:00:00+99:00",
            "20261123100000",
            "٢026-11-23T10:00:00Z",
            "2026-11-23T10:00:00Z\n",
        )
    ],
]


@pytest.mark.parametrize(("fields", "reason"), BAD)
def test_a_bad_row_is_refused_for_its_reason_and_the_others_kept(fields: dict[str, Any], reason: str) -> None:
    bad = json.dumps(good(**fields)).encode()
    body = b"[" + json.dumps(good()).encode() + b"," + bad + b"," + json.dumps(good(value=3)).encode() + b"]"
    decoded = json_.decode(body, SeriesTable(), 0)
    assert decoded.readings.value.tolist() == [12.5, 3.0]
    assert decoded.readings.frame.tolist() == [0, 2]
    assert [(r.reason, r.frame, r.rows) for r in decoded.rejects] == [(reason, 1, 1)]
    assert decoded.rejects[0].raw
    lines = json_.decode_ndjson(body[1:-1].replace(b"},{", b"}\n{"), SeriesTable(), 0)
    assert [(r.reason, r.frame, r.raw) for r in lines.rejects] == [(reason, 1, bad)]


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1" + b"0" * 400])
def test_what_is_not_finite_is_named_and_the_rest_kept(value: bytes) -> None:
    bad = json.dumps(good()).encode().replace(b"12.5", value)
    body = b"[" + bad + b"," + json.dumps(good()).encode() + b"]"
    decoded = json_.decode(body, SeriesTable(), 0)
    assert [(r.reason, r.frame) for r in decoded.rejects] == [("not_finite", 0)]
    assert len(decoded.readings) == 1
    assert reject(bad, json_.decode_ndjson).raw == bad


def test_a_missing_offset_names_the_remedy() -> None:
    assert "+08:00" in reject(json.dumps(good(time="2026-11-23T10:00:00")).encode()).detail


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "bad_json"),
        (b"{", "bad_json"),
        (b'[{"site":"S1"},', "bad_json"),
        (b"\xff\xfe{", "not_utf8"),
        (b'{"site":"\xb3\xa7"}', "not_utf8"),
        (b"[" * 100_000, "bad_json"),
        (b"[" * 100_000 + b"]" * 100_000, "bad_json"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "bad_json"),
    ],
)
def test_a_body_that_is_not_json_is_one_reject(body: bytes, reason: str) -> None:
    found = reject(body)
    assert (found.reason, found.rows, found.raw) == (reason, 0, body)


@pytest.mark.parametrize("body", [b"5", b'"x"', b"null", b"true", b"[5]", b"[null]", b"[[]]"])
def test_what_is_no_object_is_no_reading(body: bytes) -> None:
    assert reject(body).reason == "wrong_type"


def test_lines_are_judged_one_by_one() -> None:
    fine = json.dumps(good()).encode()
    body = b"\xef\xbb\xbf" + fine + b"\r\n\r\n{broken\n" + fine + b"," + fine + b"\n\xff\n  " + fine
    decoded = json_.decode_ndjson(body, SeriesTable(), 0)
    assert decoded.readings.frame.tolist() == [0, 4]
    assert [(r.reason, r.frame) for r in decoded.rejects] == [("bad_json", 1), ("bad_json", 2), ("not_utf8", 3)]


def test_two_lines_that_are_one_object_are_two_faults() -> None:
    decoded = json_.decode_ndjson(b'{"a":[1\n2]},{"b":1}\n', SeriesTable(), 0)
    assert [r.reason for r in decoded.rejects] == ["bad_json", "bad_json"]


def test_a_record_number_stands_on_every_row() -> None:
    body = json.dumps([good(), good(value=None)]).encode()
    decoded = json_.decode(body, SeriesTable(), 0, record=41)
    assert decoded.readings.frame.tolist() == [41]
    assert (decoded.rejects[0].frame, decoded.rejects[0].detail[:7]) == (41, "row 1: ")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_nothing_raises(body: bytes) -> None:
    for decode in (json_.decode, json_.decode_ndjson):
        decoded = decode(body, SeriesTable(), 0)
        assert all(r.reason in REASONS for r in decoded.rejects)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(BAD) | st.just(({}, "")), min_size=64, max_size=90), st.booleans())
def test_the_column_path_and_the_row_path_agree(cases: list[tuple[dict[str, Any], str]], clean: bool) -> None:
    rows = [good(**(fields if not clean else {}), unit="mg/m3") | {"point": f"P{i % 3}"} for i, (fields, _) in enumerate(cases)]
    whole, table = json_.decode(json.dumps(rows).encode(), t := SeriesTable(), 0), t
    single_table = SeriesTable()
    parts = [json_.decode(json.dumps(row).encode(), single_table, 0) for row in rows]
    assert table.keys == single_table.keys
    joined = Readings.concat([p.readings for p in parts])
    assert whole.readings.series.tolist() == joined.series.tolist()
    assert whole.readings.value.tolist() == joined.value.tolist()
    assert [r.reason for r in whole.rejects] == [r.reason for p in parts for r in p.rejects]


@given(st.integers(-2_000_000_000_000, 200_000_000_000_000))
def test_times_are_written_as_they_are_read(time_ms: int) -> None:
    assert parse_time(format_time(time_ms)) == time_ms


def test_offsets_and_fractions() -> None:
    for text in ("2026-11-23T10:00:00+08:00", "2026-11-23T02:00:00Z", "2026-11-23 02:00:00z", "2026-11-23T02:00:00.000000+00:00"):
        assert parse_time(text) == MORNING
    assert parse_time("2026-11-23T02:00:00.1239Z") == MORNING + 123
    assert parse_time("1969-12-31T23:59:59.999Z") == -1


def test_every_content_type_carries_the_same_readings() -> None:
    readings, table = batch([("S1", "P", "f", "hour", "avg", i * 1000, i / 8, 78) for i in range(5)])
    for kind in (JSON, NDJSON, CSV, ARROW):
        found = SeriesTable()
        same(
            decode_readings(f"{kind.upper()}; charset=utf-8", encode_readings(kind, readings, table), found, 7).readings,
            found,
            readings,
            table,
        )
    [refused] = decode_readings("text/html", b"x", SeriesTable(), 0, record=3).rejects
    assert (refused.reason, refused.raw, refused.frame, refused.rows) == ("bad_content_type", b"x", 3, 0)
    assert "send one of" in refused.detail
    with pytest.raises(Refused, match=r"text/html.*send one of"):
        split_by_site("text/html", b"")
    assert bare("Text/CSV ; header=present") == CSV


def test_a_body_is_cut_by_site_and_loses_nothing() -> None:
    rows = [good(site=f"S{i % 3}", value=i) for i in range(200)] + [good(site="S9"), good(value="x")]
    batches, rejects = split_by_site(JSON, json.dumps(rows).encode())
    assert [b.site for b in batches] == ["S0", "S1", "S2", "S9"]
    assert sorted(row for b in batches for row in b.rows) == list(range(201))
    assert [(r.reason, r.frame) for r in rejects] == [("bad_number", 201)]
    for part in batches:
        table = SeriesTable()
        found = decode_readings(part.content_type, part.body, table, 0)
        assert found.readings.value.tolist() == [rows[i]["value"] for i in part.rows]
        assert {key.site for key in table.keys} == {part.site}
    assert batches[0].factors == ("a21026",)
    assert split_by_site(JSON, b"{")[0] == []


EVENT = {
    "id": "E1",
    "kind": "intrusion",
    "site": "S1",
    "point": "DA001",
    "start": "2026-11-23T10:00:00+08:00",
    "body": {"confidence": 0.9},
}


def events(row: Any) -> Any:
    return decode_events(JSON, json.dumps(row).encode())


def test_an_event_goes_through_both_ways() -> None:
    found, rejects = events({**EVENT, "end": "2026-11-23T10:05:00+08:00", "by": "ai"})
    assert rejects == []
    assert (found[0].start, found[0].end, found[0].by, found[0].body) == (MORNING, MORNING + 300_000, "ai", {"confidence": 0.9})
    assert decode_events(NDJSON, json.dumps(encode_event(found[0])).encode())[0] == found


def test_a_camera_platform_s_own_form_is_read() -> None:
    row = {
        "event_id": "VE2",
        "event_type": "black_smoke",
        "occurred_at": "2026-11-23T10:00:00+08:00",
        "end_at": None,
        "source": "ai",
    }
    row |= {"enterprise_code": "S1", "outlet_code": "DA001", "confidence": 0.86, "plate": None, "ringelmann": 2}
    found, rejects = events([row])
    assert rejects == []
    assert (found[0].id, found[0].kind, found[0].site, found[0].point) == ("VE2", "black_smoke", "S1", "DA001")
    assert found[0].body == {"confidence": 0.86, "ringelmann": 2}


def test_the_same_event_without_an_id_is_one_event() -> None:
    row = {key: value for key, value in EVENT.items() if key != "id"}
    (one,), (two,) = events(row)[0], events(row)[0]
    assert one.id == two.id
    assert len(one.id) == 32
    assert events({**row, "site": "S2"})[0][0].id != one.id


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"kind": None}, "missing_field"),
        ({"kind": 3}, "wrong_type"),
        ({"kind": "ufo"}, "unknown_kind"),
        ({"site": None}, "missing_field"),
        ({"site": "a/b"}, "bad_name"),
        ({"point": 3}, "wrong_type"),
        ({"start": None}, "missing_field"),
        ({"start": 5}, "bad_time"),
        ({"start": "2026-11-23T10:00:00"}, "bad_time"),
        ({"end": "2026-11-23T09:00:00+08:00"}, "end_before_start"),
        ({"by": 3}, "wrong_type"),
        ({"body": []}, "wrong_type"),
        ({"body": {"confidence": "high"}}, "wrong_type"),
        ({"body": {"confidence": True}}, "wrong_type"),
        ({"kind": "run_state"}, "missing_field"),
    ],
)
def test_a_bad_event_is_refused_for_its_reason(fields: dict[str, Any], reason: str) -> None:
    found, rejects = events([EVENT, {**EVENT, **fields}])
    assert len(found) == 1
    assert [(r.reason, r.frame) for r in rejects] == [(reason, 1)]
    assert reason in EVENT_REASONS


def test_events_that_are_not_json_are_refused() -> None:
    assert decode_events(JSON, b"{")[1][0].reason == "bad_json"
    assert [r.reason for r in decode_events(NDJSON, b"{\n5")[1]] == ["bad_json", "wrong_type"]
    with pytest.raises(Refused, match="carries no events"):
        decode_events(CSV, b"")


def test_door_words_are_kinds() -> None:
    assert events({**EVENT, "kind": "forced", "body": {"card": "7"}})[0][0].kind == "door_forced"
    assert "door_forced" in KINDS
