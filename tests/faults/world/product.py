"""A real product under a real `kill -9`: `offsite run` as a process group of its own, and a client that keeps what has no answer."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from connectors.hj212.frame import Frame, Framer
from connectors.hj212.header import parse
from tests.conftest import ROOT
from tests.faults.world.traffic import Sent

COMMAND = (sys.executable, "-c", "import sys; from offsite.cli import main; sys.exit(main())", "run")
PATIENCE = 120.0


class Product:
    """One life of `offsite run` on a data directory; what it says on stderr goes to `errors`."""

    def __init__(self, data: Path, errors: Path, *options: str) -> None:
        self.errors = errors.open("ab")
        arguments = (*COMMAND, "--data", str(data), "--hj212", "0", "--http", "-1", "--desk", "-1", *options)
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=self.errors, cwd=ROOT, start_new_session=True)

    def ready(self) -> int:
        """Wait until the ports are open; return the one for devices."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the product ended with {self.process.wait()} before it was ready: see {self.errors.name}"
        return int(json.loads(line)["ready"]["hj212"])

    def judge(self) -> int:
        """Return the process number of the judge, 0 while there is none."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def kill(self, what: str) -> None:
        """SIGKILL everything, the I/O process alone, or the judge alone."""
        if what == "judge":
            if judge := self.judge():  # else it is dead already, and not yet started again
                with contextlib.suppress(ProcessLookupError):
                    os.kill(judge, signal.SIGKILL)
            return
        send = os.killpg if what == "all" else os.kill
        send(self.process.pid, signal.SIGKILL)
        self.gone()

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        self.process.terminate()
        return self.gone()

    def gone(self) -> int:
        """Wait for the end and let go of the pipes; return the exit code."""
        code = self.process.wait(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.errors.close()
        return code

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process.returncode is None:
            self.gone()


def deliver(port: int, frames: Sequence[Sent], *, during: Callable[[], None] = lambda: None, patience: float = 5.0) -> list[Sent]:
    """Send frames over one connection, do something in the meantime, and return those that got no 9014."""
    waiting = {(sent.mn, sent.qn): sent for sent in frames}
    framer = Framer()
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=patience) as wire:
        wire.sendall(b"".join(sent.frame for sent in frames))
        during()
        while waiting and (data := wire.recv(65_536)):
            for item in framer.feed(data):
                assert isinstance(item, Frame), item
                header = parse(item.segment)
                if header.cn == "9014":
                    waiting.pop((header.mn, header.qn), None)
    return list(waiting.values())


def until(what: str, true: Callable[[], bool]) -> None:
    """Wait for something that must come."""
    limit = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < limit, f"{what}: not within {PATIENCE:g} s"
        time.sleep(0.1)
