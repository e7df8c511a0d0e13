"""Spike: a step away from the last twelve values (rules A-DT-5; Hampel 1974 identifier on a trailing window)."""

from __future__ import annotations

import numpy as np

from detectors.core import Floats, State, Times
from detectors.scale import bounded

WIDTH = 12
MADS = 6.0
SHARE = 0.3
TINY = 1e-9
NEXT_SEEN = np.array([*range(1, 2 * WIDTH), WIDTH], np.uint8)
"""`seen` counts to 12 and then goes round 12..23, so that seen modulo 12 is always the oldest place of the ring."""
NETWORK_FROM = 512
"""Rows from which the sorting network is cheaper than a sort a row (measured; it costs 80 calls however few the rows)."""

_HALF = WIDTH // 2
_NETWORK = (
    *((0, 8), (1, 7), (2, 6), (3, 11), (4, 10), (5, 9)),
    *((0, 1), (2, 5), (3, 4), (6, 9), (7, 8), (10, 11)),
    *((0, 2), (1, 6), (5, 10), (9, 11)),
    *((0, 3), (1, 2), (4, 6), (5, 7), (8, 11), (9, 10)),
    *((1, 4), (3, 5), (6, 8), (7, 10)),
    *((1, 3), (2, 5), (6, 9), (8, 10)),
    *((2, 3), (4, 5), (6, 7), (8, 9)),
    *((4, 6), (5, 7)),
    *((3, 4), (5, 6), (7, 8)),
)
"""Sorting network of 12 inputs with 39 comparators (Dobbelaere's list; proved in the tests by the 0-1 principle): sorts all
members at once, one column a place, several times faster than a sort a row."""


class Spike:
    """Score |value − median| / max(6 × MAD, 30 % of the limit) against the previous 12 usable values.

    inputs: `value` and `limit` in one unit, limit NaN or not positive → 30 % of the median instead; `usable`, 1 or 0.
    NaN until 12 usable values were seen, and for a value that is NaN or not usable, which is not remembered. Every usable value
    enters the ring, so a step that persists becomes the new normal after 6 or 7 values. expected is the median.
    """

    name = "spike"
    family = "statistics"
    scope = "series"
    cadence = "reading"
    inputs: tuple[str, ...] = ("value", "limit", "usable")
    record: np.dtype[np.void] = np.dtype([("ring", "<f8", (WIDTH,)), ("seen", "u1")], align=True)

    def step(self, state: State, time: Times, values: Floats) -> tuple[Floats, Floats]:
        """Score one observation per member: (k,), (k,), (k, 3) → score (k,), expected (k,)."""
        del time
        value, limit, usable = values.T
        counts = np.isfinite(value) & (usable > 0.0)
        seen = state["seen"]
        ready = seen >= WIDTH
        with np.errstate(invalid="ignore", over="ignore"):
            middle, spread = median_mad(state["ring"])
            share = SHARE * np.where(limit > 0.0, limit, np.abs(middle))
            allowed = np.maximum(np.maximum(MADS * spread, share), TINY)
            score = np.where(counts & ready, np.abs(value - middle) / allowed, np.nan)
        rows = np.flatnonzero(counts)
        state["ring"][rows, (seen % WIDTH)[rows]] = value[rows]
        state["seen"] = np.where(counts, NEXT_SEEN[seen], seen)
        return bounded(score), np.where(ready, middle, np.nan)


def median_mad(ring: Floats) -> tuple[Floats, Floats]:
    """Return median (k,) and median absolute deviation (k,) of each row of `ring` (k, 12), which holds no NaN.

    The two ways to sort differ in cost only: every operation on a row is exact or the same in both, so that a row's answer
    does not depend on how many are judged with it.
    """
    if len(ring) < NETWORK_FROM:
        s = list(np.sort(ring, axis=1).T)
        middle = _middle(s)
        deviations = list(np.sort(np.abs(ring - middle[:, None]), axis=1).T)
        return middle, _middle(deviations)
    s = _sorted(ring)
    middle = _middle(s)
    # The deviations of the lower and of the upper half are both in rising order: pick the two middle ones of their union.
    lower = [np.subtract(middle, x, out=x) for x in s[_HALF - 1 :: -1]]
    upper = [np.subtract(x, middle, out=x) for x in s[_HALF:]]
    return middle, _between(_smallest(lower, upper, _HALF), _smallest(lower, upper, _HALF + 1))


def _sorted(ring: Floats) -> list[Floats]:
    """Return the columns of `ring` (k, 12) sorted along each row, by the network."""
    s, spare = list(np.array(ring.T, order="C")), np.empty(len(ring))
    for i, j in _NETWORK:
        np.minimum(s[i], s[j], out=spare)
        np.maximum(s[i], s[j], out=s[j])
        s[i], spare = spare, s[i]
    return s


def _middle(s: list[Floats]) -> Floats:
    """Return the median of sorted columns."""
    return _between(s[_HALF - 1], s[_HALF])


def _between(low: Floats, high: Floats) -> Floats:
    """Return the mean of two ordered columns: never outside them, no overflow, and no −0.0 (its sign depends on the sort)."""
    mean: Floats = np.minimum(np.maximum(0.5 * low + 0.5 * high, low), high) + 0.0
    return mean


def _smallest(a: list[Floats], b: list[Floats], k: int) -> Floats:
    """Return the k-th smallest (from 1) of two rising lists: min over i of max(the i-th of a, the (k−i)-th of b)."""
    best: Floats | None = None
    for i in range(max(0, k - len(b)), min(k, len(a)) + 1):
        j = k - i
        worst = a[i - 1] if j == 0 else b[j - 1] if i == 0 else np.maximum(a[i - 1], b[j - 1])
        best = worst if best is None else np.minimum(best, worst)
    assert best is not None
    return best
