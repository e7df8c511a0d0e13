"""The one scale: 1.0 is the detector's own limit, 0 is nothing to see, and a finite cap keeps a score a number.

Bounds and values enter as columns, a score leaves. Shared by the detectors that compare a value with bounds.
"""

from __future__ import annotations

import numpy as np

from detectors.core import Floats

CAP = 1000.0
"""Scores end here: a value a thousand limits away is no more news than one ten thousand away, and JSON knows no infinity."""

JUST_ABOVE = float(np.nextafter(1.0, 2.0))


def bounded(score: Floats) -> Floats:
    """Clip a score (k,) to 0..CAP; NaN stays NaN."""
    clipped: Floats = np.clip(score, 0.0, CAP)
    return clipped


def outside(value: Floats, low: Floats, high: Floats, least: float = 0.0) -> tuple[Floats, Floats]:
    """Measure how far `value` is outside the closed interval low..high, on the one scale.

    All (k,), one unit; NaN in `low` or `high` = no such bound. Returns the score and the bound that it was measured against.
    With both bounds: distance from the middle over the half-width. With one: 1 + excess / max(|bound|, least), which for an
    upper bound is value / high. Score > 1.0 exactly where the value is strictly outside, whatever the rounding; NaN where the
    value or both bounds are missing, where low >= high, or where a single bound gives no scale (0 with least = 0).
    """
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        above, below = value - high, low - value
        upper = np.isnan(low) | (above >= below)
        bound = np.where(upper, high, low)
        excess = np.where(upper, above, below)
        single = np.isnan(low) | np.isnan(high)
        width = np.where(single, np.maximum(np.abs(bound), least), 0.5 * (high - low))
        score = np.where(width > 0.0, 1.0 + excess / width, np.nan)
        score = np.where(excess > 0.0, np.maximum(score, JUST_ABOVE), score)
    return bounded(score), bound
