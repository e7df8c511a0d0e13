"""HTTP ingest: a small ASGI app that is handed everything it needs; it knows no meaning and no store.

Enters: `POST /api/v1/readings` and `/api/v1/events` as JSON, NDJSON, CSV or an Arrow stream, plain, gzip or zstd; further routes
(line protocol, video events) are mounted beside them and share who may send, how much, and the way in.
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
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from connectors.accept import INLINE, Accept, Batch, Decode, Refusal
from connectors.bucket import Bucket
from connectors.core import ARROW, CSV, JSON, NDJSON, Lost, Refused, Retry
from connectors.http_body import Problem, inflate, read_body
from connectors.http_keys import AnswerBook, Mismatch

__all__ = [
    "CONTENT_TYPES",
    "Accept",
    "Batch",
    "Decode",
    "HttpLimits",
    "Ingest",
    "Refusal",
    "Scope",
    "Taken",
    "ingest_app",
    "key_of",
]

CONTENT_TYPES = (JSON, NDJSON, CSV, ARROW)


@dataclass(frozen=True, slots=True)
class Scope:
    """Who calls, and for which sites; `sites` None = all."""

    name: str
    sites: frozenset[str] | None = None


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


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a request's rows, once those that were accepted are durable."""

    accepted: int
    rejected: Sequence[Refusal]


def key_of(request: Request) -> str:
    """Return the key a request shows: `Authorization: Bearer KEY` (or `Token KEY`, as InfluxDB clients do) or `X-API-Key`."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() in {"bearer", "token"} else request.headers.get("x-api-key", "")


class Ingest:
    """All routes share this: who may, how much, what came, and what was answered."""

    def __init__(
        self, accept: Accept, authenticate: Authenticate, decode: Decode, answers: AnswerBook, limits: HttpLimits
    ) -> None:
        self.counters = HttpCounters()
        self._accept, self._authenticate, self._decode = accept, authenticate, decode
        self.limits, self._answers = limits, answers
        self._buckets: dict[str, Bucket] = {}
        self._slots = asyncio.Semaphore(limits.at_once)

    async def readings(self, request: Request) -> Response:
        """POST /api/v1/readings."""
        return await self.answer(partial(self._take, request, "readings"))

    async def events(self, request: Request) -> Response:
        """POST /api/v1/events."""
        return await self.answer(partial(self._take, request, "events"))

    async def problem(self, _request: Request, error: Exception) -> Response:
        """Turn what the router refuses (404, 405) into problem+json."""
        assert isinstance(error, HTTPException)
        detail = "POST to /api/v1/readings or /api/v1/events."
        self.counters.status[error.status_code] += 1
        return Problem(error.status_code, error.detail, detail, dict(error.headers or {})).response()

    async def answer(
        self, take: Callable[[], Awaitable[Response]], shape: Callable[[Problem], Response] = Problem.response
    ) -> Response:
        """Return what `take` answers; what it raises becomes a problem in the `shape` of the route. Counts the status."""
        try:
            response = await take()
        except Problem as problem:
            response = shape(problem)
        except ClientDisconnect:
            response = shape(Problem(400, "Disconnected", "The connection ended inside the body: send it again."))
        except Refused as error:
            response = shape(Problem(422, "Refused by the log", f"{error}. Correct it before you send it again."))
        except (Retry, Lost) as error:
            after = {"Retry-After": f"{error.after if isinstance(error, Retry) else 5:.0f}"}
            response = shape(Problem(503, "Not stored", f"{error}. Nothing is lost if you send it again.", after))
        self.counters.status[response.status_code] += 1
        return response

    async def body(self, request: Request, limit: int = 0) -> bytes:
        """Read the body as sent, within the limits of size (or `limit`) and time. Raises Problem 408 or 413."""
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await read_body(request, limit or self.limits.body)
        except TimeoutError as error:
            slow = f"The body took more than {self.limits.seconds:g} s: send less at once."
            raise Problem(408, "Body too slow", slow) from error

    async def _take(self, request: Request, kind: str) -> Response:
        scope = self.caller(key_of(request))
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in CONTENT_TYPES:
            known = ", ".join(CONTENT_TYPES)
            raise Problem(415, "Unknown content type", f"Send one of: {known}.", {"Accept-Post": known})
        sent = await self.body(request)
        encoding = request.headers.get("content-encoding", "")
        key = request.headers.get("idempotency-key", "")
        if not key:
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
            status, body = await self._store(scope, *what)
            await asyncio.to_thread(self._answers.finish, scope.name, key, digest, status, body)
        finally:
            self._answers.leave(scope.name, key)
        return _json(status, body)

    def caller(self, key: str) -> Scope:
        """Return who shows this key. Raises Problem 401 (no or unknown key) or 429 (too many requests)."""
        scope = self._authenticate(key) if key else None
        if scope is None:
            detail = "Send 'Authorization: Bearer KEY' with a key made by 'offsite key'."
            raise Problem(401, "Unknown key" if key else "Key missing", detail, {"WWW-Authenticate": "Bearer"})
        bucket = self._buckets.setdefault(scope.name, Bucket(self.limits.rate, self.limits.burst))
        wait = bucket.take(1, asyncio.get_running_loop().time())
        if wait:
            bucket.give_back(1)
            detail = f"More than {self.limits.rate:g} requests a second: put more rows into each request."
            raise Problem(429, "Too many requests", detail, {"Retry-After": str(max(1, round(wait)))})
        return scope

    async def _store(self, scope: Scope, content_type: str, encoding: str, sent: bytes, kind: str) -> tuple[int, bytes]:
        """Decode a body, store what the caller may send, and say what became of its rows."""

        def decode() -> tuple[Sequence[Batch], Sequence[Refusal]]:
            return self._decode(content_type, inflate(sent, encoding, self.limits.inflated), kind)

        taken = await self.store(scope, kind, decode, small=len(sent) <= INLINE and not encoding)
        rejected = [{"row": refusal.row, "reason": refusal.reason, "detail": refusal.detail} for refusal in taken.rejected]
        return 200, orjson.dumps({"accepted": taken.accepted, "rejected": rejected})

    async def store(
        self, scope: Scope, kind: str, decode: Callable[[], tuple[Sequence[Batch], Sequence[Refusal]]], *, small: bool
    ) -> Taken:
        """Keep what the caller may send of what `decode` finds; return after it is durable.

        A small body is decoded here, others in a thread. Raises Problem 403 or 422, and Retry or Lost.
        """
        async with self._slots:
            try:
                batches, refused = decode() if small else await asyncio.to_thread(decode)
            except Refused as error:
                raise Problem(422, "Body not legible", f"{error}") from error
            allowed = [batch for batch in batches if scope.sites is None or batch.site in scope.sites]
            if batches and not allowed:
                words = f"This key may not send for {batches[0].site}: ask for a key of that site."
                raise Problem(403, "Not your site", words)
            foreign = [
                Refusal(row, "forbidden_site", f"this key may not send for {batch.site}")
                for batch in batches
                if scope.sites is not None and batch.site not in scope.sites
                for row in batch.rows
            ]
            rejected = sorted([*refused, *foreign], key=lambda refusal: refusal.row)
            if allowed or rejected:
                await self._accept(kind, allowed, rejected)
        accepted = sum(len(batch.rows) for batch in allowed)
        self.counters.rows.update(accepted=accepted, rejected=len(rejected))
        self.counters.rejected.update(refusal.reason for refusal in rejected)
        return Taken(accepted, rejected)

    @property
    def decode(self) -> Decode:
        """Return the codec of bodies, for routes that bring a body into its form."""
        return self._decode


def _json(status: int, body: bytes) -> Response:
    return Response(body, status, media_type=JSON)


def ingest_app(
    accept: Accept,
    authenticate: Authenticate,
    *,
    decode: Decode,
    answers: AnswerBook,
    limits: HttpLimits | None = None,
    more: Sequence[Callable[[Ingest], Sequence[BaseRoute]]] = (),
) -> Starlette:
    """Return the ASGI app; `app.state.counters` is its `HttpCounters`. `more` gives further routes on the same port."""
    ingest = Ingest(accept, authenticate, decode, answers, limits or HttpLimits())
    handlers: Any = {HTTPException: ingest.problem}
    app = Starlette(
        routes=[
            Route("/api/v1/readings", ingest.readings, methods=["POST"]),
            Route("/api/v1/events", ingest.events, methods=["POST"]),
            *(route for routes in more for route in routes(ingest)),
        ],
        exception_handlers=handlers,
    )
    app.state.counters = ingest.counters
    return app
