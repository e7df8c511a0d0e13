"""Limit: how much of its limit a value uses (rules A-DT-8; strict exceedance as in GB 13223, GB 8978 and the like)."""

from __future__ import annotations

import numpy as np

from detectors.core import Floats, State, Times
from detectors.scale import outside


class Limit:
    """Score value / high; for a range such as pH 6–9, the distance from the middle over the half-width.

    inputs, one unit: `value`; `low`, NaN unless the limit has a lower end (pH, dissolved oxygen); `high`, NaN if it has no
    upper end. Score 1.0 is exactly at the limit and lawful; > 1.0 exactly where the limit is exceeded. A limit of 0 and a
    missing one score NaN. expected is the nearest limit. Keeps no state.
    """

    name = "limit"
    family = "limits"
    scope = "series"
    cadence = "reading"
    inputs: tuple[str, ...] = ("value", "low", "high")
    record: np.dtype[np.void] = np.dtype([])

    def step(self, state: State, time: Times, values: Floats) -> tuple[Floats, Floats]:
        """Score one observation per member: (k,), (k,), (k, 3) → score (k,), expected (k,)."""
        del state, time
        return outside(values[:, 0], values[:, 1], values[:, 2])
