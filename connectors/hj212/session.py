"""One connection: bytes in, frames out to the gateway, answers back; everything it holds is bounded.

A session knows sockets and limits, never what a frame means: it frames, throttles, and closes with a named cause. Many devices
may share it, for identity is the MN inside each frame (HJ 212-2017 §6.1).
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from connectors.bucket import Bucket
from connectors.hj212.aliens import HEAD, alien
from connectors.hj212.device import Counters, GatewayLimits
from connectors.hj212.frame import BadChunk, Dialect, Frame, Framer

SLICE = 16_384
"""Bytes framed at once: it bounds a bad chunk, whatever the kernel hands over."""


class Host(Protocol):
    """What a session needs of its gateway."""

    counters: Counters
    limits: GatewayLimits

    def dialect(self, mn: str) -> Dialect:
        """Return the dialect of a device."""

    def admit(self, session: Session) -> str:
        """Enter a new session; return why it may not stay, or an empty text."""

    def frame(self, session: Session, frame: Frame) -> None:
        """Take one good frame."""

    def bad(self, session: Session, chunk: BadChunk) -> None:
        """Take what is no frame."""

    def gone(self, session: Session) -> None:
        """Forget a session."""


class Session(asyncio.Protocol):
    """The protocol object of one connection; created by the gateway's listener."""

    __slots__ = (
        "_bad_bytes",
        "_bucket",
        "_cause",
        "_framer",
        "_half_closed",
        "_head",
        "_host",
        "_in_flight",
        "_lagging",
        "_last",
        "_limits",
        "_loop",
        "_opened",
        "_out",
        "_partial",
        "_reading_paused",
        "_throttled",
        "_transport",
        "address",
        "devices",
        "peer",
    )

    def __init__(self, host: Host) -> None:
        self.peer = ""
        self.address = ""
        self.devices: set[str] = set()
        self._host = host
        self._limits = host.limits
        self._loop = asyncio.get_running_loop()
        self._framer = Framer(limit=host.limits.segment, dialects=host.dialect)
        self._bucket = Bucket(host.limits.rate, host.limits.burst)
        self._opened = self._last = self._partial = self._loop.time()
        self._lagging: float | None = None
        self._cause = ""
        self._head: bytes | None = b""
        self._out: list[bytes] = []
        self._in_flight = self._bad_bytes = 0
        self._throttled = self._reading_paused = self._half_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Enter the connection in the books, or close it at once if there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        address = transport.get_extra_info("peername") or ("unknown", 0)
        self.address, self.peer = str(address[0]), f"{address[0]}:{address[1]}"
        self._transport.set_write_buffer_limits(high=65_536)
        refused = self._host.admit(self)
        if refused:
            self.close(refused)

    def data_received(self, data: bytes) -> None:
        """Frame what came; hold the peer back while it is ahead of its rate or of the log."""
        if self._cause:
            return
        self._host.counters.bytes += len(data)
        if self._head is not None and self._is_alien(data):
            return
        count = sum(self._take(self._framer.feed(data[i : i + SLICE])) for i in range(0, len(data), SLICE))
        now = self._loop.time()
        if count or not self._framer.pending:
            self._partial = now
        wait = self._bucket.take(count, now)
        if wait and not self._throttled:
            self._throttled = True
            self._host.counters.throttled += 1
            self._loop.call_later(wait, self._unthrottle)
        self._flow()

    def eof_received(self) -> bool:
        """Resolve what is pending; stay half open until the frames under way are answered (TLS cannot)."""
        if not self._cause:
            self._take(self._framer.flush())
        self._half_closed = True
        return self._in_flight > 0 and self._transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        """Write the cause into the books."""
        if not self._cause:
            self._take(self._framer.flush())
            self._cause = "reset" if exc else "peer"
        self._out.clear()
        self._host.counters.closed[self._cause] += 1
        self._host.gone(self)

    def pause_writing(self) -> None:
        """Read no more from a peer that does not read our answers."""
        self._lagging = self._loop.time()
        self._flow()

    def resume_writing(self) -> None:
        """Go on: the peer reads again."""
        self._lagging = None
        self._flow()

    def write(self, data: bytes) -> None:
        """Send `data` at the end of this turn of the loop, together with what else is to be sent to this peer."""
        if not self._cause and not self._transport.is_closing():
            if not self._out:
                self._loop.call_soon(self._flush)
            self._out.append(data)

    def close(self, cause: str) -> None:
        """Close for `cause`, a word of the books; what was written before is still sent, as long as the peer reads."""
        if not self._cause:
            self._flush()
            self._cause = cause
            self._lagging = self._lagging or self._loop.time()  # from now on `sweep` waits for the peer, and not for ever
            self._transport.close()

    def abort(self, cause: str) -> None:
        """Close for `cause` at once, whatever is unsent."""
        self._cause = self._cause or cause
        self._transport.abort()

    def begun(self) -> None:
        """Note that a frame of this peer waits to be durable."""
        self._in_flight += 1
        self._last = self._loop.time()
        self._bad_bytes = 0
        self._head = None

    def done(self) -> None:
        """Note that a frame has its fate."""
        self._in_flight -= 1
        if self._half_closed and not self._in_flight:
            self._loop.call_soon(self.close, "peer")
        elif self._reading_paused:
            self._flow()

    def sweep(self, now: float) -> None:
        """Apply the time limits (s of the loop's clock)."""
        limits = self._limits
        if self._framer.pending and now - self._partial > limits.partial:
            self._take(self._framer.flush())
        if self._lagging is not None and now - self._lagging > limits.lagging:
            self.abort("lagging")
        elif now - self._last > limits.idle:
            self.close("idle")
        elif self._last == self._opened and now - self._opened > limits.unproven:
            self.close("unproven")

    def _take(self, items: list[Frame | BadChunk]) -> int:
        """Hand on what was framed; return how many it was. Too many bad bytes in a row end the connection."""
        for item in items:
            if self._cause:
                break
            if isinstance(item, Frame):
                self._host.frame(self, item)
                continue
            self._host.bad(self, item)
            self._bad_bytes += len(item.raw)
            if self._bad_bytes > self._limits.noise:
                self.close("noise")
        return len(items)

    def _is_alien(self, data: bytes) -> bool:
        """Look at the first bytes; tell another protocol politely where it is, and close."""
        head = self._head = ((self._head or b"") + data)[:HEAD]
        known = alien(head)
        if known is None:
            if len(head) >= HEAD:
                self._head = None
            return False
        if known.answer:
            self.write(known.answer)
        self.close(f"alien:{known.name}")
        return True

    def _unthrottle(self) -> None:
        self._throttled = False
        self._flow()

    def _flow(self) -> None:
        """Read or pause reading: while throttled, while too much waits to be durable, and while the peer reads no answers."""
        pause = self._throttled or self._lagging is not None or self._in_flight >= self._limits.in_flight
        if pause == self._reading_paused or self._transport.is_closing():
            return
        self._reading_paused = pause
        if pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _flush(self) -> None:
        if self._out and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()
