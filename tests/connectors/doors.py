"""What inputs are handed in tests: the product's own codecs, and a log in memory that can be held up or made to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from connectors.accept import Batch, Doors, Refusal
from connectors.hj212.frame import BadChunk, Frame, strict
from connectors.hj212.header import Header
from offsite.intake import decode
from streams.codecs.readings import decode_readings
from streams.model import SeriesTable

NOW = 1_795_575_600_000
"""2026-11-25T11:00:00+08:00."""


class Kept:
    """A log: `batches`, `refused`, `frames`, `chunks` hold what is durable. `errors` are raised first, `hold` is waited for."""

    def __init__(self, folder: Path) -> None:
        self.batches: list[Batch] = []
        self.refused: list[Refusal] = []
        self.frames: list[tuple[bytes, str, str]] = []
        self.chunks: list[tuple[str, bytes, str]] = []
        self.kinds: list[str] = []
        self.errors: list[Exception] = []
        self.hold: asyncio.Event | None = None
        self.entered = 0
        self.now = NOW
        self.doors = Doors(self.accept, decode, self.frame, self.reject, strict, lambda: self.now, folder, "test")

    async def accept(self, kind: str, batches: Sequence[Batch], refused: Sequence[Refusal]) -> None:
        await self._door()
        self.kinds.append(kind)
        self.batches += batches
        self.refused += refused

    async def frame(self, frame: Frame, header: Header, source: str) -> None:
        await self._door()
        self.frames.append((frame.raw, header.mn, source))

    async def reject(self, chunk: BadChunk, source: str) -> None:
        self.chunks.append((chunk.reason, chunk.raw, source))

    async def _door(self) -> None:
        self.entered += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.errors:
            raise self.errors.pop(0)

    def values(self) -> list[tuple[str, float]]:
        """Return (series, value) of every reading that is durable, in order."""
        found: list[tuple[str, float]] = []
        for batch in self.batches:
            table = SeriesTable()
            readings = decode_readings(batch.content_type, batch.body, table, 0).readings
            found += [(str(table.keys[s]), v) for s, v in zip(readings.series.tolist(), readings.value.tolist(), strict=True)]
        return found


async def until(true: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until something holds; fail if it does not in time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not true():
        assert asyncio.get_running_loop().time() < deadline, "it never came"
        await asyncio.sleep(0.01)


async def running(run: Awaitable[Any], play: Callable[[], Awaitable[None]]) -> None:
    """Play while an input runs; what the input raises fails the test."""
    task = asyncio.ensure_future(run)
    playing = asyncio.ensure_future(play())
    try:
        await asyncio.wait({task, playing}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        await playing
    finally:
        for one in (task, playing):
            one.cancel()
        await asyncio.gather(task, playing, return_exceptions=True)
