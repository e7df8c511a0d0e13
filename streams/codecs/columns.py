"""Columns of an Arrow table to readings, vectorised: the fast path shared by Arrow and clean CSV.

Enters: a table with the Reading's columns. Leaves: `Decoded`. Texts are factorised once and only the distinct ones are checked,
with the same checks as the row path, so both give the same answer; faulty rows are refused one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streams.codecs.rows import (
    NAMES,
    NO_ENVELOPE,
    Envelope,
    Fault,
    as_bytes,
    check_flag,
    check_name,
    check_period,
    check_stat,
    check_time,
    format_time,
    refusal,
)
from streams.model import Decoded, Float64, Int32, Int64, Readings, Reject, SeriesKey, SeriesTable

Bools = NDArray[np.bool_]
REQUIRED = (*NAMES, "time", "period", "value")
OPTIONAL = ("stat", "flag")
LOOKUP = 1 << 22
"""Series are numbered through a table of up to this many combinations of names; above it by sorting."""
ROOM = 1 << 40
"""Combinations of names are renumbered before their count could pass what int64 holds."""


@dataclass(slots=True)
class _Batch:
    """A table on its way to readings: which rows are still good, and why the others are not (the first reason holds)."""

    table: pa.Table
    good: Bools
    faults: dict[int, Fault] = field(default_factory=dict)

    def refuse(self, rows: Bools, fault: Fault) -> None:
        """Refuse the rows of the mask (n,) that are still good."""
        wrong = rows & self.good
        self.faults.update(dict.fromkeys(np.flatnonzero(wrong).tolist(), fault))
        self.good &= ~wrong

    def refuse_texts(self, codes: Int64, faults: dict[int, Fault]) -> None:
        """Refuse the rows whose distinct text is faulty; `faults` by code."""
        if faults:
            for row in np.flatnonzero(np.isin(codes, list(faults)) & self.good).tolist():
                self.faults[row] = faults[int(codes[row])]
                self.good[row] = False

    def column(self, name: str) -> Any:
        """Return a column in one piece."""
        merged = self.table.column(name).combine_chunks()
        return merged.combine_chunks() if isinstance(merged, pa.ChunkedArray) else merged

    def texts(self, name: str, check: Callable[[Any], Any]) -> tuple[Int64, list[Any]]:
        """Return (codes (n,), checked distinct texts); the last text stands for null and is what `check` makes of None."""
        column = self.column(name)
        if pa.types.is_null(column.type):
            codes, distinct = np.zeros(len(column), np.int64), []
        else:
            encoded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
            kind = encoded.dictionary.type
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                raise Fault("wrong_type", f"column {name} must be text, not {kind}")
            distinct = encoded.dictionary.to_pylist()
            codes = _numpy(pc.fill_null(encoded.indices.cast(pa.int64()), len(distinct)), np.int64)
        checked: list[Any] = []
        faults: dict[int, Fault] = {}
        for code, text in enumerate([*distinct, None]):
            try:
                checked.append(check(text))
            except Fault as fault:
                checked.append(None)
                faults[code] = fault
        self.refuse_texts(codes, faults)
        return codes, checked


def _numpy(column: Any, kind: Any) -> NDArray[Any]:
    return np.asarray(column.to_numpy(zero_copy_only=False), kind)


def decode_table(
    table: pa.Table, series: SeriesTable, arrived: int, *, record: int = -1, envelope: Envelope = NO_ENVELOPE
) -> Decoded:
    """Decode a table whose columns are the Reading's fields; raises Fault if a column is missing or of an unusable type.

    site, point, factor, period, stat, flag: text, plain or dictionary. time: timestamp with zone, int64 ms UTC, or RFC 3339
    text. value: any number. stat and flag may be left out. Other columns are ignored.
    """
    absent = [name for name in REQUIRED if name not in table.column_names]
    if absent:
        raise Fault("missing_field", f"column {', '.join(absent)} is missing; a reading needs {', '.join(REQUIRED)}")
    twice = sorted({name for name in (*REQUIRED, *OPTIONAL) if table.column_names.count(name) > 1})
    if twice:
        raise Fault("bad_arrow", f"column {', '.join(twice)} is there twice")
    known = table.select([*REQUIRED, *(name for name in OPTIONAL if name in table.column_names)]).unify_dictionaries()
    batch = _Batch(known, np.ones(len(table), np.bool_))
    parts = _names(batch, envelope)
    time = _times(batch)
    if envelope.ahead is not None:
        batch.refuse(time > arrived + envelope.ahead, envelope.beyond())
    value, flag = _values(batch), _flags(batch)
    good = np.flatnonzero(batch.good)
    readings = Readings.of(
        _number([(codes[good], texts) for codes, texts in parts], series),
        time[good],
        value[good],
        flag[good],
        np.full(len(good), arrived, np.int64),
        good.astype(np.int32) if record < 0 else np.full(len(good), record, np.int32),
    )
    return Decoded(readings, [], _rejects(batch, time, record))


def _names(batch: _Batch, envelope: Envelope) -> list[tuple[Int64, list[Any]]]:
    """Return (codes, texts) of the five parts of the key, in the order of SeriesKey."""
    parts = [batch.texts("site", envelope.check_site)]
    parts += [batch.texts(name, partial(check_name, name)) for name in NAMES[1:]]
    parts.append(batch.texts("period", check_period))
    if "stat" in batch.table.column_names:
        parts.append(batch.texts("stat", lambda text: check_stat(text, "hour") if text else ""))
    else:
        parts.append((np.zeros(len(batch.table), np.int64), [""]))
    return parts


def _number(parts: list[tuple[Int64, list[Any]]], series: SeriesTable) -> Int32:
    """Give each row the number of its series, new ones numbered in order of first appearance."""
    combined, count = parts[0][0], max(len(parts[0][1]), 1)
    if not len(combined):
        return np.zeros(0, np.int32)
    for codes, texts in parts[1:]:
        if count * len(texts) > ROOM:
            distinct, combined = np.unique(combined, return_inverse=True)
            count = len(distinct)
        combined, count = combined * len(texts) + codes, count * len(texts)
    if count > LOOKUP:
        distinct, combined = np.unique(combined, return_inverse=True)
        count = len(distinct)
    first = np.full(count, -1, np.int64)
    first[combined[::-1]] = np.arange(len(combined) - 1, -1, -1)
    ids = np.zeros(count, np.int32)
    for row in np.sort(first[first >= 0]).tolist():
        site, point, factor, period, stat = (texts[codes[row]] for codes, texts in parts)
        ids[combined[row]] = series.id(SeriesKey(site, point, factor, period, stat or check_stat(None, period)))
    return ids[combined]


def _times(batch: _Batch) -> Int64:
    """Return (n,) int64 ms UTC; refuse what is no instant."""
    column = batch.column("time")
    kind = column.type
    if not (pa.types.is_timestamp(kind) or pa.types.is_int64(kind)):
        codes, moments = batch.texts("time", check_time)
        return np.asarray([moment or 0 for moment in moments], np.int64)[codes]
    batch.refuse(_numpy(column.is_null(), np.bool_), Fault("missing_field", "time is missing"))
    ticks: Int64 = _numpy(pc.fill_null(column.cast(pa.int64()), 0), np.int64)
    if pa.types.is_int64(kind):
        return ticks
    if kind.tz is None:
        zoneless = Fault("bad_time", "the time column has no zone; write timestamp('ms', tz='UTC') or int64 ms UTC")
        batch.refuse(np.ones(len(ticks), np.bool_), zoneless)
    if kind.unit == "s":
        beyond = np.abs(ticks) > np.iinfo(np.int64).max // 1000
        batch.refuse(beyond, Fault("bad_time", "the time lies outside what int64 milliseconds hold"))
        return np.where(beyond, 0, ticks) * 1000
    return ticks // {"ms": 1, "us": 1000, "ns": 1_000_000}[kind.unit]


def _values(batch: _Batch) -> Float64:
    """Return (n,) float64; refuse nulls and what is not finite."""
    column = batch.column("value")
    if pa.types.is_null(column.type) or pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise Fault("wrong_type", f"column value must be a number, not {column.type}")
    batch.refuse(_numpy(column.is_null(), np.bool_), Fault("missing_field", "value is missing"))
    value: Float64 = _numpy(pc.fill_null(column, 0), np.float64)
    batch.refuse(~np.isfinite(value), Fault("not_finite", "value must be finite; leave the reading out if there is no value"))
    return value


def _flags(batch: _Batch) -> NDArray[np.uint8]:
    if "flag" not in batch.table.column_names:
        return np.zeros(len(batch.table), np.uint8)
    codes, flags = batch.texts("flag", check_flag)
    return np.asarray(flags, np.uint8)[codes]


def _rejects(batch: _Batch, time: Int64, record: int) -> list[Reject]:
    """Write the refused rows as JSON objects of the contract, as far as they can be."""
    rows = sorted(batch.faults)
    if not rows:
        return []
    table = batch.table.take(rows)
    faults = [batch.faults[row] for row in rows]
    kind = table.column("time").type
    if pa.types.is_timestamp(kind) or pa.types.is_int64(kind):  # not by to_pylist: a zone may not exist
        given = zip(faults, time[rows].tolist(), table.column("time").is_valid().to_pylist(), strict=True)
        times = pa.array([_shown(fault, at) if known else None for fault, at, known in given], pa.string())
        table = table.set_column(table.column_names.index("time"), "time", times)
    raws = zip(rows, faults, table.to_pylist(), strict=True)
    return [refusal(fault, as_bytes(raw), row, record) for row, fault, raw in raws]


def _shown(fault: Fault, time: int) -> str:
    """Return a time as the contract has it; the bare number if it is what is wrong with the row, or beyond any calendar."""
    try:
        return str(time) if fault.reason == "bad_time" else format_time(time)
    except OverflowError:
        return str(time)
