"""Merging the inputs of a partition: order, ticks, and what is waited for. Law: whatever way records come in, the order is the same."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from connectors.core import JSON, Record
from streams.merge import GAP, SETTLE, Merge
from streams.plan.load import MINUTE
from streams.records import CONTEXT, answer_record, tick_of, tick_record

A, B = "emission-monitoring", "power-usage"
T0 = 1_790_000_040_000
POSITIONS = {A: 0, B: 0, CONTEXT: 0}


def record(topic: str, offset: int, at: float) -> Record:
    return Record(topic, "S1", T0 + round(at * 1000), JSON if topic == CONTEXT else "x", b"{}", offset)


def filled(*records: Record, tick: int = T0) -> Merge:
    merge = Merge(POSITIONS, tick)
    merge.put(records)
    for topic in POSITIONS:
        merge.end(topic)
    return merge


def told(records: list[Record]) -> list[object]:
    """Say records as topic and offset, ticks as seconds since T0."""
    return [(now - T0) // 1000 if (now := tick_of(r)) is not None else f"{r.topic[0]}{r.offset}" for r in records]


def test_inputs_are_merged_by_log_time_and_what_changes_a_judgement_comes_last_of_its_instant() -> None:
    merge = filled(record(A, 0, 1), record(A, 1, 5), record(B, 0, 3), record(CONTEXT, 0, 5), record(B, 1, 5))
    assert told(merge.take(99, 0)) == ["e0", "p0", "e1", "p1", "c0"]
    assert merge.positions == {A: 2, B: 2, CONTEXT: 1}


def test_an_input_with_unread_records_is_waited_for() -> None:
    merge = Merge(POSITIONS, T0)
    merge.put([record(A, 0, 1)])
    merge.end(CONTEXT)
    assert merge.take(99, 0) == []
    merge.end(B)
    assert told(merge.take(99, 0)) == ["e0"]


def test_a_tick_comes_before_the_first_record_behind_its_minute_and_after_the_last_within() -> None:
    merge = filled(record(A, 0, 59), record(A, 1, 60), record(A, 2, 60.001), record(A, 3, 200))
    assert told(merge.take(99, 0)) == ["e0", "e1", 60, "e2", 180, "e3"]


def test_a_tick_of_the_log_is_taken_where_it_lies_and_those_that_were_judged_are_skipped() -> None:
    tick = replace(tick_record(T0 + MINUTE), arrived=T0 + MINUTE, offset=0)
    old = replace(tick_record(T0), arrived=T0 + 1, offset=1)
    merge = filled(record(A, 0, 60), tick, old, record(A, 1, 70))
    assert told(merge.take(99, 0)) == ["e0", 60, "e1"]
    assert merge.positions[CONTEXT] == 2


def test_time_passes_by_the_clock_when_all_is_read_but_after_a_gap_only_when_it_stays_quiet() -> None:
    merge = filled(record(A, 0, 1))
    assert told(merge.take(99, T0 + 50_000)) == ["e0"]
    assert told(merge.take(99, T0 + 130_000)) == [120]
    late = T0 + 120_000 + GAP + MINUTE
    assert merge.take(99, late) == []
    assert merge.take(99, late + SETTLE - 1) == []
    merge.put([replace(record(A, 1, 150))])
    merge.end(A)
    assert told(merge.take(99, late + SETTLE)) == ["e1"], "what gateways had kept comes first"
    assert merge.take(99, late + SETTLE) == []
    assert told(merge.take(99, late + 2 * SETTLE)) == [(late + 2 * SETTLE - T0) // MINUTE * 60]


def test_without_ticks_it_ends_before_the_next_one() -> None:
    merge = filled(record(A, 0, 10), record(A, 1, 70))
    assert told(merge.take(99, 0, ticks=False)) == ["e0"]
    assert merge.take(99, 0, ticks=False) == []
    assert told(merge.take(99, 0)) == [60, "e1"]


def test_an_answer_is_skipped_where_it_lies() -> None:
    answer = replace(answer_record(T0, {}), arrived=T0 + 5, offset=0)
    merge = filled(answer, record(A, 0, 10))
    assert told(merge.take(99, 0)) == ["e0"]
    assert merge.positions[CONTEXT] == 1


def test_what_is_given_back_comes_again_ticks_and_all() -> None:
    merge = filled(record(A, 0, 10), record(A, 1, 70), record(B, 0, 130))
    first = merge.take(99, 0)
    assert told(first) == ["e0", 60, "e1", 120, "p0"]
    merge.give_back(first[1:], T0)
    assert merge.positions == {A: 1, B: 0, CONTEXT: 0}
    assert told(merge.take(99, 0)) == [60, "e1", 120, "p0"]


INPUTS = st.lists(st.tuples(st.sampled_from([A, B, CONTEXT]), st.integers(0, 400)), max_size=30)


@given(INPUTS, st.lists(st.integers(1, 7), min_size=1, max_size=8), st.integers(0, 1 << 32))
def test_the_order_does_not_depend_on_how_records_come_in_or_are_taken(rows, sizes, seed) -> None:
    """Promise 3: the same log gives the same order, however it is fetched and cut."""
    by_topic: dict[str, list[Record]] = {topic: [] for topic in POSITIONS}
    for topic, at in sorted(rows, key=lambda row: row[1]):
        by_topic[topic].append(record(topic, len(by_topic[topic]), at))
    whole = filled(*(r for records in by_topic.values() for r in records)).take(10_000, 0)

    rng = Random(seed)
    merge, left, came, turn = Merge(POSITIONS, T0), {t: list(r) for t, r in by_topic.items()}, [], 0
    while not merge.idle:
        topic = rng.choice(list(left))
        merge.put([left[topic].pop(0) for _ in range(min(len(left[topic]), rng.randint(0, 3)))])
        if not left[topic]:
            merge.end(topic)
        came += merge.take(sizes[turn % len(sizes)], 0)
        turn += 1
    assert told(came) == told(whole)
    assert merge.positions == {topic: len(records) for topic, records in by_topic.items()}
