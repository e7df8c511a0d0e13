"""A real server with a real desk, and a real browser."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from console.api import conditions
from tests.conftest import need
from tests.console.world import World

CHROMIUM = os.environ.get("E2E_CHROMIUM", "/usr/bin/chromium")
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    need(Path(CHROMIUM).exists(), f"a browser ({CHROMIUM}; set E2E_CHROMIUM)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.app.include_router(conditions.router(lambda: made.conditions))
    yield made
    made.desk.close()


@pytest.fixture
def address(world: World) -> Iterator[str]:
    """Serve the console on a free port of this machine."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(world.app, log_level="warning", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    world.stop = True
    server.should_exit = True
    thread.join(10)
    sock.close()
    assert not thread.is_alive(), "the event streams did not end"


class Page:
    """A page that remembers what it asked for and what went wrong in it."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="zh-CN", **options)
        self.address = address
        self.requests: list[str] = []
        self.faults: list[str] = []
        self.page = self.tab()

    def tab(self) -> Any:
        page = self.context.new_page()
        page.set_default_timeout(8000)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda message: self.faults.append(message.text) if message.type == "error" else None)
        self.context.on("request", lambda request: self.requests.append(request.url))
        return page

    def open(self, place: str = "") -> Any:
        self.page.goto(f"{self.address}/{place}")
        self.page.wait_for_selector(".link.live")
        return self.page


@pytest.fixture
def desk_page(chromium: Any, address: str) -> Iterator[Page]:
    made = Page(chromium, address)
    yield made
    made.context.close()
    refusals = "the server responded with a status of 409"  # the browser's own note on what a test refuses on purpose
    assert [fault for fault in made.faults if refusals not in fault] == []
