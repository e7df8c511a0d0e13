"""The console's application: the parts go in, an ASGI application comes out.

Loopback only until sign-in exists; every answer carries a strict policy; nothing is loaded from elsewhere; errors are
problem+json. The composition root runs it under uvicorn on 127.0.0.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import FastAPI

from cases.store import Desk
from connectors.core import Clock
from console import pages, problems
from console.api import alerts, cases, leads, system
from console.guard import Guard
from console.names import Remembered
from console.ports import History, Row, Services

ROUTERS = (alerts.router, leads.router, cases.router, system.router)


def create_app(
    desk: Desk,
    history: History,
    *,
    clock: Clock,
    books: Callable[[], Row],
    registry: Callable[[str], Row],
    devices: Callable[[], Sequence[Row]],
    clock_info: Callable[[], Row] | None = None,
    people: Callable[[], Sequence[Row]] | None = None,
    stopping: Callable[[], bool] = lambda: False,
    title: str = "Offsite",
) -> FastAPI:
    """Build the console.

    `clock` now in ms UTC · `books` the books as JSON · `registry(site)` the site's
    entry: `{site, name, enterprise, district, points: [{point, name, medium, factors: [{factor, name_zh, name_en, unit, limit}]}]}`,
    empty if unknown · `devices` rows with mn, site, point, online, last_seen · `clock_info` `{judged: ms UTC or None, speed}` · `people` who may act, the desk's own list unless given ·
    `stopping` true once the server shuts down (uvicorn: `lambda: server.should_exit`), so that event streams end · `title` the
    place shown in the header.
    """
    files = pages.load()
    app = FastAPI(title="Offsite desk", version="1", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json")
    app.state.services = Services(
        desk=desk,
        history=history,
        clock=clock,
        books=books,
        people=people or desk.people,
        registry=Remembered(registry),
        devices=devices,
        clock_info=clock_info or (lambda: {"judged": None, "speed": 1.0}),
        stopping=stopping,
        title=title,
    )
    problems.install(app)
    for router in (*ROUTERS, pages.router(files)):
        app.include_router(router)
    app.add_middleware(Guard, policy=pages.policy(files))
    return app
