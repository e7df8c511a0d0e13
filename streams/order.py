"""Order: small disorder is put right before a detector of reading cadence sees it, and an orderly stream pays nothing.

Accepted readings enter in log order; observations leave, strictly in event-time order for each cell (design §3):

* in order, which is the next expected reading or an earlier cadence → released at once
* a gap → held for at most min(grace, 2 intervals) of log time; what fills it meanwhile goes first
* not newer than what was released → stored and counted, and no detector sees it here
* flagged by the device → stored and counted: it neither fills a gap nor opens one, so that no flag can hide a reading (promise 5)

A cell that let a wait expire is not waited for until it has been regular again three times. The interval is the registered one,
else learnt. A hold ends with the next reading of its cell or with a tick, whichever log time reaches first, so the answer does
not depend on the cut into batches.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.model import Float64, Int64, UInt8
from streams.plan.load import MINUTE, Plan
from streams.screen import SUSPECT, Screened
from streams.state import State

RAW_ROLES = np.isin(np.arange(256), (1, 3))
"""Role → whether it is a real-time value or minute mean as measured; converted ones say nothing new about a sensor."""
SLACK = 1.5
"""A reading within this many intervals of the last one leaves no gap."""
CONFIRMED = 3
Row = tuple[int, float, int, int]
"""(time, value, quality, deadline) of a held reading."""


class Observations(NamedTuple):
    """Rows (n,) for detectors of reading cadence: cell, event time, value, quality, and log position × 2."""

    cell: Int64
    time: Int64
    value: Float64
    quality: UInt8
    at: Int64

    def take(self, which: NDArray[Any]) -> Observations:
        """Return the rows selected by a mask or an index array."""
        return Observations(*(column[which] for column in self))


def release(screened: Screened, accepted: NDArray[np.bool_], state: State, plan: Plan) -> Observations:
    """Release what may be judged now: whole cells at once where they are regular, row by row where they are not."""
    index, data = state.index, state.slabs["order"].data
    series = screened.rows.series
    rows = np.flatnonzero(accepted & RAW_ROLES[index.role[series]] & (screened.quality != SUSPECT))
    cell = index.cell[series[rows]].astype(np.int64)
    order = np.argsort(cell, kind="stable")
    cell, rows = cell[order], rows[order]
    time = screened.rows.time[rows]
    first = np.concatenate([[True], cell[1:] != cell[:-1]])[: len(cell)]
    before = np.where(first, data["newest"][cell], np.concatenate([[0], time[:-1]])[: len(time)])
    gap = time - before
    interval = _intervals(state, cell, gap, before > 0)
    fits = (gap * SLACK >= interval) & (gap <= interval * SLACK) | ((before == 0) & (interval >= 0))
    steady = fits & (gap > 0) & (data["impatient"][cell] == 0)
    odd = np.zeros(len(index.cells), np.bool_)
    odd[cell[~steady]] = True
    odd[list(state.held)] = True
    orderly = ~odd[cell]
    last = np.flatnonzero(orderly & (np.diff(cell, append=-1) != 0))
    data["newest"][cell[last]] = time[last]
    data["interval"][cell[last]] = interval[last]
    data["regular"][cell[last]] = 0
    state.slabs["order"].touch(cell)
    picked = rows[orderly]
    quick = Observations(cell[orderly], time[orderly], screened.rows.value[picked], screened.quality[picked], 2 * picked)
    return _joined(quick, _one_by_one(screened, cell[~orderly], rows[~orderly], state, plan))


def _intervals(state: State, cell: Int64, gap: Int64, known: NDArray[np.bool_]) -> Int64:
    """Return the interval of each row's cell: the stored one, else the registered one, else the first gap that is known."""
    interval = state.slabs["order"].data["interval"][cell]
    registered = (1000 * state.index.cell_interval[cell]).astype(np.int64)
    unset = np.flatnonzero((interval == 0) & known)
    learnt = np.zeros(len(state.index.cells), np.int64)
    learnt[cell[unset[::-1]]] = gap[unset[::-1]]
    return np.where(interval > 0, interval, np.where(registered > 0, registered, learnt[cell]))


def _joined(quick: Observations, slow: list[tuple[int, int, float, int, int]]) -> Observations:
    """Put both kinds back into log order; rows released together keep their order in time."""
    if not slow:
        order = np.argsort(quick.at, kind="stable")
        return quick.take(order)
    kinds = (np.int64, np.int64, np.float64, np.uint8, np.int64)
    columns = [np.array(column, kind) for column, kind in zip(zip(*slow, strict=True), kinds, strict=True)]
    both = Observations(*(np.concatenate([a, b]) for a, b in zip(quick, columns, strict=True)))
    return both.take(np.argsort(both.at, kind="stable"))


def _one_by_one(
    screened: Screened, cell: Int64, rows: NDArray[Any], state: State, plan: Plan
) -> list[tuple[int, int, float, int, int]]:
    """Take the rows of irregular cells in log order; returns released (cell, time, value, quality, at)."""
    out: list[tuple[int, int, float, int, int]] = []
    columns = (cell, screened.rows.time[rows], screened.rows.value[rows], screened.quality[rows], screened.clock[rows], 2 * rows)
    line = None
    for number, time, value, quality, clock, at in zip(*(c.tolist() for c in columns), strict=True):
        if line is None or line.cell != number:
            if line is not None:
                line.put_back()
            line = _Line(state, number, plan)
        if line.passes(time):
            out.append((number, time, value, quality, at))
        else:
            out += [(number, *row[:3], at) for row in line.take((time, value, quality, clock + line.wait), clock)]
    if line is not None:
        line.put_back()
    return out


def expire(state: State, plan: Plan, now: Int64, at: int) -> Observations:
    """Release what has waited long enough at log time `now`, one time a site."""
    out: list[tuple[int, int, float, int, int]] = []
    for number in sorted(state.held):
        line = _Line(state, number, plan)
        out += [(number, *row[:3], at) for row in line.expire(int(now[state.index.cell_site[number]]))]
        line.put_back()
    none = np.zeros(0, np.int64)
    return _joined(Observations(none, none, np.zeros(0), np.zeros(0, np.uint8), none), out)


class _Line:
    """The waiting line of one cell, taken out of the state and put back."""

    def __init__(self, state: State, cell: int, plan: Plan) -> None:
        self._state, self.cell = state, cell
        record = state.slabs["order"].data[cell]
        self._newest, self._interval = int(record["newest"]), int(record["interval"])
        self._impatient, self._regular = int(record["impatient"]), int(record["regular"])
        self._held: list[Row] = [tuple(row) for row in state.held.pop(cell, [])]  # type: ignore[misc]  # JSON gave lists
        self._interval = self._interval or int(1000 * state.index.cell_interval[cell])
        self._grace = plan.time.grace_min * MINUTE

    @property
    def wait(self) -> int:
        """Return how long a gap is waited for, ms."""
        return min(self._grace, 2 * self._interval)

    def put_back(self) -> None:
        """Write the line back into the state."""
        slab = self._state.slabs["order"]
        slab.data[self.cell] = (self._newest, self._interval, self._impatient, self._regular)
        slab.touch(np.array([self.cell]))
        if self._held:
            self._state.held[self.cell] = [list(row) for row in self._held]

    def passes(self, time: int) -> bool:
        """Release a new reading at once if nothing is held and it leaves no gap; the usual case, and the only fast one."""
        gap = time - self._newest
        if self._held or gap <= 0 or not self._follows(time):
            return False
        self._step(time)
        return True

    def take(self, row: Row, clock: int) -> list[Row]:
        """Take a new row at log time `clock`; return what is released, in order."""
        out = self.expire(clock) if self._held else []
        if row[0] > self._newest:
            self._held.append(row)
            self._held.sort()
            out += self._run()
        return out

    def expire(self, clock: int) -> list[Row]:
        """Release up to the newest row whose wait is over; the cell is impatient from then on."""
        over = [row for row in self._held if row[3] <= clock]
        if not over:
            return []
        self._impatient, self._regular = 1, 0
        out = []
        while self._held and self._held[0][0] <= over[-1][0]:
            out.append(self._pop())
        return out + self._run()

    def _run(self) -> list[Row]:
        """Release the rows that leave no gap, or all of them while nothing is waited for."""
        out = []
        while self._held and self._follows(self._held[0][0]):
            out.append(self._pop())
        return out

    def _follows(self, time: int) -> bool:
        """Say whether a reading leaves no gap that is waited for; a first one cannot."""
        free = self._impatient or not self._interval or not self._newest
        return bool(free) or time - self._newest <= self._interval * SLACK

    def _pop(self) -> Row:
        row = self._held.pop(0)
        self._step(row[0])
        return row

    def _step(self, time: int) -> None:
        """Move the released edge on to `time`."""
        if self._newest:
            self._learn(time - self._newest)
        self._newest = time

    def _learn(self, gap: int) -> None:
        """Take the first gap as the interval; take another one once it has come three times running."""
        if not self._interval:
            self._interval = gap
        fits = self._interval <= gap * SLACK and gap <= self._interval * SLACK
        if fits and not self._impatient:
            self._regular = 0
            return
        self._regular = self._regular + 1 if fits or self._regular == 0 else 0
        if not fits:
            self._interval = gap
            self._regular = 1
        if self._regular >= CONFIRMED:
            self._impatient, self._regular = 0, 0
