"""Fakes for the city: a gateway that acknowledges as told, and a JSON web server whose answers are a function."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import pytest

from connectors.hj212.commands import ack_data, ack_notice
from connectors.hj212.frame import Frame, Framer
from connectors.hj212.header import Header, parse
from offsite.city.model import City


@dataclass
class FakeGateway:
    """A TCP server of HJ 212: keeps every frame, acknowledges it unless `deaf` says no; may hang up after a number of frames."""

    deaf: Callable[[Header, int], bool] = lambda header, count: False
    hang_up_after: int = 0
    seen: list[tuple[Header, bytes]] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    port: int = 0
    server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self.server is not None
        self.server.close()
        await asyncio.sleep(0.05)  # connections that were accepted get their handler
        for writer in self.writers:
            writer.close()
        await asyncio.gather(*self.tasks)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        self.writers.append(writer)
        try:
            await self.converse(reader, writer)
        except ConnectionError:
            return
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        framer = Framer()
        while data := await reader.read(1 << 16):
            for frame in framer.feed(data):
                assert isinstance(frame, Frame), frame
                header = parse(frame.segment)
                self.seen.append((header, frame.segment))
                if self.hang_up_after and len(self.seen) == self.hang_up_after:
                    return
                if header.cn == "1013":
                    writer.write(ack_notice(header))
                elif header.answer_required and not self.deaf(header, len(self.seen)):
                    writer.write(ack_data(header))

    def command(self, frame: bytes) -> None:
        self.writers[-1].write(frame)


@contextmanager
def web(answer: Callable[[str, str, Any, dict[str, str]], tuple[int, Any]]) -> Iterator[str]:
    """Serve JSON on a free port; `answer(method, path, body, headers)` gives (status, body). Yields the base address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def log_message(self, *args: object) -> None:
            return

        def reply(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            status, data = answer(self.command, self.path, body, dict(self.headers))
            text = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = reply  # noqa: N815 - the name that http.server calls
        do_POST = reply  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="session")
def full_city() -> City:
    return City()


@pytest.fixture(scope="session")
def small_city() -> City:
    return City(enterprises=18, days=1)


@pytest.fixture
def fake_gateway() -> type[FakeGateway]:
    return FakeGateway


@pytest.fixture
def serve_web() -> Callable[..., Any]:
    return web


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds; the test's own time-out ends the waiting."""
    while not condition():  # noqa: ASYNC110 - fakes have no event to wait for
        await asyncio.sleep(0.005)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., Any]:
    return eventually
