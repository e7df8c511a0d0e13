"""Null: the detector that sees nothing, the zero of every quality measure (after NAB's null detector, Lavin & Ahmad 2015)."""

from __future__ import annotations

import numpy as np

from detectors.core import Floats, State, Times


class Null:
    """Score 0 always. inputs: `value`, any unit. expected NaN. Keeps no state."""

    name = "null"
    family = "statistics"
    scope = "series"
    cadence = "reading"
    inputs: tuple[str, ...] = ("value",)
    record: np.dtype[np.void] = np.dtype([])

    def step(self, state: State, time: Times, values: Floats) -> tuple[Floats, Floats]:
        """Score one observation per member: (k,), (k,), (k, 1) → zeros (k,), NaN (k,)."""
        del state, time
        return np.zeros(len(values)), np.full(len(values), np.nan)
