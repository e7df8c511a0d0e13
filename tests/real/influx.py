"""A real InfluxDB 2 in a temporary directory, with or without TLS; it can be stopped and started again on the same data."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, need

BUILDER = ROOT / "deploy" / "influxdb" / "build-influxd.sh"
BUILT = ROOT / "build" / "influxdb" / "influxd"


def find_influxd() -> Path:
    """Give the server: $OFFSITE_INFLUXD, one on the path, one that was built; in CI it is built now."""
    for place in (os.environ.get("OFFSITE_INFLUXD"), shutil.which("influxd"), BUILT):
        if place and Path(place).is_file():
            return Path(place)
    if os.environ.get("CI"):
        subprocess.run([BUILDER, BUILT.parent], check=True, timeout=580)
    need(BUILT.is_file(), f"InfluxDB ({BUILDER.relative_to(ROOT)} builds it)")
    return BUILT


class InfluxServer:
    """One server process: `url`, `org`, `bucket`, `token`; `ca` and `tls` where it speaks TLS."""

    org, bucket, token = "offsite", "made-at-setup", "token-of-the-operator"

    def __init__(self, influxd: Path, folder: Path, cert: Path | None = None, key: Path | None = None, ca: Path | None = None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"{'https' if cert else 'http'}://127.0.0.1:{port}"
        self.ca = ca
        self.folder = folder
        self._context = ssl.create_default_context(cafile=str(ca)) if ca else None
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [
            str(influxd),
            f"--http-bind-address=127.0.0.1:{port}",
            f"--engine-path={folder}/engine",
            f"--bolt-path={folder}/influxd.bolt",
            f"--sqlite-path={folder}/influxd.sqlite",
            "--reporting-disabled",
            "--log-level=error",
            *([f"--tls-cert={cert}", f"--tls-key={key}"] if cert else []),
        ]

    def start(self, wait: float = 60) -> None:
        """Start the process and wait until it answers."""
        environment = {"HOME": str(self.folder), "PATH": os.environ["PATH"]}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment)
        deadline = time.monotonic() + wait
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            self.ask("/health")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        return True

    def stop(self) -> None:
        """End the process at once, as a power cut would: InfluxDB takes up to ten seconds to leave on its own."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let the process hang: connections are taken and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def setup(self) -> None:
        """Make the organisation and its operator, as a first visit of the user interface does."""
        names = {"org": self.org, "bucket": self.bucket, "token": self.token}
        self.ask("/api/v2/setup", names | {"username": "operator", "password": "long enough"})

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        """Ask the HTTP API as the operator."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Token {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=10, context=self._context) as answer:
            return json.loads(answer.read() or "null")


def _running(**tls: Path) -> Iterator[InfluxServer]:
    with tempfile.TemporaryDirectory(prefix="influx", ignore_cleanup_errors=True) as folder:
        server = InfluxServer(find_influxd(), Path(folder), **tls)
        server.start()
        try:
            server.setup()
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def influx() -> Iterator[InfluxServer]:
    """Give a server without TLS; its organisation is `offsite`, and a test takes a bucket name of its own."""
    yield from _running()


@pytest.fixture(scope="session")
def influx_tls(certs: Any) -> Iterator[InfluxServer]:
    """Give a server that speaks TLS with a certificate of the throw-away authority."""
    yield from _running(cert=certs.server_cert, key=certs.server_key, ca=certs.ca)


@pytest.fixture
def influx_own() -> Iterator[InfluxServer]:
    """Give a server to one test alone, which may stop and start it."""
    yield from _running()
