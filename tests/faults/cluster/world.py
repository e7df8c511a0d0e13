"""Workers on a Kafka cluster in memory, in virtual time: the real worker and the real step, everything else drawn from one seed.

Gateways append, some frames twice; workers start, die, fall asleep, wake as zombies and are replaced; the group rebalances, the
cluster goes away, transactions are left open. Then the faults end, everything is judged, and what is committed is compared with
one engine that judges the same log, tick by tick, without any fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import orjson

from connectors.core import HJ212, JSON, Lost, Record
from connectors.kafka import partition_of
from streams import registry as registries
from streams.cross_site import Stage, Summary
from streams.engine import Engine
from streams.gate import Gate
from streams.records import CONTEXT, answer_record, registry_record
from streams.topics import ALERTS, LEADS, SUMMARIES
from streams.worker import Setting, Worker
from tests.faults.cluster.broker import Broker, Group, messages
from tests.faults.cluster.links import Asleep, Died, MemoryLinks
from tests.faults.world.devices import LIMIT, programme
from tests.faults.world.loop import HOUR, MINUTE, START
from tests.faults.world.world import Report, mn, plan, registry

EMISSIONS = "emission-monitoring"
HOURS = 3.2
SESSION, ABORT = 15_000, 60_000
"""Milliseconds after which a silent member is taken for gone, and an open transaction for dead."""
NAMES = ("w1", "w2", "w3")


@dataclass(frozen=True, slots=True)
class Build:
    """What ties the workers to the cluster; the broken builds replace it."""

    links: type[MemoryLinks] = MemoryLinks


@dataclass(slots=True)
class Sleeper:
    """A worker that was stopped: its name, since when, and what it does when it is woken."""

    name: str
    member: int
    since: int
    go_on: Callable[[], object]


@dataclass
class Cluster:
    """One seed."""

    seed: int
    build: Build
    now: int = START
    calm: bool = False
    workers: dict[str, Worker] = field(default_factory=dict)
    sleepers: list[Sleeper] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)
        self.partitions = self.rng.choice([1, 2, 3, 4])
        self.broker, self.group = Broker(self.partitions), Group(self.partitions)
        self.known = registry(LIMIT, self.rng.randint(3, 5))
        self.report = Report(self.seed, [])
        self.stage = Stage(self.partitions, replace(plan().cross_site, points=99))  # it answers, but excuses nobody
        self._asked = 0

    # --- life

    def run(self) -> Report:
        """Live, come to rest, and compare."""
        for partition in range(self.partitions):
            part = registries.part_of(self.known, lambda site, p=partition: partition_of(site, self.partitions) == p)
            self.broker.append((CONTEXT, partition), registry_record(part, START), START)
        uploads = sorted(self._uploads(), key=lambda pair: pair[0])
        for at, record in uploads:
            while self.now + 20_000 < at:
                self.now += self.rng.choice([5_000, 20_000])
                self._act()
            self.now = max(self.now, at)
            self._send(record)
            self._act()
        self._rest()
        self.report.log, self.report.sent = len(uploads), len(uploads)
        self.report.outputs = sum(len(list(self._put_out(p))) for p in range(self.partitions))
        self.report.broken += [sentence for p in range(self.partitions) for sentence in self._compare(p)]
        return self.report

    def say(self, what: str, *, fault: bool = True) -> None:
        """Note what happened."""
        self.report.faults += fault
        self.report.trace.append(f"{(self.now - START) / 1000:9.1f} s  {what}")

    def _uploads(self) -> Iterator[tuple[int, Record]]:
        for number, point in enumerate(self.known.points):
            for upload in programme(self.rng, mn(number), number, HOURS):
                yield START + round(upload.at * 1000), Record(EMISSIONS, point.site, -1, HJ212, upload.frame.strip())

    def _send(self, record: Record) -> None:
        for _ in range(2 if self.rng.random() < 0.05 else 1):
            self.broker.append((EMISSIONS, partition_of(record.key, self.partitions)), record, self.now)

    def _act(self) -> None:
        """Let one thing happen."""
        draw = 1.0 if self.calm else self.rng.random()
        if draw < 0.02:
            self.broker.away = not self.broker.away
            self.say(f"the cluster is {'away' if self.broker.away else 'back'}")
        elif draw < 0.05 and self.workers:
            self._end(self.rng.choice(sorted(self.workers)), "is killed")
        elif draw < 0.09:
            self._start(self.rng.choice(NAMES))
        elif draw < 0.11 and len(self.workers) > 1:
            name = self.rng.choice(sorted(self.workers))
            self._end(name, "stops")
            self.group.leave(name)
        self._sessions()
        if not self.workers and not self.broker.away:
            self._start("w1")
        for name in sorted(self.workers, key=lambda _: self.rng.random()):
            self._step(name)
        self._answer()

    def _start(self, name: str) -> None:
        """Start a worker; one that runs or sleeps under its name is fenced."""
        links = self.build.links(self.broker, self.group, name, self.rng, now=lambda: self.now, calm=lambda: self.calm)
        try:
            self.workers[name] = Worker(links, plan(), Setting(name), clock=lambda: self.now, seconds=lambda: self.now / 1000)
        except Lost as lost:
            self.say(f"{name} can't start: {lost}")
            return
        self.say(f"{name} starts", fault=False)

    def _end(self, name: str, how: str) -> None:
        self.say(f"{name} {how}")
        del self.workers[name]

    def _step(self, name: str) -> None:
        worker = self.workers.get(name)
        if worker is None or (not self.calm and self.rng.random() < 0.3):
            return
        try:
            worker.run_once()
        except Died:
            self._end(name, "is killed in a commit")
        except Asleep as asleep:
            self.sleepers.append(Sleeper(name, self.group.members.get(name, 0), self.now, asleep.go_on))
            self._end(name, "falls asleep in a commit")
        except Lost as lost:
            self._end(name, f"ends: {lost}")

    def _sessions(self) -> None:
        """Take for gone who has not been heard of, and wake sleepers: most go on where nobody waits for them any more."""
        self.broker.expire(self.now - ABORT)
        for name in sorted(set(self.group.members) - set(self.workers)):
            quiet = all(each.name != name or self.now - each.since > SESSION for each in self.sleepers)
            if quiet and (self.calm or self.rng.random() < 0.2):
                self.group.leave(name)
        for each in list(self.sleepers):
            if self.rng.random() < 0.1 or self.calm:
                self.sleepers.remove(each)
                try:
                    each.go_on()
                except Lost as lost:
                    self.say(f"{each.name} wakes and ends: {lost}")
                else:
                    self.say(f"{each.name} wakes, commits and is killed")

    def _answer(self) -> None:
        """Let the cross-site stage hear and answer, late now and then."""
        if self.broker.away or (not self.calm and self.rng.random() < 0.3):
            return
        for offset, entry in self.broker.committed((SUMMARIES, 0), self._asked):
            body = orjson.loads(entry.value or b"")
            self.stage.put(body["partition"], Summary.from_json(body), self.now / 1000)
            self._asked = offset + 1
        for partition, tick, excused in self.stage.answers(self.now / 1000):
            self.broker.append((CONTEXT, partition), answer_record(tick, excused), self.now)

    def _rest(self) -> None:
        """End all faults and judge everything."""
        self.say("the faults end", fault=False)
        self.calm, self.broker.away = True, False
        until = START + int(HOURS * HOUR) + 40 * MINUTE
        while self.now < until:
            self.now += 20_000
            self._act()
        for _ in range(400):
            self._act()
            if self.workers and self._judged():
                return
        self.report.broken.append("it does not come to rest")

    def _judged(self) -> bool:
        parts = [part for worker in self.workers.values() for part in worker.parts.values()]
        return len(parts) == self.partitions and all(
            part.merge.idle and part.merge.tick >= self.now // MINUTE * MINUTE for part in parts
        )

    # --- what came of it

    def _put_out(self, partition: int) -> Iterator[tuple[str, Any]]:
        for topic in (ALERTS, LEADS):
            for _, entry in self.broker.committed((topic, partition)):
                yield topic, orjson.loads(entry.value or b"")

    def _compare(self, partition: int) -> Iterator[str]:
        """Say where the committed outputs and books differ from those of one engine without faults over the same log."""
        came = sorted(self._put_out(partition), key=lambda pair: (pair[1]["site"], pair[1]["seq"]))
        due, books = self._reference(partition)
        due.sort(key=lambda pair: (pair[1]["site"], pair[1]["seq"]))
        if came != due:
            wrong = next(
                (f"{a} instead of {b}" for a, b in zip(came, due, strict=False) if a != b), f"{len(came)} for {len(due)}"
            )
            yield f"promise 2: partition {partition}: outputs differ: {wrong}"
        held = [part for worker in self.workers.values() for number, part in worker.parts.items() if number == partition]
        for part in held:
            if part.books() != books:
                names = {n for n in {*part.books(), *books} if part.books().get(n) != books.get(n)}
                told = {n: (part.books().get(n), books.get(n)) for n in sorted(names)}
                yield f"promise 1: partition {partition}: books differ (came, due): {told}"

    def _reference(self, partition: int) -> tuple[list[tuple[str, Any]], dict[str, int]]:
        """Judge a partition's log in the order of its ticks."""
        engine = Engine(plan(), gate=Gate(partition, self.partitions), asks=True)
        outputs: list[tuple[str, Any]] = []
        for piece in self._sequence(partition):
            left = piece
            while left:
                step, _ = engine.step(left)
                left = left[len(step.records) :]
                outputs += [
                    (ALERTS if kind == "alert" else LEADS, orjson.loads(orjson.dumps(body))) for kind, _, body in step.outputs
                ]
        return outputs, dict(engine.state.books)

    def _sequence(self, partition: int) -> Iterator[list[Record]]:
        """Yield the log in pieces that end with a tick: what it says was judged before it, and the tick."""
        frames = messages(self.broker.committed((EMISSIONS, partition)), EMISSIONS, partition)
        context = messages(self.broker.committed((CONTEXT, partition)), CONTEXT, partition)
        start = {EMISSIONS: 0, CONTEXT: 0}
        for record in context:
            body = orjson.loads(record.body)
            if body["kind"] == "tick":
                ends = body["ends"]
                yield [
                    *self._between(context, start, ends),
                    *self._between(frames, start, ends),
                    Record(CONTEXT, "", -1, JSON, record.body),
                ]
                start = ends
        yield [*self._between(context, start, {}), *self._between(frames, start, {})]

    @staticmethod
    def _between(records: list[Record], start: dict[str, int], ends: dict[str, int]) -> list[Record]:
        """Return records from `start` to `ends`, without the ticks and answers among them."""
        found = [r for r in records if start[r.topic] <= r.offset < ends.get(r.topic, r.offset + 1)]
        return [r for r in found if not r.body.startswith((b'{"kind":"tick"', b'{"kind":"cross_site"'))]


def simulate(seed: int, build: Build | None = None) -> Report:
    """Run one seed."""
    return Cluster(seed, build or Build()).run()
