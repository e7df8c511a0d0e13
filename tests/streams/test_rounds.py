from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.rounds import cut, run
from streams.slab import Slab


class Chain:
    """A detector whose state depends on the order and number of a member's rows; it records the size of each step."""

    name, family, scope, cadence = "chain", "statistics", "series", "reading"
    inputs: tuple[str, ...] = ("value", "weight")
    record = np.dtype([("x", "<f8"), ("n", "<i8")])

    def __init__(self):
        self.sizes = []

    def step(self, state, time, values):
        self.sizes.append(len(time))
        expected = state["x"].copy()
        state["x"] = state["x"] * 0.7 + values[:, 0] / (1.0 + values[:, 1] ** 2) + time * 1e-3
        state["n"] += 1
        return state["x"].copy(), expected


class Stateless(Chain):
    record = np.dtype([])

    def step(self, state, time, values):
        self.sizes.append(len(time))
        return values[:, 0].copy(), values[:, 1].copy()


def batch(members, seed=0):
    random = np.random.default_rng(seed)
    n = len(members)
    return np.array(members, np.int32), random.integers(0, 10**12, n), random.normal(size=(n, 2))


def one_by_one(members, time, values):
    """The plain meaning: each row alone, in arrival order."""
    slab, detector = Slab("plain", Chain.record), Chain()
    slab.rows(int(max(members, default=-1)) + 1)
    score, expected = [], []
    for i, member in enumerate(members):
        s, e = detector.step(slab.data[member : member + 1], time[i : i + 1], values[i : i + 1])
        score.append(s[0])
        expected.append(e[0])
    return np.array(score), np.array(expected), slab.data.tobytes()


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), max_size=80), st.lists(st.integers(0, 80), max_size=6), st.integers(0, 2**32))
def test_any_cut_is_bit_identical_to_one_row_at_a_time(members, cuts, seed):
    members, time, values = batch(members, seed)
    score, expected, state = one_by_one(members, time, values)
    slab = Slab("cut", Chain.record)
    edges = [0, *sorted(min(c, len(members)) for c in cuts), len(members)]
    parts = [run(Chain(), slab, members[a:b], time[a:b], values[a:b]) for a, b in pairwise(edges)]
    assert np.concatenate([p[0] for p in parts]).tobytes() == score.tobytes()
    assert np.concatenate([p[1] for p in parts]).tobytes() == expected.tobytes()
    assert slab.data.tobytes() == state


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), max_size=80))
def test_a_round_holds_each_member_once_and_rounds_shrink(members):
    plan = cut(np.array(members, np.int64))
    order = np.arange(len(members)) if plan.order is None else plan.order
    assert sorted(order.tolist()) == list(range(len(members)))
    start, last = 0, len(plan.members)
    for end in plan.ends:
        inside = [members[i] for i in order[start:end]]
        assert inside == plan.members[: end - start].tolist()
        assert len(set(inside)) == len(inside) <= last
        start, last = end, end - start
    assert start == len(members)


@pytest.mark.parametrize("members", [[0, 1, 2, 3], [3, 0, 2, 1], [7]])
def test_members_seen_once_are_one_step(members):
    detector = Chain()
    run(detector, Slab("s", detector.record), *batch(members))
    assert detector.sizes == [len(members)]


def test_the_number_of_steps_is_the_count_of_the_busiest_member():
    detector = Chain()
    run(detector, Slab("s", detector.record), *batch([5, 1, 5, 1, 5, 2]))
    assert detector.sizes == [3, 2, 1]


def test_a_stateless_detector_is_always_one_step_and_needs_no_rows():
    detector, slab = Stateless(), Slab("s", np.dtype([]))
    members, time, values = batch([1, 1, 1, 0, 1])
    score, expected = run(detector, slab, members, time, values)
    assert detector.sizes == [5]
    assert len(slab) == 0
    assert score.tobytes() == values[:, 0].tobytes()
    assert expected.tobytes() == values[:, 1].tobytes()


def test_a_cut_can_be_shared():
    members, time, values = batch([4, 2, 4, 2, 2])
    a, b = Slab("a", Chain.record), Slab("b", Chain.record)
    first = run(Chain(), a, members, time, values)
    second = run(Chain(), b, members, time, values, rounds=cut(members))
    assert first[0].tobytes() == second[0].tobytes()
    assert a.data.tobytes() == b.data.tobytes()


def test_inputs_are_unchanged():
    members, time, values = batch([4, 2, 4, 2, 2])
    before = members.tobytes(), time.tobytes(), values.tobytes()
    run(Chain(), Slab("s", Chain.record), members, time, values)
    assert (members.tobytes(), time.tobytes(), values.tobytes()) == before


def test_only_touched_chunks_are_dirty():
    slab = Slab("s", Chain.record, chunk_bytes=32)
    slab.rows(10)
    run(Chain(), slab, *batch([9, 2, 9]))
    assert [number for number, _ in slab.dirty_chunks()] == [1, 4]


def test_an_empty_batch_is_no_step():
    detector = Chain()
    score, expected = run(detector, Slab("s", detector.record), *batch([]))
    assert (len(score), len(expected), detector.sizes) == (0, 0, [])


def test_a_negative_member_is_named():
    with pytest.raises(ValueError, match="not -1"):
        run(Chain(), Slab("s", Chain.record), *batch([0, -1]))


def test_wrong_shapes_are_named():
    members, time, values = batch([0, 1])
    with pytest.raises(ValueError, match=r"chain: 2 rows, time \(2,\), values \(2, 1\)"):
        run(Chain(), Slab("s", Chain.record), members, time, values[:, :1])
