"""Intake of a copy of another platform's HJ 212 traffic, for a parallel run: it listens and never says a word.

Enters: bytes of a feed that already has somebody to acknowledge it, on a connection made to its sender (`connect`) or taken from
one (`listen`). Leaves: every frame to the log in the same way as a device's own, with `mirror:NAME` as its source; nothing ever
goes back on the wire, neither an acknowledgement nor a command.

What is promised, and what can't be: a frame counts as accepted only once it is durable, and a feed that is faster than the log
is held back by TCP. But who sends a copy does not wait for an answer: what was under way in the sockets when a process ended is
not sent again, unless the sender keeps it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.routing import BaseRoute

from connectors.accept import Doors, InputCounters, again_and_again
from connectors.core import Lost, Retry
from connectors.hj212.frame import Framer
from connectors.hj212.handing import hand_over
from connectors.http import Ingest
from connectors.table import Table

BLOCK = 65_536
PARTIAL = 30.0
"""Seconds that the rest of a frame is waited for."""


class Mirror:
    """The input; made from a table `kind = "hj212-mirror"`."""

    def __init__(self, name: str, mode: str, host: str, port: int, doors: Doors, *, silence_s: float = 600.0) -> None:
        self.name, self.counters = name, InputCounters()
        self.port = port
        """What it listens on, once it does; with port 0 a free one."""
        self._mode, self._host, self._doors, self._silence = mode, host, doors, silence_s

    @staticmethod
    def from_table(table: Table, name: str, doors: Doors) -> Mirror:
        """Make it from its settings. Raises TableFaults."""
        mode = table.choice("mode", ("connect", "listen"), "connect")
        host = table.text("host", None if mode == "connect" else "127.0.0.1")
        port = table.whole("port", None, int(mode == "connect"), 65_535)
        silence = table.number("silence_s", 600.0, 1.0, 86_400.0)
        table.done()
        return Mirror(name, mode, host, port, doors, silence_s=silence)

    def routes(self, _ingest: Ingest) -> Sequence[BaseRoute]:
        """Return none: it has a connection of its own."""
        return []

    async def run(self) -> None:
        """Take frames until cancelled. Raises Lost if the port it should listen on can't be had, or the log is gone."""
        await (self._connect() if self._mode == "connect" else self._listen())

    async def _connect(self) -> None:
        await again_and_again(self._session, self.counters)

    async def _session(self) -> None:
        """Hold one connection to the sender until it ends. Raises Retry that says why."""
        where = f"mirrored feed {self._host}:{self.port}"
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(self._host, self.port), 10.0)
        except (OSError, TimeoutError) as error:
            raise Retry(f"{where} can't be reached ({error}); start its sender, or correct host and port") from error
        try:
            self.counters.state = "connected"
            await self._read(reader, f"{self._host}:{self.port}")
        except OSError as error:
            raise Retry(f"{where} broke off ({error}); it is tried again") from error
        finally:
            writer.close()
        raise Retry(f"{where} was closed by its sender; it is tried again")

    async def _listen(self) -> None:
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            address = writer.get_extra_info("peername") or ("unknown", 0)
            try:
                await self._read(reader, f"{address[0]}:{address[1]}")
            except OSError as error:
                self.counters.fault = f"a mirrored feed broke off ({error})"
            except Exception as error:  # noqa: BLE001 — whatever it is, it has to reach whoever runs the input
                if not lost.done():
                    lost.set_exception(error)
            finally:
                writer.close()

        try:
            server = await asyncio.start_server(serve, self._host, self.port, limit=BLOCK)
        except OSError as error:
            words = f"mirror port {self._host}:{self.port} can't be opened: {error}; choose another port or stop its owner"
            raise Lost(words) from error
        async with server:
            self.port = int(server.sockets[0].getsockname()[1])
            self.counters.state = "listening"
            await lost

    async def _read(self, reader: asyncio.StreamReader, peer: str) -> None:
        """Take what comes until the sender closes or is silent for too long; a frame cut off by silence is put aside."""
        framer = Framer(dialects=self._doors.dialect)
        source = f"mirror:{self.name} {peer}"
        quiet = 0.0
        while True:
            wait = PARTIAL if framer.pending else self._silence - quiet
            try:
                data = await asyncio.wait_for(reader.read(BLOCK), wait)
            except TimeoutError:
                quiet += wait
                items = framer.flush()
                if not items and quiet >= self._silence:
                    return
            else:
                quiet = 0.0
                items = framer.feed(data) if data else framer.flush()
                if not data:
                    await hand_over(self._doors, self.counters, items, source)
                    return
            await hand_over(self._doors, self.counters, items, source)
