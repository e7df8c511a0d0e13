"""A generated day as a file of raw frames, for benchmarks and `offsite replay`: one frame a line, CRLF, in time order."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import zstandard

from offsite.city.model import City
from offsite.city.tables import DAY_MS, HOUR_MS
from offsite.city.wire import REALTIME, Renderer

READINGS = 5_000_000


def _open(path: Path) -> IO[bytes]:
    """Open for writing by the end of the name: xz, Zstandard, else plain."""
    if path.suffix == ".xz":
        return lzma.open(path, "wb", preset=0)
    if path.suffix == ".zst":
        compressed: IO[bytes] = zstandard.open(path, "wb", cctx=zstandard.ZstdCompressor(level=3))
        return compressed
    return path.open("wb")


def readings_a_step(city: City) -> int:
    """Return how many readings one round of real-time frames of all outlets carries."""
    return sum(len(o.profile.factors) + len(o.profile.converted) for o in city.inventory.outlets if not o.profile.hourly_only)


def day_interval_ms(city: City, readings: int) -> int:
    """Return the real-time interval, in whole seconds, at which a day has about that many readings."""
    return max(1, round(DAY_MS / 1000 * readings_a_step(city) / readings)) * 1000


def frames_of_day(city: City, day: int, interval_ms: int) -> Iterator[bytes]:
    """Yield the real-time frames of the `day`-th day after `start_ms` (0 = the first), in time order."""
    renderer = Renderer()
    start = city.start_ms + day * DAY_MS
    total = DAY_MS // interval_ms
    per_chunk = max(1, HOUR_MS // interval_ms)
    for first in range(0, total, per_chunk):
        count = min(per_chunk, total - first)
        blocks = city.realtime(start + first * interval_ms, interval_ms, count)
        frames = [f for block in blocks for f in renderer.render(block, REALTIME, block.time)]
        frames.sort(key=lambda f: f.time)
        for frame in frames:
            yield frame.data


def write_day(city: City, path: Path, day: int = 0, readings: int = READINGS) -> int:
    """Write one generated day with about `readings` readings to `path` (.h212, .h212.xz or .h212.zst); return the number of frames.

    The same city, day and number give the same frames, in every format.
    """
    interval = day_interval_ms(city, readings)
    count = 0
    with _open(path) as out:
        batch: list[bytes] = []
        for frame in frames_of_day(city, day, interval):
            batch.append(frame)
            count += 1
            if len(batch) == 4096:
                out.write(b"".join(batch))
                batch.clear()
        out.write(b"".join(batch))
    return count
