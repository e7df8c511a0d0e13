"""A process that sends what waits for one output until nothing does; tests kill it.

`python outbound_process.py URL TABLE`: the queue's URL, and the output's settings table as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]


def wall() -> int:
    return time.time_ns() // 1_000_000


class Sender:
    """The process, from outside. Use as a context manager."""

    def __init__(self, url: str, table: dict[str, Any], **environment: str) -> None:
        self._words = [sys.executable, __file__, url, json.dumps(table)]
        self._environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._words, env=self._environment, cwd=ROOT)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    def again(self) -> None:
        """Wait for the killed process and start another."""
        assert self.process.wait(30) == -signal.SIGKILL
        self.process = self._started()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)


async def main(url: str, table: dict[str, Any]) -> None:
    from connectors.outbound import Queue
    from connectors.outbound_worker import Worker
    from offsite.outputs import made
    from offsite.settings import Settings

    queue = Queue(url)
    (output,) = made(Settings(outputs=(table,)), wall)
    task = asyncio.create_task(Worker(queue, output, wall, owner="sender", chance=Random(1)).run())
    while queue.books().get(output.common.name, {"waiting": 1})["waiting"]:
        await asyncio.sleep(0.05)
        if task.done():
            task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
