"""The I/O process: gateway, HTTP ingest, desk, ticks, projection and gap repair, around one log. It never judges.

Settings and the data directory enter; sockets are served until `stop` is set. Every part is made here and handed what it needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import uvicorn

from cases.people import DEFAULT
from cases.store import Desk
from connectors.core import JSON, Clock, Lost, Record, Retry
from connectors.hj212.server import Gateway
from connectors.http import Scope, ingest_app
from connectors.http_keys import AnswerBook
from connectors.log_writer import LogWriter
from connectors.sqlite_log import SqliteLog, day_of
from console.app import create_app
from offsite import books, repair
from offsite.devices import Devices
from offsite.intake import Intake, decode
from offsite.registered import held, load_current, put_current
from offsite.settings import Settings
from streams import registry as registries
from streams.engine import CONTEXT, registry_record, tick_record
from streams.history import History
from streams.plan.load import HOUR, MINUTE
from streams.store import StateStore

TICK_LOOK = 0.05
"""Seconds between two looks at the clock for a new minute of log time."""
PROJECT_EVERY = 0.1
PROJECT_AT_ONCE = 500
DAY = 24 * HOUR
LOG_DAYS = 14
DROP_EVERY = 3600.0
TELL_EVERY = 0.5
_log = logging.getLogger("offsite")


@dataclass(slots=True)
class Ports:
    """What the product listens on, once it does; -1 = left out."""

    hj212: int = -1
    tls: int = -1
    http: int = -1
    desk: int = -1


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
        self.devices = Devices(self, settings)
        self.gateway = Gateway(self._frame, clock=clock, device=self.devices.settings, reject=self.intake.bad)
        self.servers: list[uvicorn.Server] = []

    async def _frame(self, frame: Any, header: Any, peer: str) -> None:
        await self.intake.frame(frame, header, peer)
        self.devices.seen(header.mn)

    # --- registry

    async def take_registry(self, path: Path) -> None:
        """Let a registry hold: from this offset of the log on, and for the gateway from now on."""
        registry = registries.load(path)
        if registries.registry_hash(registry) != registries.registry_hash(self.registry):
            await self.writer.append(registry_record(registry, -1))
            put_current(self.settings.data, registry)
            self.registry = registry
        people = [
            {n: getattr(p, n) for n in ("person", "name", "role", "org", "org_level", "district", "site", "phone")}
            for p in registry.people
        ]
        if people:
            await asyncio.to_thread(self.desk.put_people, people)

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
            app = ingest_app(self.intake.rows, self.authenticate, decode=decode, answers=answers)
            self.ports.http = await self._serve(app, settings.http_port)
        if settings.desk_port >= 0:
            stopping: list[bool] = []
            desk = create_app(
                self.desk,
                self.history,
                clock=self.clock,
                books=self.books,
                registry=self.devices.site_card,
                devices=self.devices.listed,
                clock_info=self._clock_info,
                stopping=lambda: bool(stopping) or any(s.should_exit for s in self.servers),
                title=settings.title,
            )
            desk.include_router(self.devices.router())
            self.ports.desk = await self._serve(desk, settings.desk_port, host="127.0.0.1")

    async def _serve(self, app: Any, port: int, host: str | None = None) -> int:
        """Run an ASGI app on this loop; return its port. Raises Lost if the port is in use."""
        address = host or self.settings.host
        config = uvicorn.Config(
            app, host=address, port=port, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2
        )
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # the supervisor owns the signals
        try:
            sock = config.bind_socket()
        except SystemExit as error:
            raise Lost(f"port {address}:{port} cannot be opened; choose another port or stop its owner") from error
        self.servers.append(server)
        config.load()
        server.lifespan = config.lifespan_class(config)
        asyncio.get_running_loop().create_task(server.serve([sock]))
        return int(sock.getsockname()[1])

    def books(self) -> dict[str, Any]:
        """Return the books of design §8, with what the gateway has counted beside them."""
        return books.of_stores(self.store, self.desk) | {"gateway": self.gateway.counters.snapshot()}

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
            moved = await self._patiently(self._project_once)
            if not moved:
                await asyncio.sleep(PROJECT_EVERY)

    async def _patiently(self, work: Callable[[], int]) -> int:
        """Do the desk's work off the loop; while its database is busy or its disk is full, nothing moves and nothing ends."""
        try:
            return await asyncio.to_thread(work)
        except Retry as full:
            _log.warning("%s", full)
            await asyncio.sleep(full.after)
            return 0

    def _project_once(self) -> int:
        outputs = self.store.outputs(self.desk.position(), PROJECT_AT_ONCE)
        if outputs:
            self.desk.project(outputs, outputs[-1][0])
        return len(outputs)

    def _held(self) -> Counter[str]:
        """Count what the log holds of devices and sites that nobody has registered."""
        return Counter(r.key for r in held(self.log))

    async def desk_time(self) -> None:
        """Let time act on the desk: shelves that end, answers that are overdue."""
        while True:
            await asyncio.sleep(1.0)
            await self._patiently(self.desk.tick)

    async def tell_judge(self) -> None:
        """Carry what people decided to the log as `context`; a message is dropped once it is durable there."""
        while True:
            await asyncio.sleep(TELL_EVERY)
            with contextlib.suppress(Retry):  # the desk is busy or the log behind: the messages wait in the outbox
                for message in await asyncio.to_thread(self.desk.outgoing):
                    body = orjson.dumps({name: message[name] for name in ("id", "kind", "site", "at", "body")})
                    await self.writer.append(Record(CONTEXT, message["site"] or "", -1, JSON, body))
                    await asyncio.to_thread(self.desk.sent, message["id"])

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
        if not await asyncio.to_thread(self.desk.people):
            await asyncio.to_thread(self.desk.put_people, DEFAULT)
        if settings.hj212_port >= 0:
            self.ports.hj212 = await self.gateway.listen(settings.host, settings.hj212_port)
        if settings.tls_port >= 0:
            self.ports.tls = await self.gateway.listen(settings.host, settings.tls_port, tls=_tls(settings))
        await self.serve_http()
        tasks = [
            asyncio.ensure_future(job)
            for job in (self.ticks(), self.project(), self.desk_time(), self.tell_judge(), self.old_log(), repair.look(self))
        ]
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
        for server in self.servers:
            server.should_exit = True
        await self.gateway.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.writer.close()
        self.log.close()
        self.desk.close()


def _tls(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(str(settings.tls_cert), str(settings.tls_key))
    return context
