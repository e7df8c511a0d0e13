"""Reference data in a running process: sources fetched when they are due, pushed on the ingest port, pulled from the desk's API.

Enters: the sources of the settings and how a registry is replaced. Leaves: routes to mount and a job to run. One import at a time, in
a child process; what fails is told in the log and tried again when it is due again, the registry in force stays as it was.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Body, Header
from fastapi.exceptions import HTTPException
from starlette.routing import BaseRoute

from cases import reference_store
from cases.store import Desk
from connectors.core import Clock, ConnectorError, Refused, Retry
from connectors.http import Ingest
from connectors.reference import Part
from connectors.reference_http import push_routes
from offsite.data_dir import actor
from offsite.reference import TRIES, Reference
from offsite.reference_card import card
from offsite.reference_child import Order, Outcome, elsewhere
from offsite.reference_open import Ways
from offsite.settings import Settings
from streams.reference_model import SCHEDULE
from streams.registry import from_json, to_json

LOOK = 30.0
"""Seconds between two looks for a source that is due."""
MINUTE = 60_000
SPANS = {"m": MINUTE, "h": 60 * MINUTE, "d": 1440 * MINUTE}
CST = 480 * MINUTE
CarryOut = Callable[[Settings, str, int, Order], Outcome]
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
    """What a process mounts: `routes` beside ingest, `router` on the desk, and `run`. `reference` is for reading."""

    def __init__(
        self, settings: Settings, reference: Reference, desk: Desk, clock: Clock, ways: Ways, carry_out: CarryOut = elsewhere
    ) -> None:
        self._settings, self._reference, self._desk, self._clock = settings, reference, desk, clock
        self._current, self._put = ways
        self._carry_out, self._one = carry_out, threading.Lock()

    def _import(self, order: Order) -> dict[str, Any]:
        """Import in a child process and let the registry hold that comes of it; returns the books."""
        books: dict[str, Any] = {}
        for _ in range(TRIES):
            before = self._current()
            outcome = self._carry_out(self._settings, to_json(before), self._clock(), order)
            outcome.check()
            books = books or dict(outcome.books)
            if outcome.registry is None:
                return books
            try:
                self._put(before, from_json(outcome.registry))
            except Retry:  # somebody changed it in between: what they changed is part of the base
                order = Order()
            else:
                return books
        raise Retry("the registry changes all the time; the import is kept and holds with the next one", 60.0)

    def card(self, site: str) -> dict[str, Any]:
        """Return what a site's card shows of other departments: facts, where its fields come from, conflicts."""
        return card(self._reference, site)

    def push(self, name: str, by: str, part: Part) -> dict[str, Any]:
        """Take an export that was pushed; returns its books once all of it is durable."""
        with self._one:
            return self._import(Order(name, by, part))

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
            books = self._import(Order(name, person, None, may_end))
            told = {key: value for key, value in books.items() if key == "sha256" or isinstance(value, int)}
            self._desk.record(person, "reference.pull", name, told)
            return books

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
                books = self._import(Order(name, "schedule"))
        except ConnectorError as error:
            _log.warning("reference source %s: %s", name, error)
            with self._reference.store.write() as tx:
                last = reference_store.last(tx, name)
                if last is None or self._clock() - int(last["at"]) > MINUTE:
                    missed = reference_store.Import(name, self._clock(), "schedule", "", "failed", {}, (str(error),))
                    reference_store.note(tx, missed, ())
            return
        _log.info("reference source %s: %s, %s of %s rows taken", name, books["outcome"], books["taken"], books["rows"])
