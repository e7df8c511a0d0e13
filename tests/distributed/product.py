"""The distributed product as its users start it: gateways, workers, agents and a desk as processes, on real servers."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.request import Request, urlopen

from connectors.kafka import Cluster
from tests.conftest import ROOT

READY_S = 90
ORPHAN = ("setpriv", "--pdeathsig", "KILL")


class Process:
    """One process of the product; it can be ended in every way and started again."""

    def __init__(self, name: str, words: Iterable[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.name, self._words, self._folder = name, list(words), folder
        self._environment = dict(os.environ) | {"PYTHONFAULTHANDLER": "1"} | dict(environment)
        self.running: subprocess.Popen[str] | None = None
        self.told: dict[str, Any] = {}

    def launch(self) -> None:
        """Start it; returns at once."""
        log = (self._folder / f"{self.name}.log").open("a")
        command = [*ORPHAN, sys.executable, "-m", "offsite", *self._words]
        self.running = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, stderr=log, text=True)
        log.close()

    def ready(self, seconds: float = READY_S) -> dict[str, Any]:
        """Return the first line that it says, once it has said it."""
        assert self.running is not None
        assert self.running.stdout is not None
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        stdout = self.running.stdout
        threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
        try:
            line = lines.get(timeout=seconds)
        except queue.Empty:
            line = ""
        assert line, f"{self.name} is not ready:\n{self.log()}"
        self.told = json.loads(line)
        return self.told

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.running is not None
        self.running.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = 40) -> int:
        """End it by a signal; return its exit code."""
        assert self.running is not None
        if self.running.poll() is None:
            self.running.send_signal(signal.SIGCONT)
            self.running.send_signal(number)
        try:
            return self.running.wait(seconds)
        except subprocess.TimeoutExpired as late:
            self.running.send_signal(signal.SIGABRT)
            self.running.wait(10)
            raise AssertionError(f"{self.name} does not end; it was doing this:\n{self.log()}") from late
        finally:
            if self.running.poll() is None:
                self.running.kill()
                self.running.wait()
            if self.running.stdout is not None:
                self.running.stdout.close()

    @property
    def alive(self) -> bool:
        """Say whether it runs."""
        return self.running is not None and self.running.poll() is None

    def log(self) -> str:
        """Return the end of what it said on stderr."""
        return (self._folder / f"{self.name}.log").read_text(errors="replace")[-6000:]


class Supervised(Process):
    """A process that is started again whenever it ends by itself, as its users' supervisor would."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.restarts = 0
        self._watched = False

    def watch(self) -> None:
        """Start it and keep it running. The calling thread has to outlive it."""
        self._watched = True
        self.launch()

    def look(self) -> None:
        """Start it again if it has ended; called now and then by the thread that started it."""
        if self._watched and not self.alive:
            self.restarts += 1
            self.launch()

    def leave(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it for good."""
        self._watched = False
        return self.end(number)


class Product:
    """All processes of one installation in a folder. `settings` are further lines of its TOML file."""

    def __init__(self, folder: Path, cluster: Cluster, desk_url: str, settings: str = "") -> None:
        self.folder, self.cluster = folder, cluster
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "offsite.toml"
        self.config.write_text(
            f'data = "{folder}/data"\ndesk_url = "{desk_url}"\narchive = "{folder}/archive"\n'
            f"hj212_port = 0\nhttp_port = 0\ndesk_port = 0\n{settings}\n"
            f'[kafka]\nbootstrap = "{cluster.bootstrap}"\nprefix = "{cluster.prefix}"\n',
            encoding="utf-8",
        )
        self.processes: list[Process] = []

    def command(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end."""
        command = [sys.executable, "-m", "offsite", *words, "--config", str(self.config)]
        around = dict(os.environ) | environment
        return subprocess.run(command, cwd=ROOT, env=around, capture_output=True, text=True, check=False, timeout=120)

    def process(self, verb: str, name: str, *words: str, kind: type[Process] = Process, **environment: str) -> Any:
        """Make a process of a verb; it is not started yet."""
        own = {
            "OFFSITE_INSTANCE": name,
            "OFFSITE_SPOOL": str(self.folder / f"spool-{name}"),
            "OFFSITE_DATA": str(self.folder / name),
        }
        made = kind(name, [verb, "--config", str(self.config), *words], self.folder, own | environment)
        self.processes.append(made)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.alive:
                process.end(signal.SIGKILL)


def ask(port: int, path: str, body: dict[str, Any] | None = None, person: str = "") -> Any:
    """Ask the desk."""
    headers = {"content-type": "application/json"} | ({"x-offsite-person": person} if person else {})
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(f"http://127.0.0.1:{port}{path}", data, headers), timeout=30) as answer:
        return json.load(answer)


def until(true: Callable[[], Any], seconds: float = 60, what: str = "it") -> Any:
    """Return what `true` gives, once it gives something."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"{what} did not come true in {seconds} s"
        time.sleep(0.1)
    return found


def send_frames(port: int, frames: Iterable[bytes]) -> list[bytes]:
    """Send frames as one device, each once the one before was answered; return the answers."""
    answers = []
    with socket.create_connection(("127.0.0.1", port), timeout=30) as link:
        for frame in frames:
            link.sendall(frame)
            answers.append(link.recv(4096))
    return answers
