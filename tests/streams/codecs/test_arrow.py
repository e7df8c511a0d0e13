from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codecs import arrow, arrow_guard, columns
from streams.codecs.rows import REASONS
from streams.model import Decoded, SeriesTable
from tests.streams.codecs.reading_samples import ROW, batch, good, same

MORNING = 1_795_399_200_000


def stream(table: pa.Table, *, batch_rows: int | None = None, codec: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(table, max_chunksize=batch_rows)
    return bytes(sink.getvalue())


def table_of(n: int = 3, **fields: Any) -> pa.Table:
    row = good()
    made = {name: pa.array([row[name]] * n) for name in ("site", "point", "factor", "period", "stat", "value", "flag")}
    made["time"] = pa.array([MORNING] * n, pa.int64())
    made |= {name: pa.array(value) if isinstance(value, list) else value for name, value in fields.items()}
    return pa.table({name: value for name, value in made.items() if value is not None})


def decode(table: pa.Table, series: SeriesTable | None = None) -> Decoded:
    return arrow.decode(stream(table), SeriesTable() if series is None else series, 7)


@settings(max_examples=30, deadline=None)
@given(st.lists(ROW, max_size=20), st.booleans())
def test_what_is_encoded_is_decoded(rows: list[tuple[Any, ...]], plain: bool) -> None:
    readings, table = batch(rows)
    body = arrow.encode(readings, table)
    if plain:
        read = pa.ipc.open_stream(body).read_all()
        texts = [name for name in read.column_names if pa.types.is_dictionary(read.schema.field(name).type)]
        for name in texts:
            read = read.set_column(read.column_names.index(name), name, read.column(name).cast(pa.string()))
        body = stream(read, batch_rows=7, codec="zstd")
    found = SeriesTable()
    decoded = arrow.decode(body, found, 7)
    assert decoded.rejects == []
    same(decoded.readings, found, readings, table)


@settings(max_examples=30, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=30))
def test_sorting_numbers_series_as_the_lookup_does(rows: list[tuple[Any, ...]]) -> None:
    readings, table = batch(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "LOOKUP", 0)
        patch.setattr(columns, "ROOM", 2)
        found = SeriesTable()
        same(arrow.decode(arrow.encode(readings, table), found, 7).readings, found, readings, table)


def test_dictionaries_that_change_between_batches() -> None:
    parts = [
        pa.table({**{n: table_of(2).column(n) for n in table_of().column_names}, "site": pa.array(s).dictionary_encode()})
        for s in (["a", "b"], ["c", "a"])
    ]
    series = SeriesTable()
    decoded = decode(pa.concat_tables(parts), series)
    assert [series.keys[i].site for i in decoded.readings.series.tolist()] == ["a", "b", "c", "a"]


@pytest.mark.parametrize(
    "time",
    [
        pa.array([MORNING // 1000] * 3, pa.timestamp("s", "UTC")),
        pa.array([MORNING] * 3, pa.timestamp("ms", "Asia/Shanghai")),
        pa.array([MORNING * 1000 + 999] * 3, pa.timestamp("us", "UTC")),
        pa.array([MORNING * 1_000_000 + 1] * 3, pa.timestamp("ns", "+08:00")),
        pa.array([MORNING] * 3, pa.int64()),
        pa.array(["2026-11-23T10:00:00+08:00"] * 3),
        pa.array(["2026-11-23T10:00:00+08:00"] * 3).dictionary_encode(),
    ],
)
def test_every_form_of_time_is_the_same_instant(time: pa.Array) -> None:
    assert decode(table_of(time=time)).readings.time.tolist() == [MORNING] * 3


@pytest.mark.parametrize(
    "value", [pa.array([1, 2, 3], pa.int16()), pa.array([1, 2, 3], pa.float32()), pa.array([1, 2, 3], pa.decimal128(9, 2))]
)
def test_every_kind_of_number_is_a_value(value: pa.Array) -> None:
    assert decode(table_of(value=value)).readings.value.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"value": [1.0, None, 2.0]}, "missing_field"),
        ({"value": [1.0, float("nan"), 2.0]}, "not_finite"),
        ({"value": [1.0, float("-inf"), 2.0]}, "not_finite"),
        ({"site": ["a", None, "a"]}, "missing_field"),
        ({"site": ["a", "", "a"]}, "missing_field"),
        ({"site": ["a", "b/c", "a"]}, "bad_name"),
        ({"period": ["hour", "eon", "day"]}, "bad_period"),
        ({"stat": ["avg", "a b", None]}, "bad_name"),
        ({"time": pa.array([MORNING, None, MORNING], pa.int64())}, "missing_field"),
        ({"time": pa.array([MORNING, None, MORNING], pa.timestamp("ms", "Mars/Phobos"))}, "missing_field"),
        ({"time": pa.array([1, 2**62, 3], pa.timestamp("s", "UTC"))}, "bad_time"),
        ({"time": ["2026-11-23T10:00:00Z", "2026-11-23T10:00:00", "2026-11-23T10:00:00Z"]}, "bad_time"),
    ],
)
def test_a_bad_row_is_refused_for_its_reason_and_the_others_kept(fields: dict[str, Any], reason: str) -> None:
    decoded = decode(table_of(**fields))
    assert decoded.readings.frame.tolist() == [0, 2]
    assert [(r.reason, r.frame, r.rows) for r in decoded.rejects] == [(reason, 1, 1)]
    assert b'"point":"DA001"' in decoded.rejects[0].raw or b"'point': 'DA001'" in decoded.rejects[0].raw


def test_a_time_without_zone_is_refused_with_the_remedy() -> None:
    decoded = decode(table_of(time=pa.array([MORNING] * 3, pa.timestamp("ms"))))
    assert [r.reason for r in decoded.rejects] == ["bad_time"] * 3
    assert "tz='UTC'" in decoded.rejects[0].detail


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"site": None}, "missing_field"),
        ({"value": None}, "missing_field"),
        ({"site": [1, 2, 3]}, "wrong_type"),
        ({"value": ["1", "2", "3"]}, "wrong_type"),
        ({"value": [True, False, True]}, "wrong_type"),
        ({"time": [1.0, 2.0, 3.0]}, "wrong_type"),
        ({"flag": [1, 2, 3]}, "wrong_type"),
    ],
)
def test_an_unusable_column_refuses_the_stream(fields: dict[str, Any], reason: str) -> None:
    decoded = decode(table_of(**fields))
    assert len(decoded.readings) == 0
    assert [(r.reason, r.rows) for r in decoded.rejects] == [(reason, 0)]


def test_stat_and_flag_may_be_left_out_or_null() -> None:
    for absent in (None, pa.nulls(3), pa.array([None, "", None], pa.string())):
        series = SeriesTable()
        decoded = decode(table_of(stat=absent, flag=absent, period=["realtime", "hour", "realtime"]), series)
        assert [key.stat for key in series.keys] == ["rtd", "avg"]
        assert decoded.readings.flag.tolist() == [0, 0, 0]


def test_flags_are_canonical_bytes() -> None:
    assert decode(table_of(flag=["N", "x", None])).readings.flag.tolist() == [78, 63, 0]


def test_a_record_number_stands_on_every_row() -> None:
    decoded = arrow.decode(stream(table_of(value=[1.0, None, 2.0])), SeriesTable(), 0, record=41)
    assert decoded.readings.frame.tolist() == [41, 41]
    assert (decoded.rejects[0].frame, decoded.rejects[0].detail[:7]) == (41, "row 1: ")


def test_a_column_there_twice_or_of_no_rows() -> None:
    twice = pa.Table.from_arrays([*table_of().columns, table_of().column("site")], [*table_of().column_names, "site"])
    assert [(r.reason, r.rows) for r in decode(twice).rejects] == [("bad_arrow", 0)]
    assert len(decode(table_of().slice(0, 0)).readings) == 0


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
@pytest.mark.parametrize("text", [False, True])
def test_a_stream_that_unpacks_to_too_much_is_refused_unread(codec: str, text: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(3, site=pa.array(["x" * 500_000] * 3).dictionary_encode()) if text else table_of(100_000)
    body = stream(table, codec=codec)
    assert arrow_guard.check_size(body) is None
    monkeypatch.setattr(arrow_guard, "INFLATED", 400_000)
    found = arrow.decode(body, SeriesTable(), 0)
    assert [(r.reason, r.rows) for r in found.rejects] == [("bad_arrow", 0)]
    assert "claims" in found.rejects[0].detail


def test_rows_without_bytes_are_refused() -> None:
    nulls = pa.table({name: pa.nulls(arrow_guard.ROWS + 1) for name in columns.REQUIRED})
    body = stream(nulls)
    assert len(body) < 10_000
    assert [r.reason for r in arrow.decode(body, SeriesTable(), 0).rejects] == ["bad_arrow"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_never_raises(data: st.DataObject) -> None:
    body = bytearray(stream(table_of(20), codec=data.draw(st.sampled_from([None, "zstd", "lz4"]))))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    decoded = arrow.decode(bytes(body[: data.draw(st.integers(0, len(body)))]), SeriesTable(), 0)
    assert all(r.reason in REASONS for r in decoded.rejects)
    assert np.isfinite(decoded.readings.value).all()
