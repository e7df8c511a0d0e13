from __future__ import annotations

from dataclasses import replace

import pytest

from offsite.self_seen import DAY, MINUTE, SECOND, Bounds, Memory, Partition, Snapshot, Target
from offsite.self_watch import KINDS, look

T = 1_800_000_000_000
GOOD = Snapshot(
    now=T,
    started=T - DAY,
    partitions=(Partition("0", 100, 100, T - 20 * SECOND),),
    heard=T,
    failed={"step": T - DAY},
    free={"data": 50 << 30},
    newest=T + SECOND,
    targets={"province": Target(3)},
    spool=(10, 100),
    expires={"server.pem": T + 90 * DAY},
)
FAULTS = {
    "tick_stopped": replace(GOOD, partitions=(Partition("0", 100, 100, T - 4 * MINUTE),)),
    "judging_behind": replace(GOOD, partitions=(Partition("0", 900, 100, T - 9 * MINUTE),)),
    "judge_silent": replace(GOOD, heard=T - 2 * MINUTE),
    "detector_failing": replace(GOOD, failed={"step": T - MINUTE}),
    "disk_full": replace(GOOD, free={"data": 100 << 20}),
    "disk_low": replace(GOOD, free={"spool": 1 << 30}),
    "clock_skew": replace(GOOD, newest=T + 5 * MINUTE),
    "target_failing": replace(GOOD, targets={"province": Target(3, T - 9 * MINUTE, "timed out")}),
    "spool_filling": replace(GOOD, spool=(60, 100)),
    "spool_full": replace(GOOD, spool=(99, 100)),
    "database_away": replace(GOOD, databases_away={"desk": "connection refused"}),
    "history_away": replace(GOOD, history_away={"influx": "timed out"}),
    "certificate_expiring": replace(GOOD, expires={"server.pem": T + 5 * DAY}),
    "certificate_expired": replace(GOOD, expires={"server.pem": T - DAY}),
}


def ids(seen: Snapshot, memory: Memory = Memory()) -> list[str]:  # noqa: B008
    return [c.id for c in look(seen, memory)[0]]


def test_nothing_stands_on_a_good_day_nor_where_nothing_is_known() -> None:
    assert ids(GOOD) == []
    assert ids(Snapshot(T)) == []


@pytest.mark.parametrize(("kind", "seen"), FAULTS.items(), ids=FAULTS)
def test_each_fault_is_its_condition_and_no_other(kind: str, seen: Snapshot) -> None:
    (one,), _ = look(seen, Memory())
    assert one.id == kind
    assert one.since == T
    for words in (one.zh, one.en, one.remedy_zh, one.remedy_en):
        assert words
        assert "{" not in words


def test_every_kind_has_a_fault_here() -> None:
    assert {kind.id for kind in KINDS} == {*FAULTS, "partition_dead"}


def at(seconds: int, end: int, position: int) -> Snapshot:
    now = T + seconds * SECOND
    return replace(GOOD, now=now, heard=now, newest=now, partitions=(Partition("3", end, position, now - SECOND),))


def test_a_partition_is_dead_once_lag_has_stood_for_a_minute_and_alive_with_the_next_commit() -> None:
    memory = Memory()
    seen = [(0, 100, 100), (30, 150, 100), (60, 200, 100), (89, 250, 100), (95, 260, 100), (200, 270, 100), (205, 280, 101)]
    found = []
    for look_at in seen:
        standing, memory = look(at(*look_at), memory)
        found.append([(c.id, c.subject, (c.since - T) // SECOND) for c in standing])
    dead = ("partition_dead", "3", 95)
    assert found == [[], [], [], [], [dead], [dead], []]


def test_a_slow_partition_that_commits_is_not_dead_and_an_idle_one_neither() -> None:
    memory = Memory()
    for second in range(0, 600, 30):
        standing, memory = look(at(second, 10_000, second), memory)
        assert standing == []
    memory = Memory()
    for second in range(0, 170, 10):
        standing, memory = look(at(second, 50, 50), memory)
        assert standing == []


def test_after_a_start_there_is_time_to_catch_up() -> None:
    """State of last week, a judge that has not spoken: no alarm in the first minute, and one if it stays so."""
    old = replace(GOOD, started=T, heard=0, partitions=(Partition("0", 500, 100, T - 7 * DAY),))
    assert ids(old) == []
    later = replace(old, now=T + 6 * MINUTE)
    assert ids(later) == ["judge_silent", "judging_behind"]


def test_critical_conditions_come_first_and_keep_their_time() -> None:
    first = replace(GOOD, free={"data": 1 << 30})
    _, memory = look(first, Memory())
    both = replace(first, now=T + MINUTE, spool=(99, 100), newest=T, heard=T + MINUTE)
    standing, memory = look(both, memory)
    assert [(c.id, c.since) for c in standing] == [("spool_full", T + MINUTE), ("disk_low", T)]
    gone, memory = look(replace(GOOD, now=T + 2 * MINUTE, heard=T + 2 * MINUTE), memory)
    again, _ = look(replace(first, now=T + 3 * MINUTE, heard=T + 3 * MINUTE), memory)
    assert gone == []
    assert [c.since for c in again if c.id == "disk_low"] == [T + 3 * MINUTE]


def test_a_faster_clock_has_longer_bounds() -> None:
    assert Bounds().at_speed(60).dead == 60 * Bounds().dead
    assert Bounds().at_speed(60).disk_full == Bounds().disk_full
    assert Bounds().at_speed(0.5) == Bounds()
