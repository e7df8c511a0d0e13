"""A request's body, bounded twice: as sent, and as inflated, so that a bomb of a few KB cannot fill the memory.

Enters: an ASGI request. Leaves: bytes, or a `Problem` that says what to do.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import zstandard
from starlette.requests import Request
from starlette.responses import JSONResponse

STEP = 1 << 20


@dataclass(slots=True)
class Problem(Exception):
    """Why a request was not taken and what to do about it (RFC 9457, problem+json)."""

    status: int
    title: str
    detail: str
    headers: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def response(self) -> JSONResponse:
        """Return the answer to send."""
        body = {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail, **self.extra}
        return JSONResponse(body, self.status, self.headers, media_type="application/problem+json")


def too_large(what: str, limit: int) -> Problem:
    """Return the 413 for a body whose size as sent or as inflated (`what`) goes beyond `limit` bytes."""
    return Problem(413, "Body too large", f"The body {what} is larger than {limit} bytes: send it in several requests.")


async def read_body(request: Request, limit: int) -> bytes:
    """Read at most `limit` bytes as sent. Raises Problem 413, before reading where the length is declared."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large("as sent", limit)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise too_large("as sent", limit)
        parts.append(part)
    return b"".join(parts)


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo a Content-Encoding (RFC 9110 §8.4: identity, gzip, zstd); never holds more than `limit` bytes plus 1 MB.

    Raises Problem: 415 for another encoding, 422 for a damaged body, 413 beyond the limit.
    """
    undo = ENCODINGS.get(encoding.strip().lower())
    if undo is None:
        known = ", ".join(name for name in ENCODINGS if name)
        raise Problem(415, "Unknown content encoding", f"Use one of: {known}.", {"Accept-Encoding": known})
    try:
        return undo(body, limit)
    except (zlib.error, zstandard.ZstdError, EOFError) as error:
        raise Problem(422, "Damaged body", f"The body is not valid {encoding}: {error}. Send it again.") from error


def _identity(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise too_large("inflated", limit)
    return body


def _gunzip(body: bytes, limit: int) -> bytes:
    """Inflate gzip of one or several members (RFC 1952 §2.2)."""
    out = bytearray()
    rest = body
    while rest:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            part = member.decompress(rest, STEP)
            out += part
            if len(out) > limit:
                raise too_large("inflated", limit)
            rest = member.unconsumed_tail
            if not part and not member.eof:
                raise EOFError("it ends too early")
        rest = member.unused_data
    return bytes(out)


def _unzstd(body: bytes, limit: int) -> bytes:
    """Inflate zstd of one or several frames (RFC 8878 §3)."""
    out = bytearray()
    with zstandard.ZstdDecompressor(max_window_size=8 << 20).stream_reader(body, read_across_frames=True) as reader:
        while part := reader.read(STEP):
            out += part
            if len(out) > limit:
                raise too_large("inflated", limit)
    return bytes(out)


ENCODINGS: dict[str, Callable[[bytes, int], bytes]] = {"": _identity, "identity": _identity, "gzip": _gunzip, "zstd": _unzstd}
