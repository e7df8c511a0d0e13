"""A small JSON client for the product's HTTP interfaces, on the standard library: one kept connection, one request at a time."""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

_GONE = (http.client.HTTPException, ConnectionError)


class Api:
    """A connection to `base` (http://host:port). `key` is sent as a bearer key, `person` of a call as the acting person."""

    def __init__(self, base: str, *, key: str = "", timeout: float = 30.0) -> None:
        parts = urlsplit(base)
        self._connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=timeout)
        self._prefix = parts.path.rstrip("/")
        self._key = key
        self._lock = asyncio.Lock()
        self._closed = False

    async def get(self, path: str, *, person: str = "") -> tuple[int, Any]:
        """Return (status, JSON body). Raises OSError if nobody answers."""
        return await self._call("GET", path, None, person)

    async def post(self, path: str, body: Any, *, person: str = "") -> tuple[int, Any]:
        """Return (status, JSON body). Raises OSError if nobody answers."""
        return await self._call("POST", path, json.dumps(body, ensure_ascii=False).encode(), person)

    def close(self) -> None:
        """Close the connection; a request that a cancelled caller left under way ends with it."""
        self._closed = True
        self._connection.close()

    async def _call(self, method: str, path: str, body: bytes | None, person: str) -> tuple[int, Any]:
        async with self._lock:
            return await asyncio.to_thread(self._exchange, method, path, body, person)

    def _exchange(self, method: str, path: str, body: bytes | None, person: str) -> tuple[int, Any]:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        if person:
            headers["X-Offsite-Person"] = person
        try:
            return self._request(method, self._prefix + path, body, headers)
        except _GONE:  # a kept connection may have been closed by the server in the meantime: once more, anew
            self._connection.close()
            if self._closed:
                raise ConnectionError(f"{method} {path}: the client is closed") from None
        try:
            return self._request(method, self._prefix + path, body, headers)
        except _GONE as error:
            raise ConnectionError(f"{method} {path}: {error!r}; is the product running there?") from error
        finally:
            if self._closed:
                self._connection.close()

    def _request(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, Any]:
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
