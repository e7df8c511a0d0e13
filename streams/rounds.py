"""Feed a detector: a batch of rows in arrival order enters, a score for each row leaves, and the slab has moved on.

A batch is cut into *rounds* in which each member appears at most once: round r holds the r-th row of every member that has
one. Members are numbered by falling row count, so the members of every round are a prefix of those of the round before: state
is gathered once, each round works on a view of it, and it is scattered once. Any cut of the same rows gives bit-identical
scores and state, because every member sees its rows one at a time and in order (promise 3).

Cost: O(n log n) in numpy for the cut (share it between detectors with `cut`), then one `step` a round. A step costs some
20–100 µs of Python however few its rows, so judge many members together: one member with n rows costs n steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.core import Detector, Floats, Times
from streams.slab import Slab

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cut:
    """How a batch falls into rounds.

    members (u,) the members, most rows first · order (n,) the row at each place of the round-major order, None where the
    batch is one round in its own order · ends: where each round ends in that order; round r covers members[:its length].
    """

    members: NDArray[np.integer[Any]]
    order: Ints | None
    ends: tuple[int, ...]


def cut(members: NDArray[np.integer[Any]]) -> Cut:
    """Cut rows of `members` (n,) into rounds: row i is in the round that counts the earlier rows of its member.

    ValueError if a member is negative.
    """
    n = len(members)
    if n == 0:
        return Cut(members, None, ())
    if members.min() < 0:
        raise ValueError(f"a member is the number of a row of the slab, not {members.min()}")
    if _each_once(members):
        return Cut(members, None, (n,))
    by_member = np.argsort(members, kind="stable")
    ordered = members[by_member]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counts = np.diff(starts, append=n)
    busiest = np.argsort(-counts, kind="stable")
    slot = np.empty_like(busiest)
    slot[busiest] = np.arange(len(busiest))
    rank = np.arange(n) - np.repeat(starts, counts)
    sizes = np.bincount(rank)
    ends = np.cumsum(sizes)
    order = np.empty(n, np.int64)
    order[(ends - sizes)[rank] + np.repeat(slot, counts)] = by_member
    return Cut(ordered[starts][busiest], order, tuple(ends.tolist()))


def run(
    detector: Detector,
    slab: Slab,
    members: NDArray[np.integer[Any]],
    time: Times,
    values: Floats,
    *,
    rounds: Cut | None = None,
) -> tuple[Floats, Floats]:
    """Score a batch and move the slab on.

    members (n,) row of the slab for each observation, in arrival order; time (n,) int64 ms UTC; values (n, m), columns as in
    `detector.inputs`; rounds = `cut(members)`, where the caller has it already. Returns score (n,) and expected (n,).
    Grows the slab as needed. ValueError if the shapes do not fit.
    """
    n = len(members)
    if time.shape != (n,) or values.shape != (n, len(detector.inputs)):
        raise ValueError(f"{detector.name}: {n} rows, time {time.shape}, values {values.shape}, inputs {detector.inputs}")
    if n == 0:
        return np.empty(0), np.empty(0)
    if detector.record.itemsize == 0:
        return detector.step(np.zeros(n, detector.record), time, values)
    plan = cut(members) if rounds is None else rounds
    slab.rows(int(plan.members.max()) + 1)
    state = slab.borrow(plan.members)
    if plan.order is None:
        score, expected = detector.step(state, time, values)
    else:
        score, expected = _rounds(detector, state, time[plan.order], values[plan.order], plan.ends)
        score, expected = _undo(score, plan.order), _undo(expected, plan.order)
    slab.scatter(plan.members, state)
    return score, expected


def _each_once(members: NDArray[np.integer[Any]]) -> bool:
    """Tell whether no member occurs twice, by marking: O(n + highest member), many times faster than sorting."""
    seen = np.zeros(int(members.max()) + 1, np.bool_)
    seen[members] = True
    return int(np.count_nonzero(seen)) == len(members)


def _rounds(detector: Detector, state: NDArray[Any], time: Times, values: Floats, ends: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Step through rows in round-major order; `state` changes in place."""
    score, expected = np.empty(len(time)), np.empty(len(time))
    start = 0
    for end in ends:
        score[start:end], expected[start:end] = detector.step(state[: end - start], time[start:end], values[start:end])
        start = end
    return score, expected


def _undo(column: Floats, order: Ints) -> Floats:
    """Put a column in round-major order back into arrival order."""
    out = np.empty_like(column)
    out[order] = column
    return out
