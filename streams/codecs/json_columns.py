"""Rows that JSON gave, as columns: the fast path of many rows, with the checks of `rows.Rows` and therefore its answers.

Enters: parsed rows, whatever they are. Leaves: columns, and the numbers of the rows that are no readings; why they are none is for
`rows.Rows` to say. A series met before costs one look-up, not a check of its names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import ne
from typing import Any, NamedTuple

import numpy as np

from streams.codecs.rows import Fault, check_flag, check_key
from streams.codecs.times import times_of
from streams.model import Float64, Int32, Int64, Readings, SeriesKey, SeriesTable, UInt8

NEEDED = ("site", "point", "factor", "time", "period", "value")
_PLAIN = frozenset({str, int, float, bool, type(None)})
_NOTHING: dict[str, None] = dict.fromkeys((*NEEDED, "stat", "flag"))


class KnownSeries:
    """The series of a table whose names have passed the checks; kept by a decoder as long as the table."""

    __slots__ = ("ids", "table")

    def __init__(self, table: SeriesTable) -> None:
        self.table = table
        self.ids: dict[tuple[Any, ...], int] = {}

    def number(self, names: tuple[Any, ...]) -> int | None:
        """Return the number of a series by its names as given, numbering a new one; None if they are no names."""
        found = self.ids.get(names)
        if found is None:
            try:
                key = check_key(*names)
            except Fault:
                return None
            found = self.ids[SeriesKey(*key)] = self.table.id(key)
        return found


class Columns(NamedTuple):
    """Columns (n,) of all rows, and the rows, in order, whose cells mean nothing because they are no readings."""

    series: Int32
    time: Int64
    value: Float64
    flag: UInt8
    bad: list[int]

    def readings(self, arrived: Int64, frame: Int32) -> Readings:
        """Return the good rows as readings, given the log time and the frame of each row."""
        whole = Readings(self.series, self.time, self.value, self.flag, arrived, frame)
        if not self.bad:
            return whole
        good = np.ones(len(self.series), np.bool_)
        good[self.bad] = False
        return whole.take(good)


def columns_of(rows: list[Any], known: KnownSeries, sites: list[str] | None, latest: Int64 | None) -> Columns:
    """Return the columns of rows; new series are numbered in the order in which good rows name them.

    `sites` (n,) is the site that each row must name, `latest` (n,) int64 ms UTC its latest possible event time; None: any.
    """
    try:
        return _columns(rows, known, sites, latest)
    except (KeyError, TypeError):  # a row that is no object, lacks a field or has a list in it: no reading in any case
        return _columns([row if _possible(row) else _NOTHING for row in rows], known, sites, latest)


def _possible(row: Any) -> bool:
    return type(row) is dict and row.keys() >= set(NEEDED) and _PLAIN.issuperset(type(row.get(name)) for name in _NOTHING)


def _columns(rows: list[Any], known: KnownSeries, sites: list[str] | None, latest: Int64 | None) -> Columns:
    period = [row["period"] for row in rows]
    stat = _stats([row.get("stat") for row in rows], period)
    names = ([row["site"] for row in rows], [row["point"] for row in rows], [row["factor"] for row in rows], period, stat)
    series = list(map(known.ids.get, zip(*names, strict=True)))
    time, no_times = times_of([row["time"] for row in rows])
    value = _values([row["value"] for row in rows])
    flag, no_flags = _flags([row.get("flag") for row in rows])
    bad = {*no_times, *no_flags, *np.flatnonzero(~np.isfinite(value)).tolist()}
    if sites is not None and names[0] != sites:
        bad.update(row for row, other in enumerate(map(ne, names[0], sites)) if other)
    if latest is not None:
        bad.update(np.flatnonzero(time > latest).tolist())
    if None in series:
        for row in [row for row, number in enumerate(series) if number is None]:
            number = None if row in bad else known.number(tuple(column[row] for column in names))
            series[row] = number or 0
            if number is None:
                bad.add(row)
    return Columns(np.array(series, np.int32), time, value, flag, sorted(bad))


def _stats(stats: list[Any], periods: Sequence[Any]) -> list[Any]:
    """Return each row's statistic as a series has it: in lower case, the usual one where none is given."""
    lower = {stat: stat.lower() if isinstance(stat, str) else stat for stat in set(stats)}
    if None not in lower and "" not in lower:
        return list(map(lower.__getitem__, stats))
    usual = [("rtd" if period == "realtime" else "avg") for period in periods]
    if lower.keys() <= {None, ""}:
        return usual
    return [(usual[row] if stat is None or stat == "" else lower[stat]) for row, stat in enumerate(stats)]


def _values(values: Sequence[Any]) -> Float64:
    """Return (n,) float64, NaN for what is no finite number."""
    if {int, float}.issuperset(map(type, values)):
        try:
            return np.array(values, np.float64)
        except OverflowError:
            pass  # an integer beyond float64: found below
    return np.array([_number(value) for value in values], np.float64)


def _number(value: Any) -> float:
    try:
        return float(value) if type(value) in (int, float) else math.nan
    except OverflowError:
        return math.nan


def _flags(flags: list[Any]) -> tuple[UInt8, list[int]]:
    """Return (n,) canonical flags, and the rows whose flag is no text."""
    canonical = {flag: check_flag(flag) for flag in set(flags) if flag is None or isinstance(flag, str)}
    try:
        return np.frombuffer(bytearray(map(canonical.__getitem__, flags)), np.uint8), []
    except KeyError:
        found = [canonical.get(flag) for flag in flags]
        return np.array([flag or 0 for flag in found], np.uint8), [row for row, flag in enumerate(found) if flag is None]
