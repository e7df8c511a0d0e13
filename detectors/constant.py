"""Constant: the same value to the last digit for too long (rules A-DT-4, C-01; QARTOD flat line test)."""

from __future__ import annotations

import numpy as np

from detectors.core import Floats, State, Times
from detectors.scale import bounded

LEAST_SEEN = 4
"""A run of fewer observations scores 0, however long it lasted (A-DT-4: hour data, at least 4)."""


class Constant:
    """Score the age of the run of identical values over the time allowed.

    inputs: `value`; `floor`, the detection limit in the value's unit, NaN if none: a value at or below it is exempt and ends
    the run; `window_ms`, the time allowed; `usable`, 1 or 0. Score = (time − start of the run) / window_ms, 0 until the run
    has 4 observations. A value that is NaN or not usable, and a time not after the last one, is ignored: NaN, the run neither
    grows nor breaks. A gap longer than the window breaks the run: nobody saw the value stand still. expected is NaN.
    """

    name = "constant"
    family = "statistics"
    scope = "series"
    cadence = "reading"
    inputs: tuple[str, ...] = ("value", "floor", "window_ms", "usable")
    record: np.dtype[np.void] = np.dtype([("value", "<f8"), ("start", "<i8"), ("last", "<i8"), ("seen", "<i4")], align=True)

    def step(self, state: State, time: Times, values: Floats) -> tuple[Floats, Floats]:
        """Score one observation per member: (k,), (k,), (k, 4) → score (k,), expected (k,)."""
        value, floor, window, usable = values.T
        last, seen = state["last"], state["seen"]
        counts = np.isfinite(value) & (usable > 0.0) & ((seen == 0) | (time > last))
        same = (seen > 0) & (value == state["value"]) & ~(time - last > window)
        exempt = value <= floor
        start = np.where(same, state["start"], time)
        run = np.where(exempt, 0, np.where(same, seen + 1, 1))
        state["value"] = np.where(counts, value, state["value"])
        state["start"] = np.where(counts, start, state["start"])
        state["last"] = np.where(counts, time, last)
        state["seen"] = np.where(counts, run, seen)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            score = np.where(run >= LEAST_SEEN, (time - start) / window, 0.0)
        return bounded(np.where(counts & (window > 0.0), score, np.nan)), np.full(len(time), np.nan)
