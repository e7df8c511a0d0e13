"""Webhooks out: one HTTPS POST an entry, signed as Standard Webhooks 1.0.0 prescribes.

Items enter; requests leave with `webhook-id` (the same however often an entry is sent), `webhook-timestamp` (of the attempt, s) and
`webhook-signature` (`v1,` + base64 of HMAC-SHA256 over `id.timestamp.body`, one for each secret while secrets are rotated). The body
is `{"type", "timestamp", "data"}`. 2xx is delivered; 410 stops the target; 408, 429, 5xx and no answer are tried again;
other answers (redirects too: none is followed) are tried `tries` times and then refused.

The standard library's HTTP client is used, in threads of the target's own: it needs nothing installed, follows no redirects, and a
slow receiver holds up nobody else.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import SplitResult, urlsplit

import orjson

from connectors.core import Clock, ConnectorError, Lost, Refused, Retry
from connectors.outbound_entries import Item
from connectors.outputs import Common, Delivery, events_of, tls_of, wants_event
from connectors.table import Secret, Table

TYPES = {"alert": "alert.updated", "lead": "lead.updated", "case-event": "case.event"}
"""Kind → the `type` of the body; every version of an alert or lead is an update of the same `data.id`."""
AGAIN = frozenset({408, 425, 429})
PREFIX = "whsec_"
ANSWER = 300
"""Bytes of an answer that the sent log keeps."""
LONGEST_WAIT = 86_400.0

DEFAULTS = Common()


def key_of(secret: str) -> bytes:
    """Return the key of a `whsec_…` secret (base64, 24 to 64 bytes). Raises ValueError.

    >>> key_of("whsec_" + "A" * 32) == bytes(24)
    True
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("is not base64; write whsec_ and the base64 of 24 to 64 random bytes") from error
    if not secret.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise ValueError("has to be whsec_ and the base64 of 24 to 64 random bytes")
    return key


def sign(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`: a signature for each key, with a space between them."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join("v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys)


def verify(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: int, tolerance: int = 300) -> bool:
    """Tell whether a request is genuine and its attempt not older or newer than `tolerance` s; for receivers. `now` in s."""
    try:
        message_id, timestamp = headers["webhook-id"], int(headers["webhook-timestamp"])
        given = headers["webhook-signature"].split()
    except (KeyError, ValueError):
        return False
    wanted = sign(keys, message_id, timestamp, body).split()
    return abs(now - timestamp) <= tolerance and any(hmac.compare_digest(a, b) for a in given for b in wanted)


def body_of(item: Item) -> bytes:
    """Return the JSON body of an entry; the same bytes however often it is sent."""
    when = datetime.fromtimestamp(item.at / 1000, UTC).isoformat(timespec="milliseconds")
    return orjson.dumps({"type": TYPES[item.kind], "timestamp": when, "data": orjson.loads(item.body)})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status and the first bytes of the body; `after` is Retry-After in s."""

    status: int
    text: str
    after: float = 0.0


class Webhook:
    """One receiver."""

    takes = "events"
    batch, live_ms = 1, None

    def __init__(
        self,
        common: Common,
        url: str,
        keys: Sequence[bytes],
        clock: Clock,
        *,
        tries: int = 8,
        timeout: float = 15.0,
        parallel: int = 8,
        guard: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.common, self.parallel = common, parallel
        self._url, self._keys, self._clock, self._tries = urlsplit(url), keys, clock, tries
        self._timeout, self._guard, self._tls = timeout, guard, tls
        self._threads = ThreadPoolExecutor(self.parallel, thread_name_prefix=f"webhook {common.name}")

    def wants(self, kind: str, key: str, body: bytes) -> str | None:
        """Take alerts, leads and case events by kind, site and level."""
        return wants_event(self.common, kind, key, body)

    async def deliver(self, items: Sequence[Item]) -> Delivery:
        """POST one entry."""
        item, body = items[0], body_of(items[0])
        timestamp = self._clock() // 1000
        headers = {
            "content-type": "application/json",
            "user-agent": "offsite",
            "webhook-id": item.message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(self._keys, item.message_id, timestamp, body),
        }
        try:
            answer = await self._post(headers, body)
        except ConnectorError as fault:
            return Delivery(fault=fault)
        return self._judged(answer, item)

    def _judged(self, answer: Answer, item: Item) -> Delivery:
        said = f"{answer.status} {answer.text}".strip()
        if 200 <= answer.status < 300:
            return Delivery([said])
        if answer.status == 410:
            return Delivery(
                fault=Lost(
                    f"the receiver answered 410 Gone: it wants nothing more; then `offsite outputs retry {self.common.name}`"
                )
            )
        passing = answer.status in AGAIN or answer.status >= 500
        if passing or item.attempts + 1 < self._tries:
            return Delivery(fault=Retry(said, answer.after))
        return Delivery(fault=Refused(f"refused {self._tries} times: {said}"))

    async def _post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Make the request in a thread; when its time is over its socket is shut, which ends the thread's wait."""
        sockets: list[socket.socket] = []
        work = asyncio.get_running_loop().run_in_executor(self._threads, self._request, headers, body, sockets)
        work.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.shield(work)
        except TimeoutError:
            raise Retry(f"no answer in {self._timeout:g} s") from None
        finally:
            for one in () if work.done() else sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _request(self, headers: Mapping[str, str], body: bytes, sockets: list[socket.socket]) -> Answer:
        host, port = self._url.hostname or "", self._url.port or (443 if self._tls else 80)
        connection = (
            http.client.HTTPSConnection(host, port, context=self._tls) if self._tls else http.client.HTTPConnection(host, port)
        )
        try:
            raw = socket.create_connection(self._address(host, port), self._timeout)
            sockets.append(raw)
            connection.sock = self._tls.wrap_socket(raw, server_hostname=host) if self._tls else raw
            sockets.append(connection.sock)
            connection.request("POST", _path(self._url), body, dict(headers))
            response = connection.getresponse()
            text = response.read(ANSWER).decode("utf-8", "replace")
            return Answer(response.status, text, _seconds(response.headers.get("retry-after")))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Retry(f"{host}:{port} is not reached: {error!r}") from error
        finally:
            connection.close()

    def _address(self, host: str, port: int) -> tuple[str, int]:
        """Resolve the name once, so that the address that was checked is the one that is called."""
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        if self._guard:
            found = [one for one in found if ipaddress.ip_address(one.split("%")[0]).is_global]
        if not found:
            raise Retry(f"{host} has only private addresses; set private_addresses to allow if that is meant", 60.0)
        return found[0], port

    async def close(self) -> None:
        """Wait for no request under way: none was settled, so it is sent again."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _path(url: SplitResult) -> str:
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


def _seconds(text: str | None) -> float:
    """Return the seconds of a Retry-After, at most a day; 0 for a date or nothing."""
    return min(float(text), LONGEST_WAIT) if text and text.isdecimal() else 0.0


def from_table(table: Table, common: Common, secret: Secret, clock: Clock) -> Webhook:
    """Make a webhook of its table. Raises TableFaults."""
    url, common = table.text("url"), events_of(table, common)
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        table.fault("url", f"{url!r} is no address; write http://… or, better, https://…")
    keys = []
    for reference in table.texts("secrets"):
        try:
            keys.append(key_of(secret(reference).decode()))
        except ValueError as fault:
            table.fault("secrets", f"{reference!r} {fault}" if reference not in str(fault) else str(fault))
    more = {
        "tries": table.whole("tries", 8, 1, 100),
        "timeout": table.number("timeout", 15, 0.1, 300),
        "parallel": table.whole("parallel", 8, 1, 64),
        "guard": table.choice("private_addresses", ("allow", "refuse"), "allow") == "refuse",
        "tls": tls_of(table, wanted=url.startswith("https")),
    }
    table.done()
    return Webhook(common, url, keys, clock, **more)
