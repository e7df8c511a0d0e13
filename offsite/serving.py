"""Running a process of the product: jobs until a stop or a fault, signals, and how it ends.

Coroutines enter; the exit code leaves. A job that fails ends the process with what it raised: its supervisor starts it again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from connectors.core import ConnectorError
from connectors.process import prepare_io_process
from offsite import logs
from offsite.settings import Settings


async def serve_until(
    stop: asyncio.Event,
    jobs: Sequence[Coroutine[Any, Any, Any]],
    watched: Sequence[asyncio.Future[Any]],
    ready: Callable[[], None],
) -> None:
    """Run `jobs` until `stop`, until one of them ends or one of the futures `watched` is done; raise what that holds."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    stopping = asyncio.ensure_future(stop.wait())
    ready()
    done, _ = await asyncio.wait([stopping, *watched, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in [stopping, *tasks]:
        task.cancel()
    await asyncio.gather(stopping, *tasks, return_exceptions=True)
    for one in done - {stopping}:
        result = one.exception() or one.result()
        if isinstance(result, BaseException):
            raise result


def foreground(name: str, serve: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Run `serve(stop)` until SIGINT or SIGTERM; return the exit code. An error is told on stderr in the name of the verb."""
    logs.setup(logs.form_of(os.environ), name)

    async def main() -> None:
        prepare_io_process()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await serve(stop)

    try:
        asyncio.run(main())
    except ConnectorError as error:
        print(f"offsite {name}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Return the TLS context of the device port, by the certificate of the settings."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(str(settings.tls_cert), str(settings.tls_key))
    return context
