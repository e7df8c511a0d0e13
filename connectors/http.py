"""HTTP ingest: a small ASGI app that is handed everything it needs; it knows no meaning and no store.

Enters: `POST /api/v1/readings` and `/api/v1/events` as JSON, NDJSON, CSV or an Arrow stream, plain, gzip or zstd.
Leaves: 200 `{"accepted": n, "rejected": [{"row", "reason", "detail"}]}` once `accept` has returned, that is after the data is
durable (promise 1); every other answer is problem+json (RFC 9457) and says what to do.

`decode` turns a body into one batch a site (and topic) and the rows it refused (promise 4: bad data is data); `accept` is given
both, so that refused rows are kept too. A request may be repeated with the same Idempotency-Key and gets the same answer.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from connectors.bucket import Bucket
from connectors.core import ARROW, CSV, JSON, NDJSON, Lost, Refused, Retry
from connectors.http_body import Problem, inflate, read_body
from connectors.http_keys import AnswerBook, Mismatch

CONTENT_TYPES = (JSON, NDJSON, CSV, ARROW)
INLINE = 16_384
"""Bodies up to this size are decoded in the event loop; larger ones in a thread, so that acknowledgements are not kept waiting."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Who calls, and for which sites; `sites` None = all."""

    name: str
    sites: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one site, ready for the log: `rows` are their positions in the request, from 0."""

    site: str
    rows: tuple[int, ...]
    content_type: str
    body: bytes
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was not taken, why (a code), and in words."""

    row: int
    reason: str
    detail: str


Decode = Callable[[str, bytes, str], tuple[Sequence[Batch], Sequence[Refusal]]]
"""(content type, body, kind "readings" or "events") → batches and refused rows; raises Refused if nothing of it is legible."""
Accept = Callable[[str, Sequence[Batch], Sequence[Refusal]], Awaitable[None]]
"""(kind, batches, refused rows): returns when they are durable; raises Retry or Lost."""
Authenticate = Callable[[str], Scope | None]


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one request and one caller may ask for: bytes, s, requests a second."""

    body: int = 8 << 20
    inflated: int = 32 << 20
    seconds: float = 30.0
    at_once: int = 8
    rate: float = 100.0
    burst: float = 500.0


@dataclass(slots=True)
class HttpCounters:
    """Requests by status, rows by fate and reason; readable at any time."""

    status: Counter[int] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)


class _Ingest:
    """The two routes share this: who may, how much, what came, and what was answered."""

    def __init__(
        self, accept: Accept, authenticate: Authenticate, decode: Decode, answers: AnswerBook, limits: HttpLimits
    ) -> None:
        self.counters = HttpCounters()
        self._accept, self._authenticate, self._decode = accept, authenticate, decode
        self._answers, self._limits = answers, limits
        self._buckets: dict[str, Bucket] = {}
        self._slots = asyncio.Semaphore(limits.at_once)

    async def readings(self, request: Request) -> Response:
        """POST /api/v1/readings."""
        return await self._answer(request, "readings")

    async def events(self, request: Request) -> Response:
        """POST /api/v1/events."""
        return await self._answer(request, "events")

    async def problem(self, _request: Request, error: Exception) -> Response:
        """Turn what the router refuses (404, 405) into problem+json."""
        assert isinstance(error, HTTPException)
        detail = "POST to /api/v1/readings or /api/v1/events."
        self.counters.status[error.status_code] += 1
        return Problem(error.status_code, error.detail, detail, dict(error.headers or {})).response()

    async def _answer(self, request: Request, kind: str) -> Response:
        try:
            response = await self._take(request, kind)
        except Problem as problem:
            response = problem.response()
        except ClientDisconnect:
            response = Problem(400, "Disconnected", "The connection ended inside the body: send it again.").response()
        except (Retry, Lost) as error:
            after = error.after if isinstance(error, Retry) else 5
            response = Problem(
                503, "Not stored", f"{error}. Nothing is lost if you send it again.", {"Retry-After": f"{after:.0f}"}
            ).response()
        self.counters.status[response.status_code] += 1
        return response

    async def _take(self, request: Request, kind: str) -> Response:
        scope = self._caller(request)
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in CONTENT_TYPES:
            known = ", ".join(CONTENT_TYPES)
            raise Problem(415, "Unknown content type", f"Send one of: {known}.", {"Accept-Post": known})
        try:
            async with asyncio.timeout(self._limits.seconds):
                sent = await read_body(request, self._limits.body)
        except TimeoutError as error:
            raise Problem(
                408, "Body too slow", f"The body took more than {self._limits.seconds:g} s: send less at once."
            ) from error
        encoding = request.headers.get("content-encoding", "")
        key = request.headers.get("idempotency-key", "")
        if not key:
            async with self._slots:
                return _json(*await self._store(scope, content_type, encoding, sent, kind))
        digest = hashlib.sha256(b"\0".join((kind.encode(), content_type.encode(), encoding.encode(), sent))).digest()
        return await self._once(key, digest, scope, (content_type, encoding, sent, kind))

    async def _once(self, key: str, digest: bytes, scope: Scope, what: tuple[str, str, bytes, str]) -> Response:
        """Store, or give the answer given before to the same key and body."""
        if len(key) > 255:
            raise Problem(422, "Key too long", "An Idempotency-Key has at most 255 characters.")
        try:
            before = await asyncio.to_thread(self._answers.begin, scope.name, key, digest)
        except Mismatch as error:
            raise Problem(422, "Key used before", "This Idempotency-Key came with another body: use a new key.") from error
        except Retry as error:
            raise Problem(409, "Under way", f"{error}: ask again in a second.", {"Retry-After": "1"}) from error
        if before is not None:
            return _json(*before)
        try:
            async with self._slots:
                status, body = await self._store(scope, *what)
            await asyncio.to_thread(self._answers.finish, scope.name, key, digest, status, body)
        finally:
            self._answers.leave(scope.name, key)
        return _json(status, body)

    def _caller(self, request: Request) -> Scope:
        """Return who calls. Raises Problem 401 (no or unknown key) or 429 (too many requests)."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        scope = self._authenticate(key) if key else None
        if scope is None:
            detail = "Send 'Authorization: Bearer KEY' with a key made by 'offsite key'."
            raise Problem(401, "Unknown key" if key else "Key missing", detail, {"WWW-Authenticate": "Bearer"})
        bucket = self._buckets.setdefault(scope.name, Bucket(self._limits.rate, self._limits.burst))
        wait = bucket.take(1, asyncio.get_running_loop().time())
        if wait:
            bucket.give_back(1)
            detail = f"More than {self._limits.rate:g} requests a second: put more rows into each request."
            raise Problem(429, "Too many requests", detail, {"Retry-After": str(max(1, round(wait)))})
        return scope

    async def _store(self, scope: Scope, content_type: str, encoding: str, sent: bytes, kind: str) -> tuple[int, bytes]:
        """Decode, keep what the caller may send, and answer after it is durable."""

        def read() -> tuple[Sequence[Batch], Sequence[Refusal]]:
            return self._decode(content_type, inflate(sent, encoding, self._limits.inflated), kind)

        try:
            batches, refused = read() if len(sent) <= INLINE and not encoding else await asyncio.to_thread(read)
        except Refused as error:
            raise Problem(422, "Body not legible", f"{error}") from error
        allowed = [batch for batch in batches if scope.sites is None or batch.site in scope.sites]
        if batches and not allowed:
            raise Problem(403, "Not your site", f"This key may not send for {batches[0].site}: ask for a key of that site.")
        foreign = [
            Refusal(row, "forbidden_site", f"this key may not send for {batch.site}")
            for batch in batches
            if batch not in allowed
            for row in batch.rows
        ]
        rejected = sorted([*refused, *foreign], key=lambda refusal: refusal.row)
        if allowed or rejected:
            await self._accept(kind, allowed, rejected)
        accepted = sum(len(batch.rows) for batch in allowed)
        self.counters.rows.update(accepted=accepted, rejected=len(rejected))
        self.counters.rejected.update(refusal.reason for refusal in rejected)
        return 200, orjson.dumps({"accepted": accepted, "rejected": [asdict(refusal) for refusal in rejected]})


def _json(status: int, body: bytes) -> Response:
    return Response(body, status, media_type=JSON)


def ingest_app(
    accept: Accept, authenticate: Authenticate, *, decode: Decode, answers: AnswerBook, limits: HttpLimits | None = None
) -> Starlette:
    """Return the ASGI app; `app.state.counters` is its `HttpCounters`."""
    ingest = _Ingest(accept, authenticate, decode, answers, limits or HttpLimits())
    handlers: Any = {HTTPException: ingest.problem}
    app = Starlette(
        routes=[
            Route("/api/v1/readings", ingest.readings, methods=["POST"]),
            Route("/api/v1/events", ingest.events, methods=["POST"]),
        ],
        exception_handlers=handlers,
    )
    app.state.counters = ingest.counters
    return app
