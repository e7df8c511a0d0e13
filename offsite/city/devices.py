"""Data loggers (数采仪): the device side of HJ 212 over TCP.

An `Uplink` is one socket that may carry many MN. It keeps what it has sent until the 9014 with the same QN and MN comes, sends
it again when none comes within the overtime, and after the agreed resends takes the line for dead and connects anew
(HJ 212-2017 §6.5, table 1): nothing is dropped. Commands of the centre are handed to `on_command`, and its frames go back.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from connectors.hj212.crc import crc16
from connectors.hj212.header import Header, HeaderError, parse
from offsite.city.wire import WireFrame

OVERTIME_S = 10.0
RESENDS = 3
_ACK = re.compile(rb"QN=(\d+);ST=91;CN=9014;PW=[^;]*;MN=([^;]*);")
_FRAME = re.compile(rb"##(\d{4})(.*)([0-9A-Fa-f]{4})$", re.DOTALL)
OnCommand = Callable[[Header, bytes], Iterable[bytes]]
"""(header, data area) of a command → whole frames that answer it."""


def no_answer(_header: Header, _area: bytes) -> Iterable[bytes]:
    """Answer nothing: an uplink that only uploads."""
    return ()


@dataclass(slots=True)
class LineCounters:
    """What one uplink did: frames sent the first time, sent again, acknowledged; connections made; commands received."""

    sent: int = 0
    resent: int = 0
    acked: int = 0
    connections: int = 0
    commands: int = 0


@dataclass(slots=True)
class Uplink:
    """One socket to the gateway. `hello` frames are written after each connect; seconds: overtime, pause between connects."""

    host: str
    port: int
    on_command: OnCommand = no_answer
    hello: Callable[[], Iterable[bytes]] = tuple
    overtime: float = OVERTIME_S
    resends: int = RESENDS
    pause: float = 0.5
    counters: LineCounters = field(default_factory=LineCounters)
    _waiting: dict[bytes, bytes] = field(default_factory=dict)
    _done: asyncio.Event = field(default_factory=asyncio.Event)
    _writer: asyncio.StreamWriter | None = None
    _reader: asyncio.Task[None] | None = None

    async def send(self, frames: Sequence[WireFrame]) -> None:
        """Send the frames and return when every one is acknowledged, however long that takes."""
        self._waiting.update((f.key, f.data) for f in frames)
        self.counters.sent += len(frames)
        attempts = 0
        while self._waiting:
            if attempts:
                self.counters.resent += len(self._waiting)
            try:
                await self._attempt()
            except TimeoutError:
                if attempts % (self.resends + 1) == self.resends:
                    await self.drop()
            except OSError:
                await self.drop()
                await asyncio.sleep(self.pause)
            attempts += 1

    async def connect(self) -> asyncio.StreamWriter:
        """Return the open line, making it if there is none. Raises OSError."""
        if self._writer is None or self._reader is None or self._reader.done():
            await self.drop()
            reader, writer = await asyncio.open_connection(self.host, self.port)
            self._writer = writer
            self._reader = asyncio.create_task(self._listen(reader, writer))
            self.counters.connections += 1
            writer.writelines(self.hello())
        return self._writer

    async def drop(self) -> None:
        """Close the line; what is not acknowledged is kept."""
        writer, reader = self._writer, self._reader
        self._writer = self._reader = None
        if writer is None or reader is None:
            return
        writer.close()  # before anything that waits: a caller may be cancelled here
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        try:
            async with asyncio.timeout(1.0):
                await writer.wait_closed()
        except (OSError, TimeoutError):  # the far end is gone or does not take what is left: nothing of it is owed
            writer.transport.abort()

    async def _attempt(self) -> None:
        """Write all that waits and wait for the acknowledgements. Raises TimeoutError, OSError (line lost)."""
        writer = await self.connect()
        self._done.clear()
        writer.write(b"".join(self._waiting.values()))
        await writer.drain()
        async with asyncio.timeout(self.overtime):  # not wait_for: before 3.12 that can swallow a cancellation
            await self._done.wait()
        if self._waiting:
            raise ConnectionResetError("the gateway closed the line")

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read until the line ends; wake the sender when all is acknowledged or the line is lost."""
        rest = b""
        try:
            while data := await reader.read(1 << 16):
                *lines, rest = (rest + data).split(b"\r\n")
                for line in lines:
                    self._take(line, writer)
                if not self._waiting:
                    self._done.set()
        finally:
            self._done.set()

    def _take(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        ack = _ACK.search(line)
        if ack:
            if self._waiting.pop(ack[1] + ack[2], None) is not None:
                self.counters.acked += 1
            return
        command = opened(line)
        if command is not None and command[0].cn not in ("9013", "9014"):
            self.counters.commands += 1
            writer.writelines(self.on_command(*command))


def opened(line: bytes) -> tuple[Header, bytes] | None:
    """Return header and data area of a received line; None if length, checksum or structure is wrong (it is then ignored)."""
    found = _FRAME.search(line)
    if not found or int(found[1]) != len(found[2]) or int(found[3], 16) != crc16(found[2]):
        return None
    try:
        header = parse(found[2])
    except HeaderError:
        return None
    return header, found[2][header.area[0] : header.area[1]]
