"""A steady load of which all is known: loggers that send over sockets until they are answered, and producers that write to Kafka.

Event time runs faster than the clock, from 25 minutes ago towards now, so that minutes of alerts fit into a short run. Every site
sends to one topic only: between topics the log's order is known to the millisecond, and what is numbered by site has to be exact.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from confluent_kafka import Producer

from connectors.hj212.commands import qn_from_ms
from connectors.hj212.frame import Frame, Framer
from connectors.hj212.header import parse
from connectors.kafka import Cluster, partition_of
from streams.codecs.hj212_encode import encode_frame
from streams.identity import rfc3339
from streams.registry_model import Bounds, Limit, Person, Point, Registry, Site

LIMIT = 50.0
HOUR, MINUTE = 3_600_000, 60_000
BEHIND = 25 * MINUTE
"""Event time at the start lies so far back: its hour is open for another 5 minutes at least."""
PATIENCE = 4.0
"""Seconds without an answer after which a frame is sent again."""
DOUBLED, CORRECTED = 0.05, 0.02
JSON_TOPICS = ("emission-monitoring", "sensor-readings")


def device_site(number: int) -> str:
    return f"C{number:03d}"


def mn_of(number: int) -> str:
    return f"{number:024d}"


def registry(devices: int, producers: int) -> Registry:
    """Every point has an operator of its own: silence of one is never excused by that of others."""
    names = [device_site(n) for n in range(devices)] + [f"J{n}" for n in range(producers)]
    mns = [mn_of(n) for n in range(devices)] + [""] * producers
    points = tuple(Point(name, "DA001", "gas", mn=mn, operator=f"运维 {name}") for name, mn in zip(names, mns, strict=True))
    limits = tuple(Limit(name, "DA001", "a21026", "hour", Bounds(None, LIMIT), "mg/m3", "permit") for name in names)
    sites = tuple(Site(name, f"企业 {name}") for name in names)
    return Registry(sites, points, limits=limits, people=(Person("li", "李值班", "operator"),))


@dataclass(slots=True)
class Sent:
    """What was acknowledged: frames as they are in the log, rows and messages of producers by topic; copies of either are counted."""

    frames: list[tuple[str, bytes, int]] = field(default_factory=list)
    """(site, frame, readings in it)."""
    messages: list[tuple[str, str, bytes, int]] = field(default_factory=list)
    """(topic, site, body, readings in it)."""
    copies: int = 0
    resent: int = 0
    slowest: float = 0.0
    """Seconds of the longest wait for an answer."""


@dataclass(slots=True)
class Waiting:
    """A frame that is not answered: readings in it, since when (s), and when it was sent last."""

    frame: bytes
    readings: int
    since: float
    sent: float = 0.0


Items = dict[str, dict[str, float | str]]


class Signal:
    """What one outlet measures: a step, a spell beyond the range, hours over the limit, each at some of the outlets."""

    def __init__(self, number: int, rng: Random, start: int) -> None:
        self.number, self.start, self._rng = number, start, rng
        self.step_at = start + 8 * MINUTE if number % 3 == 0 else 1 << 62
        self.wrong = range(start + 6 * MINUTE, start + 11 * MINUTE) if number % 3 == 1 else range(0)
        self.over = (1.1, 1.7, 2.4)[number // 6 % 3] if number % 2 == 0 else 0.8

    def at(self, moment: int) -> Items:
        """Return the real-time values of a moment."""
        rng = self._rng
        sulphur = 20.0 + rng.randrange(0, 300) / 100 + (460.0 if self.step_at <= moment < self.step_at + 5 * MINUTE else 0.0)
        oxygen = 25.0 if moment in self.wrong else 8.0 + rng.randrange(0, 100) / 100
        return {"a21026": {"Rtd": round(sulphur, 2), "Flag": "N"}, "a19001": {"Rtd": oxygen, "Flag": "N"}}

    def hour(self) -> Items:
        """Return the mean of an hour."""
        return {"a21026": {"Avg": round(LIMIT * self.over + self._rng.random(), 2), "Flag": "N"}}


def too_early(moment: int) -> bool:
    """Say whether event time has run so far ahead of the clock that a slow machine would have it refused."""
    return moment > time.time() * 1000 + 5 * MINUTE


def count(items: Items) -> int:
    return sum(name != "Flag" for pairs in items.values() for name in pairs)


class Logger:
    """One data logger: sends a frame every `period` s, some twice, each again until its 9014 has come."""

    def __init__(self, number: int, port: int, sent: Sent, *, period: float, speed: float, start: int) -> None:
        self.number, self.site, self._port, self._sent = number, device_site(number), port, sent
        self._period, self._step = period, round(period * speed * 1000)
        self._rng = Random(number)
        self._signal = Signal(number, self._rng, start)
        self._framer = Framer()
        self._writer: asyncio.StreamWriter | None = None
        self._qn = itertools.count(start + number)
        self.waiting: dict[str, Waiting] = {}

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Send until stopped, then until everything is answered."""
        reading = asyncio.ensure_future(self._read())
        moment = self._signal.start
        await asyncio.sleep(self._rng.random() * self._period)
        due = time.monotonic()
        while not stopped() or self.waiting:
            if not stopped() and not too_early(moment):
                for cn, at, items in self._due(moment):
                    self._put(cn, at, items)
                moment += self._step
            self._again()
            due += self._period
            await asyncio.sleep(max(0.0, due - time.monotonic()) if not stopped() else 0.2)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
        if self._writer is not None:
            self._writer.close()

    def _due(self, moment: int) -> Iterator[tuple[str, int, Items]]:
        yield "2011", moment, self._signal.at(moment)
        if self._rng.random() < CORRECTED:
            yield "2011", moment, self._signal.at(moment)
        if (moment - self._signal.start) // self._step % 12 == 6:
            hour = moment // HOUR * HOUR
            yield "2061", hour, self._signal.hour()

    def _put(self, cn: str, at: int, items: Items) -> None:
        qn = next(self._qn)
        frame = encode_frame(mn_of(self.number), cn, at, items, qn_ms=qn)
        self.waiting[qn_from_ms(qn)] = Waiting(frame, count(items), time.monotonic())
        self._send(qn_from_ms(qn))
        if self._rng.random() < DOUBLED:
            self._sent.copies += 1
            self._send(qn_from_ms(qn))

    def _again(self) -> None:
        for qn, each in list(self.waiting.items()):
            if time.monotonic() - each.sent > PATIENCE:
                self._sent.resent += 1
                self._send(qn)

    def _send(self, qn: str) -> None:
        if self._writer is not None:
            self.waiting[qn].sent = time.monotonic()
            self._writer.write(self.waiting[qn].frame)

    async def _read(self) -> None:
        """Keep a connection, and take answers."""
        while True:
            try:
                reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
                self._framer = Framer()
                while data := await reader.read(65_536):
                    self._heard(data)
            except OSError:
                pass
            self._writer = None
            await asyncio.sleep(0.3)

    def _heard(self, data: bytes) -> None:
        for item in self._framer.feed(data):
            assert isinstance(item, Frame), f"{self.site} was sent {item!r}, which is no frame"
            header = parse(item.segment)
            if header.cn == "9014" and (done := self.waiting.pop(header.qn, None)):
                self._sent.frames.append((self.site, done.frame.strip(), done.readings))
                self._sent.slowest = max(self._sent.slowest, time.monotonic() - done.since)


class Author:
    """One producer of JSON that writes to Kafka by itself: batches of rows of one site, some of them twice."""

    def __init__(self, number: int, cluster: Cluster, partitions: int, sent: Sent, *, speed: float, start: int) -> None:
        self.site, self._topic = f"J{number}", JSON_TOPICS[number % len(JSON_TOPICS)]
        self._cluster, self._partition, self._sent = cluster, partition_of(self.site, partitions), sent
        self._step = round(speed * 1000)
        self._rng = Random(1000 + number)
        self._signal = Signal(number, self._rng, start)
        given = cluster.librdkafka(acks="all", enable_idempotence=True, partitioner="murmur2", linger_ms=5)
        self._producer = Producer(given | {"log_level": 0})
        self.under_way = 0

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Write one batch a second until stopped, then wait for all of them."""
        moment = self._signal.start
        while not stopped():
            if not too_early(moment):
                self._put(self._rows(moment))
                moment += self._step
            until = time.monotonic() + 1.0
            while time.monotonic() < until:
                self._producer.poll(0)
                await asyncio.sleep(0.05)
        while self.under_way:
            self._producer.poll(0)
            await asyncio.sleep(0.05)

    def _rows(self, moment: int) -> list[dict[str, Any]]:
        found = []
        for at in range(moment, moment + self._step, max(self._step // 4, 1)):
            for factor, pairs in self._signal.at(at).items():
                place: dict[str, Any] = {"site": self.site, "point": "DA001", "factor": factor, "time": rfc3339(at)}
                found.append(place | {"period": "realtime", "stat": "rtd", "value": pairs["Rtd"], "flag": "N"})
        return found

    def _put(self, rows: list[dict[str, Any]]) -> None:
        body = json.dumps(rows).encode()
        for copy in range(2 if self._rng.random() < DOUBLED else 1):
            self._sent.copies += copy
            self.under_way += 1
            self._producer.produce(
                self._cluster.named(self._topic),
                body,
                self.site.encode(),
                self._partition,
                on_delivery=self._told((self._topic, self.site, body, len(rows))),
                headers={"content-type": "application/json"},
            )

    def _told(self, message: tuple[str, str, bytes, int]) -> Callable[[Any, Any], None]:
        def told(error: Any, _message: Any) -> None:
            assert error is None, f"{self.site}: {error}"
            self.under_way -= 1
            self._sent.messages.append(message)

        return told


class Load:
    """All of them, in a thread of its own."""

    def __init__(self, cluster: Cluster, port: int, *, partitions: int, devices: int, producers: int, speed: float) -> None:
        self.sent = Sent()
        self.start = int(time.time() * 1000) - BEHIND
        at: dict[str, Any] = {"speed": speed, "start": self.start}
        self.loggers = [Logger(n, port, self.sent, period=1.0, **at) for n in range(devices)]
        self.authors = [Author(n, cluster, partitions, self.sent, **at) for n in range(producers)]
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def begin(self) -> None:
        """Start sending."""
        self._thread.start()

    def finish(self, seconds: float) -> Sent:
        """Send nothing new; return what was acknowledged, once everything is."""
        self._stop.set()
        self._thread.join(seconds)
        left = Counter(
            {each.site: len(each.waiting) for each in self.loggers} | {each.site: each.under_way for each in self.authors}
        )
        assert not self._thread.is_alive(), f"not acknowledged after {seconds} s: {+left}"
        if self._failed:
            raise self._failed[0]
        return self.sent

    def close(self) -> None:
        """Give up what is not acknowledged."""
        self._stop.set()
        for logger in self.loggers:
            logger.waiting.clear()
        for author in self.authors:
            author.under_way = 0
        self._thread.join(10)

    def _run(self) -> None:
        async def everybody() -> None:
            everyone: list[Logger | Author] = [*self.loggers, *self.authors]
            await asyncio.gather(*(each.run(self._stop.is_set) for each in everyone))

        try:
            asyncio.run(everybody())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            self._failed.append(error)
