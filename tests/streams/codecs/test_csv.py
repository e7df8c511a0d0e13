from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codecs import csv_
from streams.codecs.rows import REASONS
from streams.model import SeriesTable
from tests.streams.codecs.reading_samples import ROW, batch, same

HEADER = b"site,point,factor,time,period,stat,value,flag\r\n"
LINE = b"S1,DA001,a21026,2026-11-23T10:00:00+08:00,hour,avg,12.5,N\r\n"


@settings(max_examples=40, deadline=None)
@given(st.lists(ROW, max_size=15))
def test_what_is_encoded_is_decoded(rows: list[tuple[Any, ...]]) -> None:
    readings, table = batch(rows)
    found = SeriesTable()
    decoded = csv_.decode(csv_.encode(readings, table), found, 7)
    assert decoded.rejects == []
    same(decoded.readings, found, readings, table)


def test_columns_come_in_any_order_and_others_are_ignored() -> None:
    table = SeriesTable()
    body = b"\xef\xbb\xbfvalue,unit,site,time,factor,point,period\n1.5,mg/m3,S1,2026-11-23T02:00:00Z,a21026,DA001,realtime\n"
    decoded = csv_.decode(body, table, 0)
    assert str(table.keys[0]) == "S1/DA001/a21026/realtime/rtd"
    assert decoded.readings.value.tolist() == [1.5]
    assert decoded.rejects == []


BAD = [
    (b",DA001,a21026,2026-11-23T10:00:00+08:00,hour,avg,12.5,N", "missing_field"),
    (b"S1,DA001,a21026,,hour,avg,12.5,N", "missing_field"),
    (b"S1,DA001,a21026,2026-11-23T10:00:00+08:00,hour,avg,,N", "missing_field"),
    (b"S1,DA001,a21026", "missing_field"),
    (b"S1,DA001,a21026,2026-11-23T10:00:00,hour,avg,12.5,N", "bad_time"),
    (b"S1,DA001,a21026,2026-11-23 10:00,hour,avg,12.5,N", "bad_time"),
    (b"S1,DA001,a21026,2026-11-23T10:00:00+08:00,hourly,avg,12.5,N", "bad_period"),
    (b"S/1,DA001,a21026,2026-11-23T10:00:00+08:00,hour,avg,12.5,N", "bad_name"),
    (b"S1,DA001,a21026,2026-11-23T10:00:00+08:00,hour,a-b,12.5,N", "bad_name"),
    *[
        (b"S1,DA001,a21026,2026-11-23T10:00:00+08:00,hour,avg," + value + b",N", "bad_number")
        for value in (b"abc", b"1_000", b"0x10", b"1,", b"--", b" 12", b"12 ", b"True", b"1e", b"\xe2\x88\x9e")
        if value != b"1,"
    ],
    *[
        (b"S1,DA001,a21026,2026-11-23T10:00:00+08:00,hour,avg," + value + b",N", "not_finite")
        for value in (b"NaN", b"nan", b"inf", b"-Infinity", b"1e400")
    ],
    (b"S1,DA001,a21026,2026-11-23T10:00:00+08:00,hour,avg,12.5,N,9", "bad_csv"),
    (b'"S1,DA001,a21026,2026-11-23T10:00:00+08:00,hour,avg,12.5,N', "bad_csv"),
    (b"\xb3\xa7,DA001,a21026,2026-11-23T10:00:00+08:00,hour,avg,12.5,N", "not_utf8"),
]


@pytest.mark.parametrize(("line", "reason"), BAD)
def test_a_bad_row_is_refused_for_its_reason_and_the_others_kept(line: bytes, reason: str) -> None:
    decoded = csv_.decode(HEADER + LINE + line + b"\r\n" + LINE, SeriesTable(), 0)
    assert decoded.readings.frame.tolist() == [0, 2]
    assert [(r.reason, r.frame, r.rows, r.raw) for r in decoded.rejects] == [(reason, 1, 1, line)]
    assert reason in REASONS


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([line for line, _ in BAD] + [LINE.strip()] * 10), max_size=12))
def test_the_column_path_and_the_row_path_agree(lines: list[bytes]) -> None:
    body = HEADER.replace(b"\r", b"") + b"".join(line + b"\n" for line in lines)
    whole_table, slow_table = SeriesTable(), SeriesTable()
    whole = csv_.decode(body, whole_table, 0)
    slow = csv_.decode(body.replace(b"site,", b'"site",', 1), slow_table, 0)  # quotes send a body to the row path
    assert whole_table.keys == slow_table.keys
    assert whole.readings.frame.tolist() == slow.readings.frame.tolist()
    assert [(r.reason, r.frame, r.raw) for r in whole.rejects] == [(r.reason, r.frame, r.raw) for r in slow.rejects]


@pytest.mark.parametrize("number", ["+1.5", ".5", "5.", "1e3", "-0", "1E-3", "0.1", "123456789012345678901234567890", "1e-400"])
def test_numbers_are_read_exactly(number: str) -> None:
    decoded = csv_.decode(HEADER + LINE.replace(b"12.5", number.encode()), SeriesTable(), 0)
    assert decoded.readings.value.tolist() == [float(number)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "missing_field"),
        (b"site,point\nS1,P\n", "missing_field"),
        (b"site,site,point,factor,time,period,value\n", "bad_csv"),
        (b"\xff\xfe\n", "not_utf8"),
    ],
)
def test_a_body_without_its_header_is_one_reject(body: bytes, reason: str) -> None:
    decoded = csv_.decode(body, SeriesTable(), 0)
    assert [(r.reason, r.rows) for r in decoded.rejects] == [(reason, 0)]
    assert "site" in decoded.rejects[0].detail or reason == "not_utf8"


def test_line_ends_and_blank_lines() -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        body = (HEADER + LINE + b"\r\n" + LINE).replace(b"\r\n", end)
        assert csv_.decode(body, SeriesTable(), 0).readings.frame.tolist() == [0, 1]
    assert len(csv_.decode(HEADER, SeriesTable(), 0).readings) == 0
    assert len(csv_.decode(HEADER + LINE.rstrip(), SeriesTable(), 0).readings) == 1


def test_a_record_number_stands_on_every_row() -> None:
    bad = LINE.replace(b"hour", b"eon")
    for body in (HEADER + LINE + bad, HEADER + LINE + bad + b'"'):
        decoded = csv_.decode(body, SeriesTable(), 0, record=41)
        assert decoded.readings.frame.tolist() == [41]
        assert (decoded.rejects[0].frame, decoded.rejects[0].detail[:7]) == (41, "row 1: ")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_nothing_raises(body: bytes, headed: bool) -> None:
    decoded = csv_.decode((HEADER if headed else b"") + body, SeriesTable(), 0)
    assert all(r.reason in REASONS for r in decoded.rejects)
