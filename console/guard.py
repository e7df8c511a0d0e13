"""Who may talk to the desk before sign-in exists: this machine only, and no other site's page.

Enters: an ASGI scope. Leaves: the request passed on with security headers, or a problem that says why not.
Three checks: the client's address is loopback; the Host header names this machine (DNS rebinding); a write comes from this
console's own pages or from a program, never from another origin (CSRF).
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console import problems

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def is_loopback(host: str) -> bool:
    """Tell whether `host` (a name or an address, no port) is this machine.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("10.0.0.5")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def objection(method: str, client: str, headers: Headers) -> tuple[int, str, str] | None:
    """Return (status, detail, remedy) if the request must not pass, else None."""
    if not is_loopback(client):
        return 403, f"the desk answers this machine only; you come from {client}", "open the desk on the machine it runs on"
    host = headers.get("host", "")
    if not is_loopback(_hostname(f"//{host}")):
        return 403, f"the Host header names {host!r}", "open the desk as http://127.0.0.1:PORT/ or http://localhost:PORT/"
    if method in SAFE_METHODS:
        return None
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return 403, f"a page of {origin!r} may not change anything here", "act on the desk's own pages"
    if headers.get("content-type", "").split(";")[0].strip() != "application/json":
        return 415, "a change is sent as application/json", "set Content-Type: application/json"
    return None


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


class Guard:
    """ASGI middleware around the whole application. `policy` is the Content-Security-Policy of every answer."""

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self.app = app
        self.headers = {**HEADERS, "Content-Security-Policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        client = scope.get("client") or ("", 0)
        refused = objection(scope.get("method", "GET"), client[0], Headers(scope=scope))
        answer = problems.response(*refused) if refused else self.app
        await answer(scope, receive, sealed)
