"""The whole product with outputs, killed twice: what was acknowledged to devices reaches the province, in order for each device."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.outbound import Queue
from tests.conftest import ROOT
from tests.connectors.hj212.test_relay import by_mn, followed, province, until, upload

pytestmark = pytest.mark.faults
PROGRAM = "import sys; from offsite.cli import main; sys.exit(main())"


def started(config: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start the product; return it and its port for devices."""
    words = [sys.executable, "-c", PROGRAM, "run", "--config", config]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["ready"]["hj212"]


async def device(port: int, frames: list[bytes]) -> None:
    """Send frames and wait for the acknowledgement of each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for frame in frames:
        writer.write(frame + b"\r\n")
        await asyncio.wait_for(reader.readuntil(b"\r\n"), 30)
    writer.close()


def test_a_product_that_is_killed_relays_all_it_has_acknowledged(tmp_path: Path) -> None:
    frames = [upload(n, f"{n % 3:014d}") for n in range(240)]

    async def scenario() -> list[bytes]:
        async with province() as center:
            config = tmp_path / "offsite.toml"
            config.write_text(
                f'data = "{tmp_path}/data"\nhj212_port = 0\nhttp_port = -1\ndesk_port = -1\n[[outputs]]\nkind = "hj212-relay"\n'
                f'name = "province"\nhost = "127.0.0.1"\nport = {center.port}\n'
            )
            process, port = await asyncio.to_thread(started, config)
            for start in (0, 80, 160):
                await device(port, frames[start : start + 80])
                if start < 160:
                    process.kill()
                    process.wait()
                    process.stdout.close()
                    process, port = await asyncio.to_thread(started, config)
            await until(lambda: len(set(center.frames)) == len(frames))
            process.terminate()
            assert await asyncio.to_thread(process.wait, 30) == 0
            process.stdout.close()
            return center.frames

    came = by_mn(asyncio.run(scenario()))
    for mn, sent in by_mn(frames).items():
        assert followed(sent, came[mn])
    queue = Queue(f"sqlite:///{tmp_path}/data/outbound.sqlite")
    book = queue.books()["province"]
    queue.close()
    assert (book["queued"], book["sent"], book["waiting"]) == (240, 240, 0)
