"""What other departments send and read, for one process: reference data in, views out, mounted with a line each.

Enters: settings, the desk, the history, the registry in force, and how it is replaced. Leaves: routes beside ingest, a router for
the desk, a job that fetches what is due, and the site card's part. A process without `[[reference]]` serves views all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter
from starlette.routing import BaseRoute

from cases.database import Database
from cases.reference_store import ReferenceStore
from cases.store import Desk
from cases.view_rows import Series
from cases.views import FILE, Views, load_views
from connectors.core import Clock
from connectors.http import Ingest
from console.api.views import view_routes
from offsite.reference import Reference
from offsite.reference_open import Ways
from offsite.reference_sources import sources_of, store_url
from offsite.reference_work import ReferenceWork
from offsite.settings import Settings
from streams.registry_model import Registry

Put = Callable[[Registry, Registry], None]


def on_loop(replace: Callable[[Registry, Registry], Awaitable[None]]) -> Put:
    """Return what replaces the registry from any other thread, by a coroutine of the running event loop."""
    loop = asyncio.get_running_loop()

    async def do(before: Registry, after: Registry) -> None:
        await replace(before, after)

    def put(before: Registry, after: Registry) -> None:
        asyncio.run_coroutine_threadsafe(do(before, after), loop).result()

    return put


class Departments:
    """The parts of one process. `registry` is what views read, `ways` how imports read and replace it.

    Raises TableFaults if a `[[reference]]` table or a view is wrong.
    """

    def __init__(
        self, settings: Settings, desk: Desk, clock: Clock, history: Series | None, registry: Callable[[], Registry], ways: Ways
    ) -> None:
        views, sources = load_views(settings.data / FILE), sources_of(settings.reference)
        self._database = Database(settings.desk_database(), clock=clock)
        self._views = Views(self._database, views, registry, history)
        self._store = ReferenceStore(store_url(settings), clock=clock) if sources else None
        self._reference = Reference(sources, self._store, clock, *ways) if self._store else None
        self._work = ReferenceWork(settings, self._reference, desk, clock, ways) if self._reference else None

    def routes(self, ingest: Ingest) -> Sequence[BaseRoute]:
        """Return what is served on the ingest port: views, and the way in of pushed exports."""
        return [*view_routes(self._views)(ingest), *(self._work.routes(ingest) if self._work else ())]

    def router(self) -> APIRouter:
        """Return what is served on the desk: pulls that the command line asks for."""
        return self._work.router() if self._work else APIRouter()

    def over(self, files: Registry) -> Registry:
        """Return the registry that holds once these are the registry's own files: them and all sources."""
        return self._reference.over(files) if self._reference else files

    def card(self, shown: dict[str, Any]) -> dict[str, Any]:
        """Return a site's card with what other departments say of it, as `reference`."""
        return shown | {"reference": self._work.card(str(shown["site"]))} if self._work and shown else shown

    async def run(self) -> None:
        """Fetch what is due until cancelled."""
        await (self._work.run() if self._work else asyncio.Event().wait())

    def close(self) -> None:
        """Give back all connections."""
        self._database.close()
        if self._store:
            self._store.close()
