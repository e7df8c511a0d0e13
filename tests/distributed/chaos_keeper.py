"""The supervisor of the chaos test: one thread that starts every process, and starts again what has ended."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from tests.distributed.product import Supervised

AGAIN_S = 1.0
"""Seconds after which a supervisor starts again what has ended."""


class Keeper:
    """The thread that starts everything, and starts again what has ended: what it starts ends with it."""

    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._kept: list[Supervised] = []
        self._ended: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], Any]) -> Any:
        """Run something in the thread; return what it returns."""
        future: Future[Any] = Future()
        self._todo.put((work, future))
        return future.result()

    def keep(self, process: Supervised) -> None:
        """Start a process and keep it running."""

        def start() -> None:
            process.watch()
            self._kept.append(process)

        self.do(start)

    def leave(self, process: Supervised) -> int:
        """End a process for good, in good order; return its exit code."""
        self.do(lambda: self._kept.remove(process))
        return process.leave()

    def close(self) -> None:
        """End the thread."""
        self._todo.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                job = self._todo.get(timeout=0.1)
            except queue.Empty:
                self._look()
                continue
            if job is None:
                return
            work, future = job
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                future.set_exception(error)

    def _look(self) -> None:
        for process in self._kept:
            if process.alive:
                self._ended.pop(process.name, None)
            elif time.monotonic() - self._ended.setdefault(process.name, time.monotonic()) > AGAIN_S:
                if process.running is not None and process.running.stdout is not None:
                    process.running.stdout.close()
                process.look()
