"""The way in, watched: how long input takes to be durable, which trace it belongs to, and a line for everything that is refused.

`frames` and `asgi` wrap what the gateway's `accept` and the ingest app do anyway; nothing of it is changed. The clock gives monotonic
seconds. A log line holds at most 120 bytes of a frame, in hex, with the password taken out; it never holds a body or a key.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from connectors import trace
from connectors.core import ConnectorError, Refused
from connectors.histogram import SECONDS, Histogram
from connectors.hj212.frame import Frame
from connectors.hj212.header import Header

EXCERPT = 120
_SECRET = re.compile(rb"(PW|CPW\w*|NewPW)=[^;&]*", re.IGNORECASE)
_log = logging.getLogger("offsite.receipts")

Accept = Callable[[Frame, Header, str], Awaitable[object]]
Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Asgi = Callable[[Any, Any, Any], Awaitable[None]]


def excerpt(raw: bytes) -> str:
    """Return the first 120 bytes in hex, without passwords.

    >>> bytes.fromhex(excerpt(b"##0101QN=1;PW=123456;MN=A;CP=&&&&"))
    b'##0101QN=1;PW=*;MN=A;CP=&&&&'
    """
    return _SECRET.sub(rb"\1=*", raw[: 4 * EXCERPT])[:EXCERPT].hex()


class Receipts:
    """What has come in through this process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.latency = {"hj212": Histogram(SECONDS), "http": Histogram(SECONDS)}
        self.refused: Counter[str] = Counter({"hj212": 0, "http": 0})
        self.failing = ""
        """Why the input that came last could not be stored; empty once something is durable again."""

    def frames(self, accept: Accept) -> Accept:
        """Return `accept`, watched."""

        def taken(frame: Frame, header: Header, peer: str) -> Coroutine[Any, Any, None]:
            return self._frame(accept, self._clock(), frame, header, peer)

        return taken

    async def _frame(self, accept: Accept, began: float, frame: Frame, header: Header, peer: str) -> None:
        trace.begin()
        try:
            await accept(frame, header, peer)
        except ConnectorError as error:
            self.refused["hj212"] += 1
            if not isinstance(error, Refused):
                self.failing = str(error)
            told = {"mn": header.mn[:64], "cn": header.cn[:8], "peer": peer, "hex": excerpt(frame.raw)}
            _log.warning("a frame was not stored: %s", error, extra={"fields": told})
            raise
        self.failing = ""
        self.latency["hj212"].observe(self._clock() - began)

    def asgi(self, app: Asgi) -> Asgi:
        """Return the ASGI app, watched: it takes over the caller's `traceparent` and answers with its own."""

        async def watched(scope: Scope, receive: Any, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            began, status = self._clock(), 0
            given = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
            mine = trace.begin(given.decode("latin-1"))

            async def answer(message: dict[str, Any]) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = int(message["status"])
                    message = message | {"headers": [*message["headers"], (b"traceparent", mine.encode())]}
                await send(message)

            await app(scope, receive, answer)
            self._answered(scope, status, began)

        return watched

    def _answered(self, scope: Scope, status: int, began: float) -> None:
        if status < 400:
            self.failing = ""
            self.latency["http"].observe(self._clock() - began)
            return
        self.refused["http"] += 1
        if status == 503:
            self.failing = "a request could not be stored (503)"
        peer = ":".join(map(str, scope.get("client") or ()))
        _log.warning("a request was refused with %d", status, extra={"fields": {"path": scope["path"][:120], "peer": peer}})
