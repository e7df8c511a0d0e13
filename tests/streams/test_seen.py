"""The memory of what was received, against a plain dictionary, however it is cut, stored and loaded again."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.seen import ALL, DAY, DUPLICATE, KEPT_DAYS, MAX_TIME, NEW, NEWEST, REVISED, Seen
from streams.slab import Slab

DAYS = [20_000, 20_001, 20_002, 20_003, 20_004, 20_005, 20_006]
ROWS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.builds(lambda d, t: d * DAY + t, st.sampled_from(DAYS), st.integers(0, 2)),
        st.sampled_from([1.0, 2.0, -0.0, 0.0]),
    ),
    max_size=60,
)


def plain(rows) -> list[int]:
    """Say the same with a dictionary."""
    known: dict[tuple[int, int], set[float]] = {}
    out = []
    for series, time, value in rows:
        values = known.setdefault((series, time), set())
        out.append(DUPLICATE if value in values else REVISED if values else NEW)
        values.add(value)
    return out


class Disk:
    """Runs by day, as a state store keeps them."""

    def __init__(self) -> None:
        self.days: dict[int, dict[int, object]] = {}
        self.newest = b""

    def take(self, seen: Seen, slab: Slab) -> None:
        for day, number, run in seen.changes():
            if number == ALL:
                self.days.pop(day, None)
            elif run is None:
                del self.days[day][number]
            else:
                self.days.setdefault(day, {})[number] = run
        seen.clean()
        self.newest = slab.data.tobytes()

    def open(self, next_run: int) -> tuple[Seen, Slab]:
        slab = Slab("newest", NEWEST)
        if self.newest:
            slab.load(0, self.newest)
        return Seen(slab, lambda day: dict(self.days.get(day, {})), next_run), slab


def columns(rows):
    return np.array([r[0] for r in rows], np.int32), np.array([r[1] for r in rows], np.int64), np.array([r[2] for r in rows])


@given(ROWS, st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=10))
@settings(max_examples=150)
def test_it_answers_as_a_dictionary_does_through_cuts_and_restarts(rows, cuts) -> None:
    disk = Disk()
    seen, slab = disk.open(1)
    got: list[int] = []
    stops = [*sorted(dict(cuts).items()), (len(rows), False)]
    start = 0
    for end, restart in stops:
        got += seen.classify(*columns(rows[start : max(start, min(end, len(rows)))])).tolist()
        start = max(start, min(end, len(rows)))
        disk.take(seen, slab)
        if restart:
            seen, slab = disk.open(seen.next_run)
    assert got == plain(rows)


def test_there_are_few_runs() -> None:
    seen = Seen(Slab("newest", NEWEST))
    for n in range(500):
        seen.classify(*columns([(0, 20_000 * DAY + n, 1.0)]))
    [partition] = seen._days.values()
    sizes = [len(keys) for keys, _ in partition.runs.values()]
    assert sum(sizes) == 500
    assert len(sizes) <= 9
    assert all(a > 2 * b for a, b in itertools.pairwise(sizes))


def test_a_stored_run_that_was_merged_away_is_removed() -> None:
    seen = Seen(Slab("newest", NEWEST))
    seen.classify(*columns([(0, 20_000 * DAY, 1.0)]))
    [(day, number, _)] = list(seen.changes())
    seen.clean()
    seen.classify(*columns([(0, 20_000 * DAY + 1, 1.0)]))
    changes = list(seen.changes())
    assert changes[0] == (day, number, None)
    assert [len(run[0]) for _, _, run in changes[1:]] == [2]


def test_the_ends_of_time() -> None:
    seen = Seen(Slab("newest", NEWEST))
    rows = [(5, 0, 1.0), (5, MAX_TIME - 1, 1.0), (6, 0, 1.0), (5, 0, 1.0), (5, MAX_TIME - 1, 2.0)]
    assert seen.classify(*columns(rows)).tolist() == [NEW, NEW, NEW, DUPLICATE, REVISED]


def test_nothing_asks_nothing() -> None:
    asked: list[int] = []
    seen = Seen(Slab("newest", NEWEST), lambda day: asked.append(day) or {})
    assert seen.classify(*columns([])).tolist() == []
    assert asked == []


def test_days_beyond_what_the_log_holds_are_let_go_on_disk_too_and_the_others_are_not() -> None:
    disk = Disk()
    seen, slab = disk.open(1)
    days = [20_000, 20_010, 20_020]
    rows = columns([(0, day * DAY, 1.0) for day in days])
    assert seen.classify(*rows).tolist() == [NEW] * 3
    disk.take(seen, slab)
    again, slab = disk.open(seen.next_run)  # a restart: nothing is in memory
    again.forget((20_000 + KEPT_DAYS) * DAY)
    disk.take(again, slab)
    assert sorted(disk.days) == days
    again.forget((20_001 + KEPT_DAYS) * DAY)
    again.forget((20_001 + KEPT_DAYS) * DAY + 5)
    disk.take(again, slab)
    assert sorted(disk.days) == days[1:]
    assert again.classify(*rows).tolist() == [NEW, DUPLICATE, DUPLICATE], "too late to be compared"
    disk.take(again, slab)
    assert sorted(disk.days) == days[1:], "and not remembered"
