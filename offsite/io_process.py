"""The I/O process: gateway, HTTP ingest, desk, ticks, projection and gap repair, around one log. It never judges.

Settings and the data directory enter; sockets are served until `stop` is set. Every part is made here and handed what it needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import orjson

from cases.db import Row
from cases.store import Desk
from connectors.accept import Doors
from connectors.core import JSON, Clock, Record, Retry
from connectors.hj212.server import Gateway
from connectors.http import HttpCounters, Scope, ingest_app
from connectors.http_keys import AnswerBook
from connectors.log_writer import LogWriter
from connectors.sqlite_log import SqliteLog, day_of
from console.api import conditions
from console.app import create_app
from console.names import Remembered
from offsite import books, inputs, repair
from offsite.departments import Departments, on_loop
from offsite.desk_work import carry, let_time_act, take_people
from offsite.devices import DeviceBook, Devices
from offsite.intake import Intake, decode
from offsite.judge_link import JudgeLink
from offsite.outputs import Outputs
from offsite.patience import patiently
from offsite.receipts import Receipts
from offsite.registered import held, load_current, put_current
from offsite.run_monitor import of_product
from offsite.serving import tls_context
from offsite.settings import Settings
from offsite.site_card import site_card
from offsite.web import Web
from streams import registry as registries
from streams.history import History
from streams.plan.load import HOUR, MINUTE
from streams.records import CONTEXT, registry_record, tick_record
from streams.registry_model import Registry
from streams.store import StateStore
from streams.topics import CASE_EVENTS

TICK_LOOK = 0.05
"""Seconds between two looks at the clock for a new minute of log time."""
PROJECT_EVERY = 0.1
PROJECT_AT_ONCE = 500
DAY = 24 * HOUR
LOG_DAYS = 14
DROP_EVERY = 3600.0
_log = logging.getLogger("offsite")


@dataclass(slots=True)
class Ports:
    """What the product listens on, once it does; -1 = left out."""

    hj212: int = -1
    tls: int = -1
    http: int = -1
    desk: int = -1
    metrics: int = -1


class Product:
    """Everything the I/O process holds. Create it inside the event loop."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings, self.clock, self.ports = settings, clock, Ports()
        data = settings.data
        data.mkdir(parents=True, exist_ok=True)
        self.log = SqliteLog(data / "log", clock)
        self.log.append([])
        self.registry = load_current(data)
        self.writer = LogWriter(self.log)
        StateStore(data / "state.sqlite").close()
        self.store = StateStore(data / "state.sqlite", readonly=True)
        self.history = History(data, self.store)
        self.desk = Desk(f"sqlite:///{data.resolve() / 'desk.sqlite'}", clock=clock)
        self.intake = Intake(self.writer, lambda: self.registry)
        self.devices = Devices(self)
        self.device_book = DeviceBook(settings, lambda: self.registry)
        self.receipts, self.link = Receipts(time.perf_counter), JudgeLink(clock)
        self.http: HttpCounters | None = None
        self.gateway = Gateway(
            self.receipts.frames(self._frame), clock=clock, device=self.device_book.settings, reject=self.intake.bad
        )
        self.web = Web()
        card = Remembered(lambda site: site_card(self.registry, site))
        self.outputs = Outputs(settings, clock, owner="run", chance=Random(), card=card)  # noqa: S311 - jitter of retries
        ways = (lambda: self.registry), on_loop(self.replace_registry)
        self.departments = Departments(settings, self.desk, clock, self.history, ways[0], ways)
        self.monitor = of_product(self)
        self.inputs = inputs.build(settings.inputs, self._doors(), lambda name: partial(self.intake.rows, source=name))

    def _doors(self) -> Doors:
        """Return what inputs are handed."""
        folder = self.settings.data / inputs.FOLDER
        return Doors(
            self.intake.rows,
            decode,
            self._frame,
            self.intake.bad,
            lambda mn: self.device_book.settings(mn).dialect,
            self.clock,
            folder,
            self.settings.instance,
        )

    async def _frame(self, frame: Any, header: Any, peer: str) -> None:
        await self.intake.frame(frame, header, peer)
        self.devices.seen(header.mn)

    # --- registry

    async def take_registry(self, path: Path) -> None:
        """Let a registry hold: from this offset of the log on, and for the gateway from now on."""
        registry = await asyncio.to_thread(self.departments.over, registries.load(path))
        if registries.registry_hash(registry) != registries.registry_hash(self.registry):
            await self.writer.append(registry_record(registry, -1))
            put_current(self.settings.data, registry)
            self.registry = registry
        await asyncio.to_thread(take_people, self.desk, registry)

    async def replace_registry(self, before: Registry, after: Registry) -> None:
        """Let a registry hold that was made of `before`. Raises Retry if that is no longer in force."""
        async with self.devices.changing:
            if self.registry is not before:
                raise Retry("the registry was changed by somebody else just now", 0.0)
            await self.writer.append(registry_record(after, -1))
            put_current(self.settings.data, after)
            self.registry = after

    def reload(self) -> None:
        """Take up the registry file that an adoption has replaced."""
        self.registry = load_current(self.settings.data)

    # --- HTTP

    def authenticate(self, key: str) -> Scope | None:
        """Look an API key up."""
        grant = self.desk.check_key(key)
        return None if grant is None else Scope(f"{grant.name} ({grant.key})", grant.sites)

    async def serve_http(self) -> None:
        """Serve ingest and desk, each on its port."""
        settings = self.settings
        if settings.http_port >= 0:
            answers = AnswerBook(settings.data / "answers.sqlite", self.clock)
            routes = [*(one.routes for one in self.inputs), self.departments.routes]
            app = ingest_app(self.intake.rows, self.authenticate, decode=decode, answers=answers, more=routes)
            self.http = app.state.counters
            self.ports.http = await self.web.serve(self.receipts.asgi(app), settings.host, settings.http_port)
        if settings.desk_port >= 0:
            desk = create_app(
                self.desk,
                self.history,
                clock=self.clock,
                books=self.books,
                registry=lambda site: self.departments.card(site_card(self.registry, site)),
                devices=self.devices.listed,
                clock_info=self._clock_info,
                stopping=self.web.stopping,
                title=settings.title,
            )
            desk.include_router(self.devices.router())
            desk.include_router(self.departments.router())
            desk.include_router(conditions.router(self.monitor.conditions))
            self.ports.desk = await self.web.serve(desk, "127.0.0.1", settings.desk_port)

    def books(self) -> dict[str, Any]:
        """Return the books of design §8, with what the gateway has counted beside them."""
        return books.of_stores(self.store, self.desk) | {
            "gateway": self.gateway.counters.snapshot(),
            "inputs": inputs.counted(self.inputs),
        }

    def _clock_info(self) -> dict[str, Any]:
        tick = self.store.tick()
        return {"judged": tick or None, "speed": getattr(self.clock, "speed", 1.0)}

    # --- background

    async def ticks(self) -> None:
        """Append a tick whenever log time has reached a new minute."""
        last = self.clock() // MINUTE
        while True:
            await asyncio.sleep(TICK_LOOK)
            now = self.clock()
            if now // MINUTE > last:
                last = now // MINUTE
                with contextlib.suppress(Retry):  # the disk is full or slow: the next minute comes anyway
                    await self.writer.append(tick_record(now // MINUTE * MINUTE))

    async def project(self) -> None:
        """Bring the judge's outputs to the desk, in their order, as they come."""
        while True:
            if not await patiently(lambda: asyncio.to_thread(self._project_once)):
                await asyncio.sleep(PROJECT_EVERY)

    def _project_once(self) -> int:
        outputs = self.store.outputs(self.desk.position(), PROJECT_AT_ONCE)
        if outputs:
            self.desk.project(outputs, outputs[-1][0])
        return len(outputs)

    def _held(self) -> Counter[str]:
        """Count what the log holds of devices and sites that nobody has registered."""
        return Counter(r.key for r in held(self.log))

    async def _tell_judge(self, messages: Sequence[Row]) -> None:
        """Put what people decided on the log as `context`; returns once it is durable there."""
        await self.writer.append(*(Record(CONTEXT, m["site"], -1, JSON, orjson.dumps(m)) for m in messages))

    async def old_log(self) -> None:
        """Drop log files older than 14 days: what the judge has read is archived as frames in history, in the same step.

        Nothing is dropped while something is held: the log is where an adoption finds it.
        """
        self.intake.held |= await asyncio.to_thread(self._held)
        while True:
            oldest = day_of(self.clock() - LOG_DAYS * DAY)
            for unread in self.log.read(self.store.position(), 1):
                oldest = min(oldest, day_of(unread.arrived))  # a judge that was stopped for long has not read it yet
            if self.log.first() < self.store.position() and not self.intake.held:
                for path in await asyncio.to_thread(self.log.drop_before, oldest):
                    _log.info("dropped %s: archived and older than %d days", path, LOG_DAYS)
            await asyncio.sleep(DROP_EVERY)

    async def run(self, stop: asyncio.Event, ready: Callable[[Ports], None]) -> None:
        """Serve until `stop`. Raises Lost when the log is gone: the process has to end."""
        settings = self.settings
        if settings.registry is not None:
            await self.take_registry(settings.registry)
        await asyncio.to_thread(take_people, self.desk, self.registry)
        if settings.hj212_port >= 0:
            self.ports.hj212 = await self.gateway.listen(settings.host, settings.hj212_port)
        if settings.tls_port >= 0:
            self.ports.tls = await self.gateway.listen(settings.host, settings.tls_port, tls=tls_context(settings))
        await self.serve_http()
        self.ports.metrics = self.monitor.start(settings.metrics_port, settings.metrics_host)
        jobs = (
            inputs.run_inputs(self.inputs),
            self.departments.run(),
            *(
                self.ticks(),
                self.project(),
                let_time_act(self.desk),
                self.old_log(),
                repair.look(self, self.gateway.ask, self.gateway.connected),
                self.monitor.beat(),
            ),
            *(carry(self.desk, CONTEXT, self._tell_judge), carry(self.desk, CASE_EVENTS, self.outputs.take_case_events)),
            self.outputs.run(self.outputs.sources(self.store, self.log, self.desk)),
        )
        tasks = [asyncio.ensure_future(job) for job in jobs]
        ready(self.ports)
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(stop.wait()), self.gateway.lost, *tasks]
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        await self._close(tasks)
        for task in done:
            result = task.exception() or task.result()
            if isinstance(result, BaseException):
                raise result

    async def _close(self, tasks: Sequence[asyncio.Future[Any]]) -> None:
        """Stop taking, finish writing, let go."""
        await asyncio.to_thread(self.monitor.close)
        self.web.close()
        await self.gateway.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.writer.close()
        self.departments.close()
        self.log.close()
        self.outputs.close()
        self.desk.close()
        self.link.close()
