"""From the judge process to its parent: vital signs as JSON datagrams over a pair of sockets. Never waits, never ends the judge.

The parent makes a `JudgeLink`, hands `child` to the process it starts, and reads `told`; the judge calls `Teller.tell` as often as it
likes. A sign that finds the queue full is dropped: the next one says the same and more.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from connectors.core import Clock

VARIABLE = "OFFSITE_VITALS_FD"
"""Environment variable that tells the judge the number of its socket."""
LARGEST = 1 << 20


class JudgeLink:
    """The parent's side. `restarts` is counted by who starts the judge; times are ms UTC of `clock`."""

    def __init__(self, clock: Clock) -> None:
        self._mine, self.child = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._mine.setblocking(False)
        self.child.setblocking(False)
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[str, Any] = {}
        self.heard = 0
        self.restarts = 0
        self.failures: Counter[str] = Counter()
        self.failed: dict[str, int] = {}

    def environment(self) -> dict[str, str]:
        """Return the variable by which the started process finds its socket (pass `child.fileno()` on to it)."""
        return {VARIABLE: str(self.child.fileno())}

    def told(self) -> Mapping[str, Any]:
        """Return the newest vital signs, empty before the first."""
        with self._lock, contextlib.suppress(BlockingIOError):
            while True:
                self._take(json.loads(self._mine.recv(LARGEST)))
        return self._told

    def _take(self, sign: dict[str, Any]) -> None:
        self.heard = self._clock()
        for rule, count in sign.pop("raised").items():
            self.failures[rule] += count
            self.failed[rule] = self.heard
        self._told = sign

    def close(self) -> None:
        """Close both ends."""
        self._mine.close()
        self.child.close()


class Teller:
    """The judge's side: tells at most once in `every` seconds of `clock` (monotonic), and at once when `now` is set."""

    def __init__(self, fd: int | None, clock: Callable[[], float], every: float = 1.0) -> None:
        self._socket = None if fd is None else socket.socket(fileno=fd)
        self._clock, self._every = clock, every
        self._next = float("-inf")
        self._raised: Counter[str] = Counter()

    def tell(self, sign: Callable[[], dict[str, Any]], *, now: bool = False) -> None:
        """Send what `sign` returns, if it is time."""
        if self._socket is None or (not now and self._clock() < self._next):
            return
        self._next = self._clock() + self._every
        said = sign()
        failures = Counter(said.pop("failures"))
        with contextlib.suppress(OSError):  # the queue is full, or the parent is gone: judging goes on without words
            self._socket.send(json.dumps(said | {"raised": failures - self._raised}).encode())
            self._raised = failures


def teller(clock: Callable[[], float], environment: Mapping[str, str] = os.environ) -> Teller:
    """Return the judge's side; one that tells nobody if no parent has handed it a socket."""
    fd = environment.get(VARIABLE)
    return Teller(None if fd is None else int(fd), clock)
