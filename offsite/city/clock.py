"""The city's clock: one virtual *now* shared by every process of a demo through a small mapped file.

Manual while history is poured (the city sets it), then running at `base + (wall - wall0) × speed`. Calling the clock gives
int64 ms UTC, so a `SharedClock` is a `connectors.core.Clock`. A sequence number that is odd while the writer works keeps a
reader from ever seeing half of a change; a reader never goes back behind what it has already returned.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

MANUAL = 0
RUNNING = 1
_LAYOUT = struct.Struct("<qqqqd")
_SEQUENCE = struct.Struct("<q")


def wall_ms() -> int:
    """Return the wall clock, ms UTC."""
    return time.time_ns() // 1_000_000


class SharedClock:
    """A clock in a file of 40 bytes: (sequence, mode, base ms, wall0 ms, speed).

    One process writes (`set`, `run`), any number read (`now`, or just call it). The file is made if it is missing.
    """

    def __init__(self, path: Path, *, wall: Callable[[], int] = wall_ms) -> None:
        self._wall = wall
        self._last = 0
        if not path.exists():
            path.write_bytes(_LAYOUT.pack(0, MANUAL, 0, 0, 1.0))
        self._file = path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), _LAYOUT.size)

    def now(self) -> int:
        """Return the virtual time, ms UTC; it never decreases within one reader."""
        _, mode, base, wall0, speed = self._snapshot()
        value = base if mode == MANUAL else base + int((self._wall() - wall0) * speed)
        self._last = max(self._last, value)
        return self._last

    __call__ = now

    @property
    def speed(self) -> float:
        """Virtual seconds a wall second; 0 while the clock is set by hand."""
        _, mode, _, _, speed = self._snapshot()
        return speed if mode == RUNNING else 0.0

    def set(self, now_ms: int) -> None:
        """Stop the clock at `now_ms` (manual mode)."""
        self._write(MANUAL, now_ms, 0, 1.0)

    def run(self, speed: float = 60.0, *, base_ms: int | None = None) -> None:
        """Let the clock run from now (or `base_ms`) at `speed` virtual seconds a second."""
        if not speed > 0:
            raise ValueError(f"speed: {speed} must be above 0")
        self._write(RUNNING, self.now() if base_ms is None else base_ms, self._wall(), speed)

    def close(self) -> None:
        """Let the file go."""
        self._map.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _snapshot(self) -> tuple[int, int, int, int, float]:
        while True:
            fields: tuple[int, int, int, int, float] = _LAYOUT.unpack(self._map[:])
            if fields[0] % 2 == 0 and _SEQUENCE.unpack_from(self._map)[0] == fields[0]:
                return fields

    def _write(self, mode: int, base: int, wall0: int, speed: float) -> None:
        sequence = self._snapshot()[0]
        _SEQUENCE.pack_into(self._map, 0, sequence + 1)
        self._map[_SEQUENCE.size :] = _LAYOUT.pack(0, mode, base, wall0, speed)[_SEQUENCE.size :]
        _SEQUENCE.pack_into(self._map, 0, sequence + 2)
