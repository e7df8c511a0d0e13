"""Pass TCP connections on: to a desk, which answers its own machine only, inside a container.

    python deploy/compose/relay.py 0.0.0.0:8214 127.0.0.1:8213

Bytes enter and leave unchanged, in both directions. It runs in the desk's network namespace, and its port is published to the host's
loopback: so the desk still answers one machine, the host. SIGTERM ends it.
"""

# ruff: noqa: INP001 — a script beside what it serves, no package

from __future__ import annotations

import argparse
import asyncio
import signal
from contextlib import suppress

CHUNK = 1 << 16


def address(text: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT.

    >>> address("127.0.0.1:8213")
    ('127.0.0.1', 8213)
    """
    host, _, port = text.rpartition(":")
    return host, int(port)


async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy until one side ends or breaks; then no more is sent to the other."""
    with suppress(ConnectionError):
        while data := await source.read(CHUNK):
            sink.write(data)
            await sink.drain()
        sink.write_eof()


async def serve(here: tuple[str, int], there: tuple[str, int]) -> None:
    """Relay until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*there)
        except OSError:  # the desk is not up: the caller sees a closed connection
            writer.close()
            return
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
        far_writer.close()
        writer.close()

    server = await asyncio.start_server(relay, *here)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Pass TCP connections on.")
    parser.add_argument("here", type=address, metavar="HOST:PORT", help="where to listen")
    parser.add_argument("there", type=address, metavar="HOST:PORT", help="where to connect to")
    given = parser.parse_args()
    asyncio.run(serve(given.here, given.there))
