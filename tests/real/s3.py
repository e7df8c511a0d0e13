"""A real S3-compatible server (versitygw on a temporary folder), for tests of the archive."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, need

KEY, SECRET = "offsite-test", "offsite-test-secret"
WAIT_S = 20


class S3:
    """One server on a free port of 127.0.0.1; `stop` and `start` keep its port and its objects."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program, self._folder = program, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Give the fsspec options of a client."""
        return {"key": KEY, "secret": SECRET, "endpoint_url": f"http://127.0.0.1:{self.port}"}

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = [self._program, "--access", KEY, "--secret", SECRET, "--port", f"127.0.0.1:{self.port}", "--quiet"]
        self._process = subprocess.Popen(
            [*command, "posix", "--sidecar", self._folder / "meta", self._folder / "objects"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        pytest.fail(f"the S3 server does not listen on port {self.port}")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(WAIT_S)
            self._process = None

    def bucket(self) -> str:
        """Make an empty bucket and give its URL."""
        name = f"b{uuid.uuid4().hex[:12]}"
        (self._folder / "objects" / name).mkdir()
        return f"s3://{name}/city"


def program() -> Path | None:
    """Return the server's program; in CI it is built on demand."""
    given = Path(os.environ.get("OFFSITE_S3_SERVER", ROOT / "build" / "s3" / "versitygw"))
    if not given.exists() and os.environ.get("CI") and shutil.which("go"):
        subprocess.run([ROOT / "deploy" / "s3" / "build-s3-server.sh", given.parent], check=True, timeout=500)
    return given if given.exists() else None


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    found = program()
    need(found, "an S3 server (deploy/s3/build-s3-server.sh build/s3)")
    need_client()
    assert found is not None
    with tempfile.TemporaryDirectory(prefix="s3") as folder:
        for part in ("objects", "meta"):
            (Path(folder) / part).mkdir()
        server = S3(found, Path(folder))
        server.start()
        yield server
        server.stop()


def need_client() -> None:
    from importlib.util import find_spec

    need(find_spec("s3fs"), "s3fs, the S3 client")
