"""The gateway of the distributed runtime: devices, HTTP and further inputs in, records of Kafka out. As many as there are addresses.

A device is answered once every in-sync replica has its frame, or, while Kafka is away, once it is on this gateway's disk. What is
of an unknown device or illegible becomes a dead letter. Commands from `device-commands` are given by the gateway that holds the
device's connection; the outcome leaves for `device-replies`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson

from cases.store import Desk
from connectors.accept import Doors
from connectors.core import JSON, Clock, ConnectorError, Record
from connectors.hj212.server import Gateway
from connectors.http import HttpCounters, ingest_app
from connectors.http_keys import AnswerBook
from connectors.kafka import Cluster
from connectors.kafka_log import KafkaLog
from connectors.spool import Spool
from offsite import inputs, kafka_registry
from offsite.commanded import follow_commands
from offsite.departments import Departments
from offsite.desk_process import history_of
from offsite.devices import DeviceBook
from offsite.intake import Intake, decode
from offsite.io_process import Ports
from offsite.key_memory import KeyMemory
from offsite.patience import patiently
from offsite.presence import Teller
from offsite.process_monitor import Spool as Kept
from offsite.process_monitor import gateway_monitor
from offsite.receipts import Receipts
from offsite.reference_open import kafka_ways
from offsite.serving import serve_until, tls_context
from offsite.settings import Settings
from offsite.supervisor import clock_of, open_ports
from offsite.web import Web
from streams.dead_letters import outgoing
from streams.registry_model import Registry
from streams.topics import DEVICE_REPLIES

SPOOL_BYTES = 4 << 30
"""Bytes of frames that wait on disk at most: about three days of a city (design §1)."""
FILE = "spool.sqlite"
_log = logging.getLogger("offsite")


class GatewayProcess:
    """The parts of one gateway. Create it inside the event loop. `partitions` is how many the inputs have."""

    def __init__(self, settings: Settings, cluster: Cluster, desk: Desk, clock: Clock, *, partitions: int) -> None:
        self.settings, self.cluster, self.clock = settings, cluster, clock
        self.registry, self.ports, self.web = Registry(), Ports(), Web()
        self.keys = KeyMemory(desk, clock)
        self.departments = Departments(
            settings, desk, clock, history_of(settings, clock), lambda: self.registry, kafka_ways(settings)
        )
        self.spool = Spool(settings.spool / FILE, bound=SPOOL_BYTES)
        self.log = KafkaLog(cluster, self.spool, partitions=partitions, clock=clock, letter=outgoing)
        self.intake = Intake(self.log, lambda: self.registry)
        self.devices = DeviceBook(settings, lambda: self.registry)
        self.receipts = Receipts(time.monotonic)
        self.presence = Teller(cluster, settings.instance, clock)
        accept = self.presence.frames(self.receipts.frames(self.intake.frame))
        self.gateway = Gateway(accept, clock=clock, device=self.devices.settings, reject=self.intake.bad)
        self.inputs = inputs.build(settings.inputs, self._doors(), lambda name: partial(self.intake.rows, source=name))
        self._http: HttpCounters | None = None
        self._stopping = threading.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._known: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the registry in force is known: before, every device would be an unknown one."""

    def _doors(self) -> Doors:
        folder = self.settings.data / inputs.FOLDER
        dialect = lambda mn: self.devices.settings(mn).dialect  # noqa: E731 - one of eight arguments
        return Doors(
            self.intake.rows, decode, self.intake.frame, self.intake.bad, dialect, self.clock, folder, self.settings.instance
        )

    async def run(self, stop: asyncio.Event, ready: Callable[[Ports], None]) -> None:
        """Serve until `stop`. Raises Lost when a part needs a person."""
        follower = threading.Thread(target=self._follow, args=[asyncio.get_running_loop()], name="registry", daemon=True)
        follower.start()
        monitor = gateway_monitor(
            self.settings,
            self.clock,
            gateway=self.gateway.counters,
            receipts=self.receipts,
            spool=self._kept,
            http=lambda: self._http,
        )
        stopping = asyncio.ensure_future(stop.wait())
        waits: list[asyncio.Future[Any]] = [self._known, self._failed, stopping]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        await self._listen()
        self.ports.metrics = monitor.start(self.settings.metrics_port, self.settings.metrics_host)
        commands = follow_commands(self.cluster, self.gateway, self._reply, self.clock, self._stopping)
        jobs = [monitor.beat(), inputs.run_inputs(self.inputs), commands, self.presence.run(self.gateway)]
        try:
            await serve_until(stop, jobs, [self.gateway.lost, self._failed], lambda: ready(self.ports))
        finally:
            self._stopping.set()
            self.web.close()
            await self.gateway.close()
            await self.log.close()
            await asyncio.to_thread(follower.join)
            self.spool.close()
            self.departments.close()
            monitor.close()

    async def _listen(self) -> None:
        settings = self.settings
        if settings.hj212_port >= 0:
            self.ports.hj212 = await self.gateway.listen(settings.host, settings.hj212_port)
        if settings.tls_port >= 0:
            self.ports.tls = await self.gateway.listen(settings.host, settings.tls_port, tls=tls_context(settings))
        if settings.http_port >= 0:
            settings.data.mkdir(parents=True, exist_ok=True)
            answers = AnswerBook(settings.data / "answers.sqlite", self.clock)
            routes = [*(one.routes for one in self.inputs), self.departments.routes]
            app = ingest_app(self.intake.rows, self.keys.check, decode=decode, answers=answers, more=routes)
            self._http = app.state.counters
            self.ports.http = await self.web.serve(self.receipts.asgi(app), settings.host, settings.http_port)

    async def _reply(self, site: str, body: dict[str, Any]) -> None:
        """Tell how a command ended."""
        record = Record(DEVICE_REPLIES, site, -1, JSON, orjson.dumps(body))
        await patiently(partial(self._durable, record))

    async def _durable(self, record: Record) -> None:
        await self.log.append(record)

    def _kept(self) -> Kept:
        first = self.spool.first(1) if self.spool.count else []
        return Kept(self.spool.bytes, SPOOL_BYTES, first[0][1].arrived if first else None)

    def _follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take up each registry that is published; runs in a thread of its own."""

        def take(registry: Registry) -> None:
            self.registry = registry
            loop.call_soon_threadsafe(self._told)

        try:
            kafka_registry.follow(self.cluster, take, self._stopping.is_set)
        except ConnectorError as error:
            loop.call_soon_threadsafe(self._fail, error)

    def _told(self) -> None:
        if not self._known.done():
            self._known.set_result(None)

    def _fail(self, error: ConnectorError) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run the gateway of the settings until `stop`. Raises ConnectorError or SettingsFaults."""
    clock, cluster = clock_of(settings), settings.cluster()
    partitions = await patiently(lambda: asyncio.to_thread(kafka_registry.partitions_of, cluster))
    with Desk(settings.desk_database(), clock=clock, migrate=False) as desk:
        process = GatewayProcess(settings, cluster, desk, clock, partitions=partitions)
        await process.run(stop, lambda ports: print(json.dumps({"ready": open_ports(ports)}), flush=True))  # noqa: T201
