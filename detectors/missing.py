"""Missing: a point that has fallen silent (rules A-DT-1; QARTOD timing/gap test)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.core import Floats, State, Times
from detectors.scale import bounded

MINUTE = 60_000
LEAST_SILENCE = 10 * MINUTE
MULTIPLE = 3
UNKNOWN_INTERVAL = 60 * MINUTE
LONGEST_INTERVAL = 24 * 60 * MINUTE
LIVE = 130 * MINUTE
CONFIRMED = 3
TOLERANCE = 0.1
EXACT = 2.0**53
"""The end of the whole numbers in float64: no time is later."""


class Missing:
    """Score silence: (now − last arrival) / max(10 min, 3 × interval). The scope is a point: any of its readings counts.

    inputs: `interval_ms`, the registered interval, NaN or 0 if none; `arrived`, log time in ms. `time` is event time.
    Without a registered interval it is learnt: the smallest gap between event times of live readings (at most 130 min old) that
    came three times running within 10 %; up to then one hour, the slowest duty of HJ 212. A gap over a day teaches nothing.
    `step` returns the silence that this reading ended. expected is the interval in use, in ms.
    """

    name = "missing"
    family = "quality"
    scope = "point"
    cadence = "reading"
    inputs: tuple[str, ...] = ("interval_ms", "arrived")
    record: np.dtype[np.void] = np.dtype(
        [("last", "<i8"), ("event", "<i8"), ("gap", "<i4"), ("learnt", "<i4"), ("registered", "<i4"), ("alike", "u1")], align=True
    )

    def step(self, state: State, time: Times, values: Floats) -> tuple[Floats, Floats]:
        """Score one arrival per member: (k,), (k,), (k, 2) → score (k,), expected (k,)."""
        interval, arrived = values.T
        counts = (arrived > 0.0) & (arrived < EXACT)
        now = np.where(counts, arrived, 0.0).astype(np.int64)
        known = np.where((interval > 0.0) & (interval <= LONGEST_INTERVAL), interval, 0.0).astype(np.int32)
        state["registered"] = np.where(counts, known, state["registered"])
        score = np.where(counts, np.where(state["last"] > 0, _silence(state, now), 0.0), np.nan)
        _learn(state, time, counts & (now - time <= LIVE))
        state["last"] = np.maximum(state["last"], now)
        return bounded(score), _interval(state).astype(np.float64)

    def tick(self, state: State, now: int) -> Floats:
        """Score the silence of every member, state (k,) → (k,), at log time `now` (ms UTC); NaN for one never seen."""
        silence = _silence(state, np.full(len(state), now, np.int64))
        return bounded(np.where(state["last"] > 0, silence, np.nan))


def _interval(state: State) -> Times:
    """Return the interval in use (k,), ms: registered, else learnt, else one hour."""
    learnt = np.where(state["learnt"] > 0, state["learnt"], UNKNOWN_INTERVAL)
    interval: Times = np.where(state["registered"] > 0, state["registered"], learnt).astype(np.int64)
    return interval


def _silence(state: State, now: Times) -> Floats:
    """Return the silence of each member at `now` (k,) as a share of the silence allowed."""
    silence: Floats = (now - state["last"]) / np.maximum(LEAST_SILENCE, MULTIPLE * _interval(state))
    return silence


def _learn(state: State, time: Times, live: NDArray[np.bool_]) -> None:
    """Learn the smallest regular gap from the event times (k,) of the members that are `live` (k,)."""
    jump = (state["event"] == 0) | (np.abs(time - state["event"]) > LONGEST_INTERVAL)
    gap = np.where(live & ~jump, time - state["event"], 0)
    forward = gap > 0
    near = np.abs(gap - state["gap"]) <= TOLERANCE * gap
    alike = np.where(near, np.minimum(state["alike"], CONFIRMED - 1) + 1, 1)
    smaller = forward & (alike >= CONFIRMED) & ((state["learnt"] == 0) | (gap < state["learnt"]))
    state["learnt"] = np.where(smaller, gap, state["learnt"])
    state["alike"] = np.where(forward, alike, state["alike"])
    state["gap"] = np.where(forward, gap, state["gap"])
    state["event"] = np.where(forward | (live & jump), time, state["event"])
