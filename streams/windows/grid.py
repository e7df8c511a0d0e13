"""The hour grid: sixty minute slots for the two hours of a cell that can be open, summed exactly.

Usable and unusable values enter in any order; when log time closes an hour, minute means and the hour mean leave. Sums are
integers of 1e-6 units, so the result depends neither on the order of arrival nor on the cut into batches (promise 3).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.model import Float64, Int64
from streams.plan.load import HOUR, MINUTE, Validity
from streams.slab import Slab

Bools = NDArray[np.bool_]
SCALE = 1e6
LARGEST = 1e9
"""A value beyond ±1e9 is no concentration, flow or level: it counts as unusable, so that sixty sums fit in int64."""
FULL = 255
"""Counts end here, and a minute with so many values is not valid: nothing samples that fast, and its mean is not known."""
RECORD = np.dtype([("hour", "<i8"), ("sum", "<i8", (60,)), ("n", "u1", (60,)), ("bad", "u1", (60,))])
WHOLE = np.dtype([("hour", "<i8", (2,)), ("sum", "<i8", (2, 60)), ("n", "u1", (2, 60)), ("bad", "u1", (2, 60))])
"""The record of version 0.1.0: an even and an odd hour together."""
Halves = tuple[Slab, Slab]
"""Even hours and odd ones, a row a cell: stored apart, for what is changed now is nearly always in one of them."""


class Hours(NamedTuple):
    """Closed hours, one row each: cell, hour number, mean (NaN: nothing usable), valid minutes, occupied slots, minute means."""

    cell: Int64
    hour: Int64
    mean: Float64
    minutes: Int64
    slots: Int64
    minute_means: Float64


def load_whole(halves: Halves, number: int, raw: bytes, chunk_bytes: int) -> None:
    """Restore a chunk that version 0.1.0 stored; its rows are dirty, to be stored anew."""
    found = np.frombuffer(raw, WHOLE)
    rows = number * (chunk_bytes // WHOLE.itemsize) + np.arange(len(found))
    for parity, slab in enumerate(halves):
        slab.rows(int(rows[-1]) + 1)
        for name in ("hour", "sum", "n", "bad"):
            slab.data[name][rows] = found[name][:, parity]
        slab.touch(rows)


def add(halves: Halves, cell: Int64, time: Int64, value: Float64, usable: Bools) -> None:
    """Put rows (n,) into their slots. Every hour before the open two must have been closed by the caller."""
    hour = time // HOUR
    usable = usable & (np.abs(value) <= LARGEST)
    for parity, slab in enumerate(halves):
        mine = np.flatnonzero(hour & 1 == parity)
        if len(mine):
            _add(slab, cell[mine], hour[mine], (time[mine] % HOUR) // MINUTE, value[mine], usable[mine])


def _add(slab: Slab, cell: Int64, hour: Int64, slot: Int64, value: Float64, usable: Bools) -> None:
    slab.rows(int(cell.max()) + 1)
    _renew(slab, cell, hour)
    flat = cell * 60 + slot
    order = np.argsort(flat, kind="stable")
    flat = flat[order]
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    good = usable[order]
    scaled = np.where(good, np.rint(np.where(good, value[order], 0.0) * SCALE), 0.0).astype(np.int64)
    place = np.divmod(flat[starts], 60)
    data = slab.data
    data["sum"][place] += np.add.reduceat(scaled, starts)
    for name, counted in (("n", good), ("bad", ~good)):
        more = data[name][place] + np.add.reduceat(counted.astype(np.int64), starts)
        data[name][place] = np.minimum(more, FULL)
    slab.touch(cell)


def _renew(slab: Slab, cell: Int64, hour: Int64) -> None:
    """Clear the rows that still hold a closed hour."""
    data = slab.data
    stale = data["hour"][cell] < hour
    if stale.any():
        for name in ("sum", "n", "bad"):
            data[name][cell[stale]] = 0
        data["hour"][cell[stale]] = hour[stale]


def close(halves: Halves, cell: Int64, upto: Int64, water: Bools, flow: Int64, validity: Validity) -> Hours:
    """Close every open hour <= upto of the given cells; the slots are cleared. Hours leave by cell, then by hour.

    cell (k,) the cells to look at; upto (k,) hour number; water (k,) whether one unusable value spoils the minute
    (HJ 212-2017 C.16–C.18); flow (k,) the cell that holds the flow of the same point, -1 without one.
    """
    closed = [_close(slab, cell, upto, water, flow, validity) for slab in halves]
    columns = [np.concatenate(parts) for parts in zip(*closed, strict=True)]
    order = np.lexsort((columns[1], columns[0]))
    return Hours._make(column[order] for column in columns)


def _close(slab: Slab, cell: Int64, upto: Int64, water: Bools, flow: Int64, validity: Validity) -> Hours:
    data = slab.data
    rows = np.flatnonzero((data["hour"][cell] > 0) & (data["hour"][cell] <= upto))
    cells = cell[rows]
    means, valid, count = _minutes(data, cells, water[rows], validity)
    minutes = np.minimum(60, valid.sum(axis=1) * _coverage(count > 0))
    mean = _mean(data, cells, flow[rows], means, valid)
    hours = data["hour"][cells].copy()
    closed = Hours(cells, hours, mean, minutes, (count > 0).sum(axis=1), np.where(valid, means, np.nan))
    for name in ("hour", "sum", "n", "bad"):
        data[name][cells] = 0
    slab.touch(cells)
    return closed


def _minutes(data: NDArray[Any], cells: Int64, water: Bools, validity: Validity) -> tuple[Float64, Bools, Int64]:
    """Give minute means (k, 60), which of them are valid, and how many values each slot got."""
    n = data["n"][cells].astype(np.int64)
    bad = data["bad"][cells].astype(np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = data["sum"][cells] / (n * SCALE)
    due = n.max(axis=1, initial=0)
    least = np.where(due >= validity.samples_per_minute, validity.samples_per_minute, np.ceil(validity.share_of_minute * due))
    healthy = np.where(water[:, None], bad == 0, n >= 0.75 * (n + bad))
    return means, (n > 0) & (n < FULL) & (n >= least[:, None]) & healthy, n + bad


def _coverage(occupied: Bools) -> Int64:
    """Minutes that one slot stands for: the smallest distance between occupied slots of the hour, 1 to 30.

    A data logger on ten-minute data fills six slots an hour; each stands for ten minutes. An hour with a single slot stands
    for one minute: nothing is known of its interval.
    """
    place = np.where(occupied, np.arange(60), -1)
    before = np.maximum.accumulate(place, axis=1)[:, :-1]
    gap = np.where((place[:, 1:] >= 0) & (before >= 0), place[:, 1:] - before, 60)
    smallest: Int64 = gap.min(axis=1, initial=60)
    return np.where(smallest > 30, 1, smallest)


def _mean(data: NDArray[Any], cells: Int64, flow: Int64, means: Float64, valid: Bools) -> Float64:
    """Mean of the valid minutes: weighted by the flow of the same minutes where there is one (rules A-AV-6), else arithmetic."""
    share = valid.astype(np.float64)
    has = (flow >= 0) & (flow < len(data))
    if has.any():
        other = flow[has]
        n = data["n"][other]
        same = data["hour"][other] == data["hour"][cells[has]]
        with np.errstate(invalid="ignore", divide="ignore"):
            litres = np.where((n > 0) & same[:, None], data["sum"][other] / n, 0.0)
        weighted = share[has] * np.maximum(litres, 0.0)
        total = weighted.sum(axis=1)
        share[has] = np.where(total[:, None] > 0, weighted, share[has])
    with np.errstate(invalid="ignore"):
        mean: Float64 = np.where(share > 0, means, 0.0).__mul__(share).sum(axis=1) / np.where(
            share.sum(axis=1) > 0, share.sum(axis=1), np.nan
        )
    return np.round(mean, 9)
