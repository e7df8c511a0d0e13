"""Virtual time: an asyncio loop that never waits. Whenever nothing is ready it moves its clock to the next timer.

The same program gives the same run, to the last byte: there are no threads, no sockets that speak, and no wall clock.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable

HOUR = 3_600_000
MINUTE = 60_000
START = 1_766_016_000_000
"""Virtual time 0 in ms UTC: 2025-12-18 08:00 China Standard Time, a full hour."""


class _Jump(selectors.SelectSelector):
    """A selector that hears nothing and sleeps by moving the loop's clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen again: the world has come to a stop")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop in virtual seconds from 0."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now

    def ms(self) -> int:
        """Return the true virtual time, ms UTC."""
        return START + round(self._jump.now * 1000)


def finish(loop: VirtualLoop) -> None:
    """Cancel what still runs, in the order in which it began, and close the loop."""
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: int(task.get_name().rpartition("-")[2]))
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()


class Skewed:
    """A wall clock that somebody sets: the loop's time and an error in ms."""

    def __init__(self, true: Callable[[], int]) -> None:
        self._true = true
        self.error = 0

    def __call__(self) -> int:
        return self._true() + self.error
