"""`offsite run`: this process serves I/O, a child judges. A dead child is started again; a stop ends both in order.

Settings enter; the exit code leaves. The first line on stdout once all ports are open is one JSON object with them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from connectors.core import Clock, ConnectorError
from connectors.process import prepare_io_process
from offsite import logs
from offsite.io_process import Ports, Product
from offsite.judge_link import JudgeLink
from offsite.settings import RUN_FILE, Settings

_log = logging.getLogger("offsite")
RESTART = 1.0
"""Seconds before a judge that died is started again."""


def wall_clock() -> int:
    """Return the wall clock in ms UTC."""
    return time.time_ns() // 1_000_000


def clock_of(settings: Settings) -> Clock:
    """Return the wall clock, or the shared virtual clock that the settings name."""
    if settings.clock is None:
        return wall_clock
    from offsite.city.clock import SharedClock

    return SharedClock(settings.clock)


async def judge(settings: Settings, stop: asyncio.Event, link: JudgeLink) -> None:
    """Keep a judge process running until `stop`, then let it finish its step."""
    arguments = [sys.executable, "-m", "offsite.judge_process", str(settings.data)]
    if settings.plan is not None:
        arguments.append(str(settings.plan))
    while not stop.is_set():
        child = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            env=os.environ | link.environment(),
            pass_fds=[link.child.fileno()],
        )
        ended, stopping = asyncio.ensure_future(child.wait()), asyncio.ensure_future(stop.wait())
        await asyncio.wait([ended, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            child.terminate()
            await ended
        elif not stop.is_set():
            link.restarts += 1
            _log.warning("the judge ended with %s; it starts again in %g s and loses nothing", ended.result(), RESTART)
            await asyncio.sleep(RESTART)


async def serve(settings: Settings, ready: Callable[[Ports, Product], None], stop: asyncio.Event | None = None) -> None:
    """Run the product until `stop`, SIGINT or SIGTERM. Raises ConnectorError if a part can't start or its log is lost."""
    prepare_io_process()
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    product = Product(settings, clock_of(settings))
    judging = asyncio.create_task(judge(settings, stop, product.link))
    try:
        await product.run(stop, lambda ports: ready(ports, product))
    finally:
        stop.set()
        await judging


def run(settings: Settings) -> int:
    """Run the product in the foreground; returns the exit code."""
    logs.setup(logs.form_of(os.environ), "run")

    def ready(ports: Ports, _product: Product) -> None:
        announce(settings, ports)
        print(json.dumps({"ready": open_ports(ports), "data": str(settings.data)}), flush=True)  # noqa: T201

    try:
        asyncio.run(serve(settings, ready))
    except ConnectorError as error:
        print(f"offsite run: {error}", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        withdraw(settings.data)
    return 0


def open_ports(ports: Ports) -> dict[str, int]:
    """Return the services that are open, and their ports."""
    places = {"hj212": ports.hj212, "tls": ports.tls, "http": ports.http, "desk": ports.desk, "metrics": ports.metrics}
    return {name: port for name, port in places.items() if port >= 0}


def withdraw(data: Path) -> None:
    """Take this process's note back; that of another product which runs on the same data stays."""
    note = data / RUN_FILE
    try:
        mine = json.loads(note.read_text())["pid"] == os.getpid()
    except (OSError, ValueError, KeyError):
        return
    if mine:
        note.unlink(missing_ok=True)


def announce(settings: Settings, ports: Ports) -> None:
    """Leave a note in the data directory, so that other verbs find the running product."""
    (settings.data / RUN_FILE).write_text(json.dumps({"pid": os.getpid()} | open_ports(ports)))
