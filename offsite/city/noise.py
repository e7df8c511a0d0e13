"""Random-access noise: a pure function of (seed, channel, time), the same for every step length and in every process.

Values of a hashed lattice are joined by straight lines, one lattice an octave; the sum is correlated over hours like an
autoregressive process, but any instant can be asked for without walking there. splitmix64: Steele, Lea, Flood 2014.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from offsite.city.tables import HOUR_MS, MINUTE_MS

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
OCTAVES: tuple[tuple[int, float], ...] = ((6 * HOUR_MS, 0.6), (HOUR_MS, 0.4), (10 * MINUTE_MS, 0.35))
"""(period ms, weight) of the correlated part."""
WHITE = 0.5
"""Weight of the part that differs at every instant."""


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * _MIX1
    x = (x ^ (x >> np.uint64(27))) * _MIX2
    return x ^ (x >> np.uint64(31))


def hashed(seed: int, channels: Int, cells: Int) -> Float:
    """Return (n, k) nearly normal values (mean 0, variance 1) for channel (n,) and cell (k,) numbers.

    The sum of four 16-bit uniforms of one hash (Irwin-Hall): bounded at ±3.46, so noise alone never makes an outlier.
    """
    base = _mix(channels.astype(np.uint64) * _GOLDEN + np.uint64(seed & 0xFFFFFFFF))
    bits = _mix(base[:, None] + _mix(cells.astype(np.uint64) * _GOLDEN)[None, :])
    total = np.zeros(bits.shape)
    for shift in (0, 16, 32, 48):
        total += ((bits >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.float64)
    scaled: Float = (total / 65535.0 - 2.0) * np.sqrt(3.0)
    return scaled


def lattice(seed: int, channels: Int, time: Int, period_ms: int) -> Float:
    """Return (n, k) values that move in straight lines from one lattice point to the next."""
    cell = time // period_ms
    first, last = int(cell.min()), int(cell.max())
    knots = hashed(seed, channels, np.arange(first, last + 2, dtype=np.int64))
    share = (time - cell * period_ms) / period_ms
    at = cell - first
    out: Float = knots[:, at] * (1.0 - share) + knots[:, at + 1] * share
    return out


def noise(seed: int, channels: Int, time: Int) -> Float:
    """Return (n, k) noise of mean 0 and standard deviation about 0.8, correlated over hours."""
    total = WHITE * hashed(seed ^ 0x5EED, channels, time)
    for number, (period, weight) in enumerate(OCTAVES):
        total += weight * lattice(seed + 977 * (number + 1), channels, time, period)
    return total
