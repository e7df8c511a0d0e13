"""The exact memory of what was received: same key and same value is a duplicate, same key and other value a revision.

A key is (series, event time); entries are kept in sorted runs by day of event time and merged like an LSM tree, 16 bytes a
reading. Rows enter in arrival order, a status for each leaves, and what was new is remembered. The answer does not depend on
how the rows are cut into calls. Keys that are newer than anything the series has sent need no search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.model import Float64, Int32, Int64, UInt8
from streams.slab import Slab

NEW, DUPLICATE, REVISED = 0, 1, 2
DAY = 86_400_000
TIME_BITS = 42
MAX_TIME = 1 << TIME_BITS
"""Event times reach from 1970 to 2109; anything else is refused before it gets here."""
KEPT_IN_MEMORY = 4
KEPT_DAYS = 21
"""Days of event time that are remembered: what the log holds (14), and a week."""
SWEPT = 40
"""Days before those of which what is stored is dropped, at the latest after a stop of so long."""
ALL = -1
"""Stands for all runs of a day that is to be removed."""
NEWEST = np.dtype([("time", "<i8")])
Run = tuple[Int64, Float64]


@dataclass(slots=True)
class Partition:
    """The runs of one day, newest last, sizes falling at least by half (so there are O(log n) of them)."""

    runs: dict[int, Run] = field(default_factory=dict)
    touched: int = 0


class Seen:
    """Remember (series, time, value).

    `newest` holds the newest event time of each series, 0 before the first. `load(day)` gives the stored runs of a day that is
    not in memory, as run number → (keys, values).
    """

    def __init__(self, newest: Slab, load: Callable[[int], dict[int, Run]] | None = None, next_run: int = 1) -> None:
        self._load = load or (lambda _day: {})
        self._days: dict[int, Partition] = {}
        self._newest = newest
        self._next = next_run
        self._clock = 0
        self._oldest = 0
        self._dropped: list[int] = []
        self.added: dict[tuple[int, int], Run] = {}
        self.removed: set[tuple[int, int]] = set()

    @property
    def next_run(self) -> int:
        """The number of the next run."""
        return self._next

    def classify(self, series: Int32, time: Int64, value: Float64) -> UInt8:
        """Say for each row (n,) whether it is NEW, a DUPLICATE or REVISED, in arrival order, and remember it.

        `time` must lie in [0, MAX_TIME); `value` must be finite.
        """
        self._clock += 1
        status = np.zeros(len(series), np.uint8)
        if not len(series):
            return status
        self._newest.rows(int(series.max()) + 1)
        newest = self._newest.data["time"]
        key = (series.astype(np.int64) << TIME_BITS) | time
        order = np.argsort(key, kind="stable")
        key, val = key[order], value[order]
        first = np.concatenate([[True], key[1:] != key[:-1]])
        starts = np.flatnonzero(first)
        again = np.diff(starts, append=len(key)) > 1
        maybe_old = time[order][starts] <= newest[series[order][starts]]
        prior = self._search(key[starts], np.flatnonzero(maybe_old))
        out = np.zeros(len(key), np.uint8)
        self._judge_groups(out, val, starts, again, prior)
        last = np.flatnonzero(np.diff(series[order], append=-1))
        rows = series[order][last]
        newest[rows] = np.maximum(newest[rows], time[order][last])
        self._newest.touch(rows)
        fresh = out != DUPLICATE
        self._remember(key[fresh], val[fresh])
        status[order] = out
        return status

    @staticmethod
    def _judge_groups(out: UInt8, val: Float64, starts: Int64, again: NDArray[Any], prior: dict[int, set[float]]) -> None:
        """Walk the few keys that were met before or repeat within the batch, row by row."""
        ends = np.append(starts[1:], len(val))
        todo = set(np.flatnonzero(again).tolist()) | prior.keys()
        for group in todo:
            known = prior.get(group, set())
            for row in range(int(starts[group]), int(ends[group])):
                number = float(val[row])
                out[row] = DUPLICATE if number in known else (REVISED if known else NEW)
                known.add(number)

    def _search(self, keys: Int64, rows: NDArray[Any]) -> dict[int, set[float]]:
        """Find the values stored for keys[rows]: group number → values."""
        found: dict[int, set[float]] = {}
        if not len(rows):
            return found
        wanted = keys[rows]
        days = (wanted & (MAX_TIME - 1)) // DAY
        for day in np.unique(days[days >= self._oldest]).tolist():
            mine = np.flatnonzero(days == day)
            for run_keys, run_values in self._partition(day).runs.values():
                at = np.searchsorted(run_keys, wanted[mine])
                for step in range(len(run_keys)):
                    inside = at + step < len(run_keys)
                    place = np.minimum(at + step, len(run_keys) - 1)
                    hit = inside & (run_keys[place] == wanted[mine])
                    if not hit.any():
                        break
                    for row, number in zip(rows[mine[hit]].tolist(), run_values[place[hit]].tolist(), strict=True):
                        found.setdefault(row, set()).add(number)
        return found

    def _remember(self, keys: Int64, values: Float64) -> None:
        days = (keys & (MAX_TIME - 1)) // DAY
        for day in np.unique(days[days >= self._oldest]).tolist():
            mine = days == day
            partition = self._partition(day)
            run: Run = (keys[mine], values[mine])
            while partition.runs:
                last = next(reversed(partition.runs))
                if len(partition.runs[last][0]) > 2 * len(run[0]):
                    break
                run = _merge(partition.runs.pop(last), run)
                if self.added.pop((day, last), None) is None:
                    self.removed.add((day, last))
            partition.runs[self._next] = run
            self.added[day, self._next] = run
            self._next += 1

    def _partition(self, day: int) -> Partition:
        found = self._days.get(day)
        if found is None:
            found = self._days[day] = Partition(dict(sorted(self._load(day).items())))
        found.touched = self._clock
        return found

    def forget(self, now: int) -> None:
        """Let go of days that lie too far before log time `now` (ms UTC): what comes for them is late, and is not compared."""
        oldest = now // DAY - KEPT_DAYS
        if oldest <= self._oldest:
            return
        self._dropped += range(max(self._oldest, oldest - SWEPT), oldest)
        self._oldest = oldest
        self._days = {day: partition for day, partition in self._days.items() if day >= oldest}
        self.added = {key: run for key, run in self.added.items() if key[0] >= oldest}
        self.removed = {key for key in self.removed if key[0] >= oldest}

    def changes(self) -> Iterator[tuple[int, int, Run | None]]:
        """Yield (day, run number, run) of what a step must store; None means remove, ALL every run of the day."""
        yield from ((day, ALL, None) for day in self._dropped)
        yield from ((day, number, None) for day, number in sorted(self.removed))
        yield from ((day, number, run) for (day, number), run in self.added.items())

    def clean(self) -> None:
        """Forget the changes: they are durable. Days not used lately leave memory and are loaded again when asked for."""
        self.added.clear()
        self.removed.clear()
        self._dropped.clear()
        idle = sorted(self._days, key=lambda d: self._days[d].touched)[:-KEPT_IN_MEMORY]
        for day in idle:
            del self._days[day]


def run_of(body: bytes) -> Run:
    """Return a run from its stored bytes: the keys, then the values."""
    half = len(body) // 2
    return np.frombuffer(body[:half], np.int64).copy(), np.frombuffer(body[half:], np.float64).copy()


def _merge(a: Run, b: Run) -> Run:
    """Merge two runs: `a` was there first, so its entries of an equal key stay first."""
    keys = np.concatenate([a[0], b[0]])
    order = np.argsort(keys, kind="stable")
    return keys[order], np.concatenate([a[1], b[1]])[order]
