"""One connection to a platform that receives relayed frames: bytes out, its acknowledgements in.

Frames enter exactly as they are to stand on the wire; what the platform answers (9014, 9013) ends the wait for it. Where no answer
is asked for, what was written counts as delivered once the peer's kernel has taken it all and the connection has stood for a
while after: HJ 212 gives no better sign, and a connection that drops within that time makes its frames doubtful.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import ssl
import termios
from collections import Counter
from dataclasses import dataclass

from connectors.core import Retry
from connectors.hj212.frame import Frame, Framer
from connectors.hj212.header import Header, HeaderError, parse

LINE_END = b"\r\n"
LOOK = 0.01
"""Seconds between two looks whether the peer's kernel has taken what was written."""
ACKNOWLEDGEMENTS = frozenset({"9013", "9014"})
CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Place:
    """Where a platform listens; `tls` if it wants TLS. Connecting may take `patience` s."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    patience: float = 10.0


class Upstream:
    """An open connection; `asked` counts what the platform sent besides acknowledgements, by CN ("" for what is no frame)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: Counter[str]) -> None:
        self.gone = asyncio.Event()
        self.heard = 0
        self._reader, self._writer, self._asked = reader, writer, asked
        self._waits: dict[str, tuple[str, asyncio.Future[str]]] = {}
        writer.transport.set_write_buffer_limits(0)  # `drain` returns when the kernel has everything
        self._listening = asyncio.create_task(self._listen())

    async def acknowledged(self, frame: bytes, header: Header, seconds: float) -> str:
        """Send one frame and return the CN that answers it. Raises Retry after `seconds` of silence, or if the connection drops."""
        waits: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waits[header.mn] = (header.qn, waits)
        try:
            await self._write(frame + LINE_END)
            async with asyncio.timeout(seconds):
                return await waits
        except TimeoutError:
            raise Retry(f"no acknowledgement in {seconds:g} s") from None
        finally:
            del self._waits[header.mn]

    async def taken(self, frames: list[bytes], seconds: float, stand: float) -> None:
        """Send frames that ask for no answer; return when they count as delivered. Raises Retry if the connection drops first."""
        await self._write(b"".join(frame + LINE_END for frame in frames))
        try:
            async with asyncio.timeout(seconds):
                while self._unsent() and not await self._ends_within(LOOK):
                    pass
        except TimeoutError:
            raise Retry(f"the platform reads nothing for {seconds:g} s") from None
        if await self._ends_within(stand):
            raise Retry("the platform closed the connection right after the frames")

    async def close(self) -> None:
        """Close; whoever waits for an answer gets Retry."""
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)

    async def _ends_within(self, seconds: float) -> bool:
        """Tell whether the connection is gone, after waiting `seconds` for that."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.gone.wait(), seconds)
        return self.gone.is_set()

    async def _write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            self.gone.set()
            raise Retry(f"the connection dropped: {error}") from error
        if self.gone.is_set():
            raise Retry("the platform closed the connection")

    def _unsent(self) -> int:
        """Return how many bytes the peer's kernel has not confirmed (Linux, tcp(7) SIOCOUTQ)."""
        waiting = array.array("i", [0])
        try:
            fcntl.ioctl(self._writer.get_extra_info("socket").fileno(), termios.TIOCOUTQ, waiting)
        except OSError:  # closed meanwhile: `gone` tells
            return 0
        return waiting[0]

    async def _listen(self) -> None:
        framer = Framer()
        try:
            while data := await self._reader.read(CHUNK):
                for item in framer.feed(data):
                    self._hear(item.segment if isinstance(item, Frame) else b"")
        except OSError:  # reset by the platform: the same as closed
            pass
        finally:
            self.gone.set()
            self._writer.close()
            for _, waits in self._waits.values():
                if not waits.done():
                    waits.set_exception(Retry("the platform closed the connection before it acknowledged"))

    def _hear(self, segment: bytes) -> None:
        self.heard += 1
        try:
            header = parse(segment)
        except HeaderError:
            self._asked[""] += 1
            return
        if header.cn not in ACKNOWLEDGEMENTS:
            self._asked[header.cn] += 1
            return
        for mn, (qn, waits) in self._waits.items():  # two devices often use one QN: the MN decides, where there is one
            mine = header.qn in {qn, ""} if header.mn == mn else not header.mn and header.qn == qn != ""
            if mine and not waits.done():
                waits.set_result(header.cn)


async def dial(place: Place, asked: Counter[str]) -> Upstream:
    """Open a connection. Raises Retry if the platform is not reached."""
    try:
        async with asyncio.timeout(place.patience):
            reader, writer = await asyncio.open_connection(place.host, place.port, ssl=place.tls)
    except (OSError, TimeoutError) as error:
        raise Retry(f"{place.host}:{place.port} is not reached: {error or 'no answer'}") from error
    return Upstream(reader, writer, asked)
