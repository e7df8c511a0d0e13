"""Reference data in a running process: sources fetched when they are due, pushed on the ingest port, pulled from the desk's API.

Enters: the sources of the settings and how a registry is replaced. Leaves: routes to mount and a job to run. One import at a time;
what fails is told in the log and tried again when it is due again, the registry in force stays as it was.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Body, Header
from fastapi.exceptions import HTTPException
from starlette.routing import BaseRoute

from cases import reference_store
from cases.store import Desk
from connectors.core import Clock, ConnectorError, Refused
from connectors.http import Ingest
from connectors.reference import Part
from connectors.reference_http import push_routes
from offsite.data_dir import actor
from offsite.reference import Reference
from offsite.reference_card import card
from streams.reference_model import SCHEDULE

LOOK = 30.0
"""Seconds between two looks for a source that is due."""
MINUTE = 60_000
SPANS = {"m": MINUTE, "h": 60 * MINUTE, "d": 1440 * MINUTE}
CST = 480 * MINUTE
_log = logging.getLogger("offsite.reference")


def due(schedule: str, last: int | None, now: int) -> bool:
    """Say whether a source is due: never fetched, its span over, or its time of day (China) passed since. Times in ms UTC.

    >>> due("6h", 0, 6 * 3_600_000), due("02:30", 0, 10 * 3_600_000), due("02:30", 19 * 3_600_000, 20 * 3_600_000)
    (True, False, False)
    """
    found = SCHEDULE.match(schedule)
    if not found:
        return False
    if last is None:
        return True
    if found[1]:
        return now - last >= int(found[1]) * SPANS[found[2]]
    at = (int(found[3]) * 60 + int(found[4])) * MINUTE
    day = SPANS["d"]
    latest = (now + CST - at) // day * day + at - CST
    return last < latest


class ReferenceWork:
    """What a process mounts: `routes` beside ingest, `router` on the desk, and `run`."""

    def __init__(self, reference: Reference, desk: Desk, clock: Clock) -> None:
        self._reference, self._desk, self._clock = reference, desk, clock
        self._one = threading.Lock()

    def card(self, site: str) -> dict[str, Any]:
        """Return what a site's card shows of other departments: facts, where its fields come from, conflicts."""
        return card(self._reference, site)

    def push(self, name: str, by: str, part: Part) -> dict[str, Any]:
        """Take an export that was pushed; returns its books once all of it is durable."""
        with self._one:
            return self._reference.pull(name, by, part).books()

    def allowed(self, name: str) -> Sequence[str] | None:
        """Return the ids of the keys that may push a source, None for one that is not pushed."""
        found = self._reference.configured.get(name)
        return found[0].keys if found is not None and found[0].kind == "push" else None

    def routes(self, ingest: Ingest) -> Sequence[BaseRoute]:
        """Return the routes of the ingest port."""
        return push_routes(self.allowed, self.push)(ingest)

    def pull(self, name: str, by: str | None, *, may_end: bool) -> dict[str, Any]:
        """Fetch and apply a source in a person's name; it is in the audit (promise 9)."""
        with self._one:
            person = actor(self._desk, by)
            report = self._reference.pull(name, person, may_end=may_end)
            self._desk.record(person, "reference.pull", name, {"sha256": report.done.digest, **report.done.counts})
            return report.books()

    def router(self) -> APIRouter:
        """Return the route that the command line asks of a running product."""
        router = APIRouter(prefix="/api/v1/reference")

        @router.post("/{source}/pull")
        def pull(
            source: str,
            may_end: Annotated[bool, Body(embed=True)] = False,  # noqa: FBT002 - a field of the body
            x_offsite_person: Annotated[str, Header()] = "",
        ) -> dict[str, Any]:
            """Fetch a source now and apply it."""
            try:
                return self.pull(source, unquote(x_offsite_person) or None, may_end=may_end)
            except Refused as refused:
                raise HTTPException(409, str(refused)) from refused

        return router

    async def run(self) -> None:
        """Fetch what is due, until cancelled."""
        while True:
            for name in self._reference.configured:
                await asyncio.to_thread(self._look, name)
            await asyncio.sleep(LOOK)

    def _look(self, name: str) -> None:
        """Fetch a source if it is due."""
        with self._reference.store.read() as tx:
            last = reference_store.last(tx, name)
        schedule = self._reference.source(name)[0].schedule
        if due(schedule, None if last is None else int(last["at"]), self._clock()):
            self._scheduled(name)

    def _scheduled(self, name: str) -> None:
        try:
            with self._one:
                report = self._reference.pull(name, "schedule")
        except ConnectorError as error:
            _log.warning("reference source %s: %s", name, error)
            with self._reference.store.write() as tx:
                last = reference_store.last(tx, name)
                if last is None or self._clock() - int(last["at"]) > MINUTE:
                    missed = reference_store.Import(name, self._clock(), "schedule", "", "failed", {}, (str(error),))
                    reference_store.note(tx, missed, ())
            return
        _log.info("reference source %s: %s %s", name, report.done.outcome, dict(report.done.counts))
