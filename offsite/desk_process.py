"""The desk of the distributed runtime: alerts, leads, cases and the console, on a database of their own.

Settings enter. Pages and the API are served until a stop; verdicts leave for `context`, lines of the ledgers for `case-events`, each
dropped from the database only once every in-sync replica has it. The registry and its persons come from the topic `registry`. Alerts
and leads are projected into the same database by the agents. While the database, Kafka or the chart history is away, the process waits
for it and says so; what a person was told is done is in the database.

What it can say of judging is what the agents note in the database: how far each partition was judged, and the workers' books. Which
devices are connected the gateways tell.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from cases.db import Row
from cases.store import Desk
from connectors.core import JSON, Clock, ConnectorError, Record, Refused, Retry
from connectors.hj212.exchange import Outcome
from connectors.kafka import Cluster
from connectors.kafka_sender import Sender
from console.api import conditions
from console.app import create_app
from console.ports import History
from offsite import books, kafka_registry, repair
from offsite.commanded import RemoteGateway
from offsite.data_dir import actor
from offsite.departments import Departments
from offsite.desk_work import carry, let_time_act, take_people
from offsite.device_routes import command_router
from offsite.patience import patiently
from offsite.presence import Presence
from offsite.process_monitor import desk_monitor
from offsite.reference_open import kafka_ways
from offsite.registered import device_row
from offsite.serving import foreground
from offsite.settings import Settings
from offsite.site_card import site_card
from offsite.supervisor import clock_of
from offsite.web import Web
from streams.registry_model import Registry
from streams.topics import CASE_EVENTS

if TYPE_CHECKING:
    from streams.history_influx import InfluxHistory

CONTEXT = "context"
_log = logging.getLogger("offsite")


def history_of(settings: Settings, clock: Clock) -> History:
    """Return the chart history: InfluxDB if the settings name one, else the archive."""
    if not settings.influx.url:
        from streams.archive import Archive

        return Archive(settings.archive, settings.archive_storage())
    return influx_of(settings, clock)


def influx_of(settings: Settings, clock: Clock) -> InfluxHistory:
    """Return the InfluxDB of the settings; nothing is asked of it yet."""
    from connectors.influx import Influx
    from streams.history_influx import InfluxHistory

    given = settings.influx
    days = {"realtime": given.realtime_days, "minute": given.minute_days, "hour": given.hour_days}
    return InfluxHistory(Influx(given.url, given.org, given.secret_token(), given.ca), given.bucket, clock, days)


class DeskProcess:
    """The parts of one desk. Create it inside the event loop."""

    def __init__(self, desk: Desk, history: History, cluster: Cluster, clock: Clock, settings: Settings) -> None:
        self.desk, self.history, self.cluster, self.clock, self.settings = desk, history, cluster, clock, settings
        self.remote = RemoteGateway(cluster, clock)
        self.presence = Presence(clock)
        self.registry = Registry()
        self.departments = Departments(settings, desk, clock, history, lambda: self.registry, kafka_ways(settings))
        self.web = Web()
        self._stopping = threading.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # --- what the pages ask

    def devices(self) -> list[Row]:
        """Return one row a device, the registered ones first; `online` is None while no gateway is heard."""
        known, presence = self.registry.by_mn, self.presence
        return [
            device_row(mn, known.get(mn, ()), online=presence.online(mn), last_seen=presence.last_seen(mn))
            for mn in (*known, *sorted(presence.devices() - known.keys()))
        ]

    def books(self) -> Row:
        """Return the books that the agents have noted, all partitions together; empty counts before the first."""
        found = self.desk.judged()
        return books.of_counts(found.counts if found else {}) | {"cases": sum(self.desk.counts()["cases"].values())}

    def clock_info(self) -> Row:
        """Return the log time that every partition was judged up to, None before the first note."""
        found = self.desk.judged()
        return {"judged": found.at if found else None, "speed": getattr(self.clock, "speed", 1.0)}

    def app(self) -> Any:
        """Return the console."""
        return create_app(
            self.desk,
            self.history,
            clock=self.clock,
            books=self.books,
            registry=lambda site: self.departments.card(site_card(self.registry, site)),
            devices=self.devices,
            clock_info=self.clock_info,
            stopping=self.web.stopping,
            title=self.settings.title,
        )

    async def command(self, mn: str, cn: str, params: dict[str, Any], by: str | None) -> Row:
        """Have the gateway that holds a device give it a command; what was asked, by whom and how it ended is in the audit."""
        if mn not in self.registry.by_mn:
            raise Refused(f"{mn} is in no registry; publish one that has it first")
        person = await asyncio.to_thread(actor, self.desk, by)
        outcome = await self.ask(mn, cn, params, person)
        told = {"qn_rtn": outcome.qn_rtn, "exe_rtn": outcome.exe_rtn, "fault": outcome.fault or None}
        await asyncio.to_thread(self.desk.record, person, "device.command", mn, {"cn": cn, "params": params} | told)
        return told

    async def ask(self, mn: str, cn: str, params: Mapping[str, str | int], by: str | None = None) -> Outcome:
        """Have the gateway that holds a device's connection give it a command; keyed by the device's site."""
        points = self.registry.by_mn.get(mn)
        return await self.remote.ask(points[0].site if points else mn, mn, cn, params, by)

    # --- what it does

    async def run(self, port: int, stop: asyncio.Event, ready: Callable[[int], None]) -> None:
        """Serve until `stop`. Raises Lost when a part needs a person."""
        follower = threading.Thread(target=self._follow, args=[asyncio.get_running_loop()], name="registry", daemon=True)
        follower.start()
        monitor = desk_monitor(self.settings, self.clock, databases={"desk": self.desk.last_event_id}, history={})
        app = self.app()
        app.include_router(conditions.router(monitor.conditions))
        app.include_router(command_router(self.command))
        app.include_router(self.departments.router())
        opened = await self.web.serve(app, "127.0.0.1", port)
        monitor.start(self.settings.metrics_port, self.settings.metrics_host)
        jobs = [
            monitor.beat(),
            self.remote.listen(self._stopping),
            self.presence.listen(self.cluster, self._stopping),
            repair.look(self, self.ask, lambda _: True),
            let_time_act(self.desk),
            self.departments.run(),
            *(carry(self.desk, topic, self._to(topic)) for topic in (CONTEXT, CASE_EVENTS)),
        ]
        tasks = [asyncio.ensure_future(job) for job in jobs]
        ready(opened)
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(stop.wait()), self._failed, *tasks]
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        self.web.close()
        self._stopping.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(follower.join)
        monitor.close()
        self.departments.close()
        for one in done:
            one.result()

    def _to(self, topic: str) -> Callable[[Sequence[Row]], Awaitable[None]]:
        """Return what makes messages durable in a topic of Kafka."""
        sender = Sender(self.cluster, f"desk-{topic}")

        async def put(rows: Sequence[Row]) -> None:
            records = [Record(topic, row["site"], -1, JSON, orjson.dumps(row)) for row in rows]
            await asyncio.to_thread(sender.send, records)

        return put

    def _follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take up each registry that is published; runs in a thread of its own."""
        try:
            self._take(self.registry)
            kafka_registry.follow(self.cluster, self._take, self._stopping.is_set)
        except ConnectorError as error:
            loop.call_soon_threadsafe(self._fail, error)

    def _take(self, registry: Registry) -> None:
        """Let a registry hold here, and its persons once the database takes them."""
        self.registry = registry
        while not self._stopping.is_set():
            try:
                take_people(self.desk, registry)
            except Retry as away:
                _log.warning("the registry's persons wait: %s", away)
                self._stopping.wait(away.after)
            except Refused as refused:
                _log.error("the registry's persons stay as they were: %s", refused)
                return
            else:
                return

    def _fail(self, error: ConnectorError) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)


async def serve(settings: Settings, stop: asyncio.Event, ready: Callable[[int], None]) -> None:
    """Run the desk of the settings until `stop`. Raises ConnectorError or SettingsFaults."""
    clock, cluster, url = clock_of(settings), settings.cluster(), settings.desk_database()
    opening = asyncio.ensure_future(patiently(lambda: asyncio.to_thread(Desk, url, clock=clock)))
    await asyncio.wait([opening, asyncio.ensure_future(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():
        opening.cancel()
        return
    with opening.result() as desk:
        process = DeskProcess(desk, history_of(settings, clock), cluster, clock, settings)
        await process.run(settings.desk_port, stop, ready)


def run(settings: Settings) -> int:
    """Run the desk in the foreground; the first line on stdout names its port. Returns the exit code."""
    return foreground("desk", lambda stop: serve(settings, stop, lambda port: print(json.dumps({"desk": port}), flush=True)))  # noqa: T201
