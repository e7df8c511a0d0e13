"""Range: values that cannot be, or that the instrument cannot measure (rules A-DT-2, A-DT-3; QARTOD gross range test)."""

from __future__ import annotations

import numpy as np

from detectors.core import Floats, State, Times
from detectors.scale import outside


class Range:
    """Score how far a value leaves its physical or measuring range.

    inputs, one unit: `value`; `low` and `high`, NaN where there is no such end; a one-sided bound is scaled by max(|bound|, 1).
    For "over range" (A-DT-3) hand in high = 0.98 × range. Score 1.0 is at the end of the range, above it outside.
    expected is the nearest end. Keeps no state.
    """

    name = "range"
    family = "quality"
    scope = "series"
    cadence = "reading"
    inputs: tuple[str, ...] = ("value", "low", "high")
    record: np.dtype[np.void] = np.dtype([])

    def step(self, state: State, time: Times, values: Floats) -> tuple[Floats, Floats]:
        """Score one observation per member: (k,), (k,), (k, 3) → score (k,), expected (k,)."""
        del state, time
        return outside(values[:, 0], values[:, 1], values[:, 2], least=1.0)
