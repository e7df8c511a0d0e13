"""A chart's data: history around an alert, in as many points as a screen can show, with gaps left open.

Enters: one history table of a factor. Leaves: JSON columns per (period, stat), at most `most` points each, which keep every bucket's
minimum and maximum of usable values and the first and last unusable one, and carry an empty point wherever readings are missing.
Of a long span a summary enters instead: its lines are means with the minimum and maximum of each window beside them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MOST = 2000
PER_BUCKET = 4
USABLE = 2
"""QARTOD: 1 good and 2 not evaluated are usable; 3 suspect, 4 fail and 9 missing are not (promise 5)."""
GAP = 2.5
"""A step longer than this many usual steps is a gap: at least two readings are missing."""
MOST_GAPS = 500
HOUR_MS = 3_600_000
MARGIN_MS = {"realtime": HOUR_MS, "minute": 4 * HOUR_MS, "hour": 24 * HOUR_MS, "day": 14 * 24 * HOUR_MS}
"""How much is shown on either side of an episode, by the period that was judged."""

STEP_MS = {"realtime": HOUR_MS // 60, "minute": HOUR_MS // 6, "hour": HOUR_MS, "day": 24 * HOUR_MS}
"""The usual step of a period (HJ 212-2017: minute data of 10 min)."""
MOST_WINDOWS = 1000
"""Windows of a long span: each holds at least two usual steps."""

BAND = (("time", "time"), ("value", "mean"), ("low", "min"), ("high", "max"))
"""Columns of a line of windows → columns of a summary."""

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]


def window(opened: int, closed: int | None, updated: int, now: int, period: str) -> tuple[int, int]:
    """Return the [start, end) of the chart of an episode, ms UTC: its own span with a margin, never into the future.

    `updated` is when an open episode was last heard of: a chart of a site that fell silent does not run on to today.
    """
    margin = MARGIN_MS.get(period, 24 * HOUR_MS)
    end = min((max(opened, updated) if closed is None else closed) + margin, now)
    return opened - margin, max(end, opened + margin // 24)


def is_long(start: int, end: int, period: str) -> bool:
    """Tell whether a span (ms UTC) holds more readings of a period than a chart has points for.

    >>> is_long(0, 2000 * HOUR_MS, "hour"), is_long(0, 2001 * HOUR_MS, "hour")
    (False, True)
    """
    return end - start > MOST * STEP_MS.get(period, HOUR_MS)


def thin(value: Float64, usable: Bool, most: int = MOST) -> Int64:
    """Return the row numbers to draw, ascending, at most `most`.

    value (n,) in the factor's unit · usable (n,) whether the row counts. Every kept usable value is a minimum or maximum of its bucket.
    """
    n = len(value)
    if n <= most:
        return np.arange(n, dtype=np.int64)
    buckets = max(1, most // PER_BUCKET)
    edges = np.linspace(0, n, buckets + 1).astype(np.int64)[:-1]
    bucket = np.searchsorted(edges, np.arange(n), side="right") - 1
    picks = []
    for mask, order in ((usable, value), (~usable, np.arange(n, dtype=np.float64))):
        rows = np.flatnonzero(mask)
        if len(rows):
            ranked = rows[np.lexsort((order[rows], bucket[rows]))]
            change = np.flatnonzero(np.diff(bucket[ranked])) + 1
            picks += [ranked[np.concatenate(([0], change))], ranked[np.concatenate((change - 1, [len(ranked) - 1]))]]
    return np.unique(np.concatenate(picks))


def gaps(time: Int64) -> Int64:
    """Return the instants (ms UTC) at which the line must break: one usual step after the last reading before a gap."""
    if len(time) < 3:
        return np.empty(0, np.int64)
    step = np.diff(time)
    usual = int(np.median(step))
    return time[np.flatnonzero(step > GAP * max(usual, 1))][:MOST_GAPS] + usual


def columns(time: Int64, value: Float64, quality: NDArray[np.uint8], flag: list[str], most: int = MOST) -> dict[str, Any]:
    """Return the JSON columns of one line: time, value (null breaks the line), flag, bad."""
    order = np.argsort(time, kind="stable")
    time, value, quality = time[order], value[order], quality[order]
    usable = (quality <= USABLE) & np.isfinite(value)
    breaks = gaps(time)
    rows = thin(value, usable, max(PER_BUCKET, most - len(breaks)))
    points = [
        (int(time[i]), float(value[i]) if np.isfinite(value[i]) else None, flag[int(order[i])], not bool(usable[i])) for i in rows
    ]
    points += [(int(at), None, "", False) for at in breaks]
    points.sort(key=lambda point: point[0])
    names = ("time", "value", "flag", "bad")
    return {"count": len(time), **{name: [point[k] for point in points] for k, name in enumerate(names)}}


def lines(table: pa.Table, most: int = MOST) -> list[dict[str, Any]]:
    """Split one factor's history into its lines, one per (period, stat), newest revision of each instant only."""
    if table.num_rows == 0:
        return []
    time = _ints(table["time"])
    value = table["value"].to_numpy(zero_copy_only=False).astype(np.float64)
    quality = table["quality"].to_numpy(zero_copy_only=False).astype(np.uint8)
    revision = table["revision"].to_numpy(zero_copy_only=False).astype(np.float64)
    flag = [_flag(one) for one in table["flag"].to_pylist()]
    names = list(zip(table["period"].to_pylist(), table["stat"].to_pylist(), strict=True))
    found = []
    for key in sorted(set(names)):
        rows = np.array([i for i, name in enumerate(names) if name == key], np.int64)
        rows = _newest(rows, time, revision)
        line = columns(time[rows], value[rows], quality[rows], [flag[i] for i in rows], most)
        found.append({"period": key[0], "stat": key[1], "revised": int((np.nan_to_num(revision[rows]) > 0).sum()), **line})
    return found


def bands(table: pa.Table) -> list[dict[str, Any]]:
    """Split a summary (columns of `History.summary`) into its lines: as `lines` gives them, with `low` and `high` of each window.

    `value` is the mean. Readings that are not usable are in no window: `bad` is false everywhere, and where there are no others
    the line breaks.
    """
    rows = table.to_pylist()
    found = []
    for period, stat in sorted({(row["period"], row["stat"]) for row in rows}):
        mine = [row for row in rows if (row["period"], row["stat"]) == (period, stat)]
        breaks = [{"time": int(at)} for at in gaps(np.array([row["time"] for row in mine], np.int64))]
        points = sorted([*mine, *breaks], key=lambda row: int(row["time"]))
        columns = {name: [row.get(of) for row in points] for name, of in BAND}
        empty = {"flag": [""] * len(points), "bad": [False] * len(points)}
        found.append({"period": period, "stat": stat, "count": sum(row["count"] for row in mine), **columns, **empty})
    return found


def _newest(rows: Int64, time: Int64, revision: Float64) -> Int64:
    ranked = rows[np.lexsort((np.nan_to_num(revision[rows]), time[rows]))]
    last = np.append(np.diff(time[ranked]) != 0, True)
    newest: Int64 = ranked[last]
    return newest


def _ints(column: pa.ChunkedArray) -> Int64:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ms")).cast(pa.int64())
    found: Int64 = column.to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _flag(one: Any) -> str:
    if isinstance(one, int):
        return chr(one) if one else ""
    return "" if one is None else str(one)
