"""The agents: everything around the judge that is idempotent, each a sink that Faust runs and rebalances (streams/faust_app.py).

Settings enter. Alerts and leads are projected into the desk's database, history goes to the archive and to InfluxDB, silence is
compared across sites and answered on `context`, and what leaves for others is put into the durable queue and sent.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from random import Random
from typing import Any

import orjson

from cases.store import Desk
from connectors.core import Clock, ConnectorError, Record, Retry
from connectors.kafka import CONTENT_TYPE, Cluster
from connectors.kafka_sender import Sender
from console.names import Remembered
from offsite import kafka_registry
from offsite.archived import open_for_writing
from offsite.desk_process import influx_of
from offsite.outputs import Outputs
from offsite.patience import patiently
from offsite.process_monitor import agents_monitor
from offsite.serving import serve_until
from offsite.settings import Settings
from offsite.site_card import site_card
from offsite.supervisor import clock_of
from streams.archive import Archive
from streams.archive_sink import archive_sink
from streams.cross_site import Stage, Summary
from streams.faust_app import Message, Sink, app_of, serve
from streams.influx_sink import influx_sink
from streams.plan import load_plan
from streams.records import answer_record
from streams.registry_model import Registry
from streams.topics import ALERTS, CASE_EVENTS, INPUTS, LEADS, SUMMARIES

LOOK = 0.05
KINDS = {ALERTS: "alert", LEADS: "lead", CASE_EVENTS: "case-event"}


def desk_sink(desk: Desk) -> Sink:
    """Return the sink that projects alerts and leads into the desk's database, and notes how far the judging has come."""

    def put(messages: Sequence[Message]) -> None:
        outputs = [(0, KINDS[m.topic], m.key.decode(), orjson.loads(m.value)) for m in messages if m.topic in KINDS]
        if outputs:
            desk.project(outputs)
        latest = {m.key: orjson.loads(m.value) for m in messages if m.topic == SUMMARIES}
        for report in latest.values():
            desk.note_judged(report["partition"], report["tick"], report["books"])

    async def take(messages: Sequence[Message]) -> None:
        await asyncio.to_thread(put, messages)

    return Sink("desk", (ALERTS, LEADS, SUMMARIES), take)


def cross_site_sink(stage: Stage, seconds: Callable[[], float]) -> Sink:
    """Return the sink that hears which points are silent; `answering` tells the partitions what they have in common."""

    async def take(messages: Sequence[Message]) -> None:
        for message in messages:
            body = orjson.loads(message.value)
            stage.put(body["partition"], Summary.from_json(body), seconds())

    return Sink("cross-site", (SUMMARIES,), take)


async def answering(stage: Stage, send: Callable[[Record, int], None], seconds: Callable[[], float]) -> None:
    """Answer what is due, until cancelled. A partition that is not answered judges without it after a while."""
    while True:
        for partition, tick, excused in stage.answers(seconds()):
            await patiently(partial(asyncio.to_thread, send, answer_record(tick, excused), partition))
        await asyncio.sleep(LOOK)


def outputs_sink(outputs: Outputs) -> Sink:
    """Return the sink that puts alerts, leads and what people did into the durable queue of every target that wants them."""

    async def take(messages: Sequence[Message]) -> None:
        for m in messages:
            seq = orjson.loads(m.value).get("seq")
            await outputs.offer(KINDS[m.topic], m.key.decode(), seq, m.value)

    return Sink("outputs", tuple(KINDS), take)


def relay_sink(outputs: Outputs) -> Sink:
    """Return the sink that puts frames into the queue of every HJ 212 relay that wants them."""

    async def take(messages: Sequence[Message]) -> None:
        for m in messages:
            kind = m.headers.get(CONTENT_TYPE, b"").decode("latin-1")
            record = Record(m.topic, m.key.decode("utf-8", "replace"), m.arrived, kind, m.value, m.offset, m.partition)
            await outputs.offer_frame(m.topic, m.partition, record)

    return Sink("relay", INPUTS[:3], take)


class Agents:
    """The sinks of one process. Create it inside the event loop. `partitions` is how many the inputs have."""

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        desk: Desk,
        archive: Archive,
        clock: Clock,
        *,
        partitions: int,
        registry: Registry,
    ) -> None:
        self.settings, self.cluster, self.desk, self.clock = settings, cluster, desk, clock
        self.failures: Counter[str] = Counter()
        self.registry = registry
        card = Remembered(lambda site: site_card(self.registry, site))
        self.outputs = Outputs(settings, clock, owner=settings.instance, chance=Random(), card=card)  # noqa: S311 - jitter of retries
        self.stage = Stage(partitions, load_plan(settings.plan).cross_site)
        self._sender = Sender(cluster, "cross-site")
        self._archive = archive
        self._influx = influx_of(settings, clock) if settings.influx.url else None

    def sinks(self) -> Iterator[Sink]:
        """Yield what this process does; a sink that nothing is set up for is left out."""
        yield desk_sink(self.desk)
        yield cross_site_sink(self.stage, time.monotonic)
        yield self._counted(archive_sink(self._archive))
        if self._influx is not None:
            yield self._counted(influx_sink(self._influx))
        kinds = {output.takes for output in self.outputs.outputs}
        if "events" in kinds:
            yield outputs_sink(self.outputs)
        if "frames" in kinds:
            yield relay_sink(self.outputs)

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serve until `stop`. Raises Lost when a part needs a person."""
        ask: dict[str, Any] = {"influx": self._influx.prepare} if self._influx is not None else {}
        monitor = agents_monitor(
            self.settings,
            self.clock,
            databases={"desk": self.desk.last_event_id},
            history=ask,
            write_failures=self.failures,
            queues=self.outputs.queue.books,
        )
        monitor.start(self.settings.metrics_port, self.settings.metrics_host)
        apps = [app_of(self.cluster, sink) for sink in self.sinks()]
        serving = asyncio.ensure_future(serve(apps, stop))
        jobs = [monitor.beat(), answering(self.stage, self._answer, time.monotonic), self.outputs.run(), self._follow()]
        try:
            await serve_until(stop, jobs, [serving], ready)
        finally:
            stop.set()
            await serving
            self.outputs.close()
            monitor.close()

    async def _follow(self) -> None:
        """Take up each registry that is published, for the names and districts of letters; ends with Lost if it can't be read."""
        loop, stopping = asyncio.get_running_loop(), threading.Event()
        failed: asyncio.Future[None] = loop.create_future()

        def take(registry: Registry) -> None:
            self.registry = registry

        def read() -> None:
            try:
                kafka_registry.follow(self.cluster, take, stopping.is_set)
            except ConnectorError as error:
                loop.call_soon_threadsafe(failed.set_exception, error)

        threading.Thread(target=read, name="registry", daemon=True).start()
        try:
            await failed
        finally:
            stopping.set()

    def _answer(self, record: Record, partition: int) -> None:
        self._sender.send([record], partition)

    def _counted(self, sink: Sink) -> Sink:
        """Count what a history store could not take and is asked again."""

        async def take(messages: Sequence[Message]) -> None:
            try:
                await sink.take(messages)
            except Retry:
                self.failures[sink.name] += 1
                raise

        self.failures[sink.name] = 0
        return Sink(sink.name, sink.topics, take, sink.most)


async def serve_agents(settings: Settings, stop: asyncio.Event) -> None:
    """Run the agents of the settings until `stop`. Raises ConnectorError or SettingsFaults."""
    clock, cluster = clock_of(settings), settings.cluster()
    partitions = await patiently(lambda: asyncio.to_thread(kafka_registry.partitions_of, cluster))
    registry = await patiently(lambda: asyncio.to_thread(kafka_registry.current, cluster)) or Registry()
    archive = await patiently(lambda: asyncio.to_thread(open_for_writing, settings))
    url = settings.desk_database()
    desk = await patiently(lambda: asyncio.to_thread(lambda: Desk(url, clock=clock, migrate=False)))
    with desk:
        agents = Agents(settings, cluster, desk, archive, clock, partitions=partitions, registry=registry)
        told = json.dumps({"agents": settings.instance, "sinks": [sink.name for sink in agents.sinks()]})
        await agents.run(stop, lambda: print(told, flush=True))  # noqa: T201
