"""A histogram that costs one bisection: counts by upper bound and their sum, readable at any time from any thread.

Values enter; counts that can be added up over processes leave (Prometheus text format 0.0.4, histogram).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds, s, around the promises: acknowledgement within 0.2 s, an alert within 1 s."""
SIZES = (1.0, 10.0, 100.0, 1_000.0, 5_000.0, 10_000.0, 20_000.0)
"""Upper bounds of a step, records."""


class Histogram:
    """Counts of values in (bounds[i-1], bounds[i]]; the last count holds what is above all bounds. One thread writes.

    >>> h = Histogram((1.0, 10.0))
    >>> for value in (0.5, 1.0, 3.0, 99.0):
    ...     h.observe(value)
    >>> h.counts, h.total
    ([2, 1, 1], 103.5)
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def to_json(self) -> dict[str, Any]:
        """Return bounds, counts and sum as plain values."""
        return {"bounds": list(self.bounds), "counts": list(self.counts), "total": self.total}

    def copy(self) -> Histogram:
        """Return what has been counted so far."""
        return Histogram.from_json(self.to_json())

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> Histogram:
        """Take a histogram back from `to_json`."""
        made = Histogram(tuple(body["bounds"]))
        made.counts, made.total = list(body["counts"]), float(body["total"])
        return made
