"""The operator's endpoint of a process: /metrics, /healthz, /readyz and /conditions, on a thread of its own.

Enters: a registry of metrics and three questions. Leaves: Prometheus text, or JSON that names the failing part and the remedy
(200 all is well, 503 it is not). A thread, and not the event loop, answers: a loop that has stopped turning is then told, instead
of being a connection that hangs; and a process without a loop (the judging worker) is served by the same code.
Loopback unless told otherwise: there is no sign-in here, and nothing but figures.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from connectors.core import Lost

TIMEOUT = 5.0
"""Seconds a client may take to ask: a connection that says nothing holds a thread no longer."""
_log = logging.getLogger(__name__)


class Fault(NamedTuple):
    """A part that does not do its work, what is wrong, and what to do about it."""

    part: str
    detail: str
    remedy: str


Ask = Callable[[], Iterable[Fault]]
"""Returns the faults there are now; none: all is well."""


class Pulse:
    """Tells how long a loop has not turned. The loop calls `beat`; `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = clock()

    def beat(self) -> None:
        """Note that the loop turns."""
        self._last = self._clock()

    def age(self) -> float:
        """Return the seconds since the last beat."""
        return self._clock() - self._last


class Endpoint:
    """A served endpoint; `port` is the one it got."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._server = server
        self.port = int(server.server_address[1])
        self._thread = threading.Thread(target=server.serve_forever, args=(0.2,), name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(TIMEOUT)


def serve(
    port: int,
    registry: CollectorRegistry,
    *,
    alive: Ask,
    ready: Ask,
    conditions: Callable[[], list[Any]],
    host: str = "127.0.0.1",
) -> Endpoint:
    """Serve until closed. Port 0 takes a free one. Raises Lost naming the address if it cannot be had."""

    def metrics(accept: str) -> tuple[int, str, bytes]:
        encode, kind = choose_encoder(accept)
        return 200, kind, encode(registry)

    def verdict(ask: Ask) -> tuple[int, str, bytes]:
        faults = [fault._asdict() for fault in ask()]
        return _json(503 if faults else 200, {"status": "failing" if faults else "ok", "faults": faults})

    routes: dict[str, Callable[[str], tuple[int, str, bytes]]] = {
        "/metrics": metrics,
        "/healthz": lambda _accept: verdict(alive),
        "/readyz": lambda _accept: verdict(ready),
        "/conditions": lambda _accept: _json(200, conditions()),
    }
    try:
        server = ThreadingHTTPServer((host, port), _handler(routes))
    except OSError as error:
        raise Lost(
            f"metrics port {host}:{port} cannot be opened: {error}; choose another (metrics_port) or stop its owner"
        ) from error
    server.daemon_threads = True
    return Endpoint(server)


def _json(status: int, body: object) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps(body, ensure_ascii=False).encode()


def _handler(routes: dict[str, Callable[[str], tuple[int, str, bytes]]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers GET on the four paths."""

        timeout = TIMEOUT

        def do_GET(self) -> None:
            """Answer; a fault of ours is told to the client and logged, and ends nothing."""
            route = routes.get(self.path.partition("?")[0])
            if route is None:
                self._send(*_json(404, {"detail": "there are " + ", ".join(routes)}))
                return
            try:
                answer = route(self.headers.get("Accept") or "")
            except Exception:  # noqa: BLE001 — told to the client and logged
                _log.exception("%s could not be answered", self.path.partition("?")[0])
                answer = _json(500, {"detail": "the answer failed; the log of this process says why"})
            self._send(*answer)

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 — the signature of http.server
            """Log no access: a scrape every few seconds is no news."""

    return Handler
