"""The Faust side of the distributed runtime: everything around the judge that is idempotent, one Faust app a sink.

Committed messages of the output topics enter, in order a partition; a sink takes them in batches; a message is acknowledged only
once its sink has returned. A sink that can't go on for now is tried again in place, one that fails otherwise ends the process
unacknowledged: Faust itself would acknowledge. Sinks are apps of their own, so that one that waits holds up no other; each
is scaled and rebalanced by Faust over as many processes as there are.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer
from faust.transport.drivers import aiokafka as driver

from connectors.core import Retry
from connectors.kafka import Cluster

_log = logging.getLogger("offsite")
SLOWEST = 5.0
"""Seconds between two tries at most: an operator waits no longer once the database is back."""
CRASHED = 70
"""Exit code of a process whose sink failed (EX_SOFTWARE of sysexits.h)."""
DAY_S = 86_400.0
SETTINGS: dict[str, Any] = {
    "autodiscover": False,
    "web_enabled": False,
    "topic_allow_declare": False,
    "topic_disable_leader": True,
    "consumer_auto_offset_reset": "earliest",
    "consumer_max_fetch_size": 20 << 20,
    "stream_wait_empty": False,
    "broker_commit_interval": 1.0,
    "broker_session_timeout": 10.0,
    "broker_heartbeat_interval": 2.0,
    "broker_request_timeout": 40.0,
    "broker_max_poll_interval": DAY_S,  # a sink may wait for its database for as long as it takes
    "stream_processing_timeout": DAY_S,
}
"""Faust's settings of every app."""


@dataclass(frozen=True, slots=True)
class Message:
    """One committed message: topic without prefix, where it lies, key, value, headers, log time (ms UTC)."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: dict[str, bytes]
    arrived: int


@dataclass(frozen=True, slots=True)
class Sink:
    """What is done with the messages of some topics. `take` returns once all of them are done; repeating it does no harm.

    It raises Retry to be called again with the same messages. `most` is the largest batch.
    """

    name: str
    topics: tuple[str, ...]
    take: Callable[[Sequence[Message]], Awaitable[None]]
    most: int = 500


class _Committed(driver.AIOKafkaConsumerThread):
    """A consumer that sees no aborted step. Faust 0.15.3 offers that only together with its own transactions."""

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # noqa: SLF001 - read when the consumer starts; a test aborts a step
        return consumer


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _Committed(self, loop=self.loop, beacon=self.beacon)

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """Let a gap of markers and aborted messages end before the message behind it.

        Faust 0.15.3 counts that message twice, and then commits no further than to the next gap: one transaction a commit.
        """
        await super()._add_gap(tp, offset_from, offset_to - 1)


class _Transport(driver.Transport):
    Consumer = _Consumer


class _App(faust.App):
    def _create_directories(self) -> None:
        """Make none: there are no tables, and the folder that a process was started in may be read-only."""


def app_of(cluster: Cluster, sink: Sink, *, end: Callable[[int], None] = os._exit) -> faust.App:
    """Return the app of one sink; `end` ends the process at once when the sink fails."""
    name = cluster.named(f"agents-{sink.name}")
    folder = Path(tempfile.gettempdir()) / f"{name}-faust"  # Faust wants one; without tables it keeps nothing there
    app = faust.App(name, **cluster.faust(), **SETTINGS, stream_buffer_maxsize=sink.most, datadir=folder)
    app.transport = _Transport([*app.conf.broker_consumer], app, loop=app.loop)
    topic = app.topic(*map(cluster.named, sink.topics), key_serializer="raw", value_serializer="raw")
    queue: asyncio.Queue[Any] = asyncio.Queue(sink.most)

    @app.agent(topic, name=f"{app.conf.id}-agent")
    async def _collect(stream: Any) -> None:
        async for event in stream.noack().events():
            await queue.put(event)

    @app.task  # type: ignore[untyped-decorator]
    async def _work() -> None:
        while True:
            events = await _batch(queue, sink.most)
            try:
                await _patiently(sink, [_message(event.message, cluster) for event in events])
            except Exception:  # noqa: BLE001 - whatever it is, Faust must not acknowledge
                _log.exception("sink %s failed; the process ends and loses nothing", sink.name)
                end(CRASHED)
                return
            for event in events:
                event.ack()

    return app


async def serve(apps: Sequence[faust.App], stopped: asyncio.Event) -> None:
    """Run apps until `stopped`, then let them leave their groups."""
    for app in apps:
        app.finalize()
        await app.start()
    await stopped.wait()
    for app in apps:
        await app.stop()


async def _batch(queue: asyncio.Queue[Any], most: int) -> list[Any]:
    """Wait for one event, and take what else has come."""
    events = [await queue.get()]
    while len(events) < most and not queue.empty():
        events.append(queue.get_nowait())
    return events


async def _patiently(sink: Sink, messages: Sequence[Message]) -> None:
    """Call the sink until it has taken the messages; wait longer each time, at most `SLOWEST`."""
    wait = 0.0
    while True:
        try:
            await sink.take(messages)
        except Retry as away:
            wait = min(max(away.after, 2 * wait), SLOWEST)
            _log.warning("sink %s: %s; again in %.0f s", sink.name, away, wait)
            await asyncio.sleep(wait)
        else:
            return


def _message(found: Any, cluster: Cluster) -> Message:
    headers = {str(name): bytes(value or b"") for name, value in found.headers or ()}
    if isinstance(found.headers, dict):
        headers = {name: bytes(value or b"") for name, value in found.headers.items()}
    stamp = round(found.timestamp * 1000)
    return Message(cluster.bare(found.topic), found.partition, found.offset, found.key or b"", found.value or b"", headers, stamp)
