"""The detector contract: columns in, columns out, on one screen.

A detector scores; it never decides (that is `streams/judge.py`) and never accuses (`streams/leads.py`).
The framework (`streams/rounds.py`) cuts a batch into rounds in which each member appears once, gathers one record
a member, calls `step`, and scatters the records back; an author writes straight numpy with no keys and no loops.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
State = NDArray[np.void]


@runtime_checkable
class Detector(Protocol):
    """One way to score. Score 1.0 is this detector's own limit; NaN means "cannot say" and neither raises nor clears.

    Contract, tested on every detector of the catalogue: any cut of the input gives bit-identical scores and state; NaN-safe;
    inputs unchanged; state round-trips through bytes; deterministic.
    """

    name: str
    family: str  # statistics | limits | parameters | power | video | quality | manual
    scope: str  # series | point | unit | site
    cadence: str  # reading | minute | hour | day
    inputs: tuple[str, ...]  # names of the columns of `values`, in order
    record: np.dtype[np.void]  # one record per scope member: the memory contract; all-zero bytes = nothing seen yet

    def step(self, state: State, time: Times, values: Floats) -> tuple[Floats, Floats]:
        """Score one observation per member.

        state (k,) of `record`, changed in place; time (k,) int64 ms UTC; values (k, m) columns named by `inputs`.
        Returns score (k,) and expected (k,), float64; expected is what the detector thought normal (NaN if it has no idea).
        """


@runtime_checkable
class SilenceDetector(Detector, Protocol):
    """A detector that also judges silence: the only place that sees a clock, and the clock is an argument."""

    def tick(self, state: State, now: int | Times) -> Floats:
        """Score the silence of every member, state (k,) → (k,), at log time `now` (ms UTC; one, or one a member)."""
