"""The whole product in one process and in virtual time, with everything that may go wrong drawn from one seed.

Devices, network, gateway, log, judge, desk and people act for some virtual hours while connections break, disks fill, processes
die and clocks are set; then the faults end, all that is owed is delivered, and the promises are checked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from random import Random

from connectors.core import Lost
from connectors.hj212 import server
from connectors.memory import Fault, FaultyLog, MemoryLog
from streams.plan import load_plan
from streams.plan.load import Plan
from streams.records import registry_record, tick_record
from streams.registry_model import Bounds, Limit, Point, Registry, Site
from tests.faults.world.desk import AnyDesk, RealDesk, SmallDesk
from tests.faults.world.devices import LIMIT, Device, programme
from tests.faults.world.io import IoProcess, Writer
from tests.faults.world.judge import Crash, Died, Durable, Judge, Store
from tests.faults.world.loop import HOUR, MINUTE, START, Skewed, VirtualLoop, finish
from tests.faults.world.promises import Ended, broken

HOURS = 3.2
STRANGER = "9" * 24
server.SWEEP = 600.0  # virtual seconds; no time limit of a session is under test here


@dataclass(frozen=True, slots=True)
class Build:
    """What the product under test is made of; the broken builds replace a part."""

    writer: type[Writer] = Writer
    store: type[Store] = Store
    judge: type[Judge] = Judge


@dataclass(slots=True)
class Report:
    """What a run did and what it broke."""

    seed: int
    broken: list[str]
    log: int = 0
    sent: int = 0
    outputs: int = 0
    cases: int = 0
    faults: int = 0
    trace: list[str] = field(default_factory=list)


@cache
def plan() -> Plan:
    """Load the packaged plan once."""
    return load_plan()


def registry(limit: float, devices: int) -> Registry:
    """Return the registry of the simulated sites: one gas outlet each, with an hourly limit."""
    sites = tuple(Site(f"S{i}", f"S{i}") for i in range(devices))
    points = tuple(Point(f"S{i}", "DA001", "gas", mn=mn(i)) for i in range(devices))
    limits = tuple(Limit(f"S{i}", "DA001", "a21026", "hour", Bounds(None, limit), "mg/m3", "permit") for i in range(devices))
    return Registry(sites, points, (), limits)


def mn(number: int) -> str:
    """Return the MN of a device."""
    return f"{number:024d}"


class World:
    """One seed."""

    def __init__(self, seed: int, build: Build, *, real_desk: bool = False) -> None:
        self.seed, self.rng, self.build = seed, Random(seed), build
        self.loop = VirtualLoop()
        asyncio.set_event_loop(self.loop)
        self.clock = Skewed(self.loop.ms)
        self.log = MemoryLog(self.clock)
        self.disk = Durable()
        self.known = registry(LIMIT, self.rng.randint(2, 3))
        self.sites = {p.mn: p.site for p in self.known.points}
        self.desk: AnyDesk = RealDesk(START) if real_desk else SmallDesk(START)
        self.calm = False
        self.report = Report(seed, [])
        self._judge: Judge | None = None
        self._zombies: list[Judge] = []
        faulty = FaultyLog(self.log, {i: self.rng.choice(list(Fault)) for i in range(3, 600) if self.rng.random() < 0.02})
        self.io = IoProcess(faulty, self.clock, self.loop, self.rng, self.known, build.writer)
        names = [*self.sites, *([STRANGER] if self.rng.random() < 0.3 else [])]
        self.devices = [
            Device(name, programme(self.rng, name, i, HOURS), Random(seed * 100 + i), self.loop) for i, name in enumerate(names)
        ]

    def run(self) -> Report:
        """Live, come to rest, and check the promises."""
        try:
            self.loop.run_until_complete(self._live())
            end = Ended(self.log.records, self.disk, self.desk, self.devices, self.sites, plan())
            self.report.broken = self.report.broken or broken(end, self.rng, deep=self.seed % 10 == 0)
        finally:
            finish(self.loop)
            asyncio.set_event_loop(None)
        self.report.log, self.report.outputs = len(self.log.records), len(self.disk.outputs)
        self.report.cases, self.report.sent = len(self.desk.cases()), sum(d.sent for d in self.devices)
        return self.report

    def say(self, what: str, *, fault: bool = True) -> None:
        """Note what happened, for the trace of a failing seed."""
        self.report.faults += fault
        self.report.trace.append(f"{self.loop.time():9.1f} s  log {self.log.end():5d}  judged {self.disk.position:5d}  {what}")

    # --- life

    async def _live(self) -> None:
        self.log.append([registry_record(self.known, START)])
        self.io.start()
        tasks = [self.loop.create_task(d.run()) for d in self.devices]
        acts: tuple[tuple[float, Callable[[], None]], ...] = (
            (45.0, self._links), (280.0, self._step), (400.0, self._look), (1500.0, self._person), (1000.0, self._mishap),
        )  # fmt: skip
        lives = [self.loop.create_task(self._repeat(mean, act)) for mean, act in acts]
        await asyncio.gather(*tasks)
        for task in lives:
            if task.done():
                task.result()  # only a fault ends a life before its time
            task.cancel()
        await self._rest()

    async def _repeat(self, mean: float, act: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(self.rng.expovariate(1 / mean))
            act()

    async def _rest(self) -> None:
        """End all faults; let everything that is owed be delivered, judged and shown."""
        self.say("the faults end", fault=False)
        self.calm = True
        self.io.log._faults.clear()
        for device in self.devices:
            device.calm = True
        for _ in range(40):
            self._links()
            await asyncio.sleep(61.0)
            if not any(device.waiting for device in self.devices):
                break
        self.log.append([tick_record(START + int(HOURS * HOUR) + k * 5 * MINUTE) for k in range(1, 4)])
        while self._judge is None or self._judge.store.position() < self.log.end():
            self._step()
        while self.disk.outputs and self.desk.position() < self.disk.outputs[-1][0]:
            self._look()

    # --- acts

    def _links(self) -> None:
        """Start what has died, connect who is not, send again what has no answer."""
        if not self.io.alive:
            self.io.start()
            self.say("the I/O process starts", fault=False)
        for device in self.devices:
            if device.wire is None:
                self.io.connect(device)
            device.again()

    def _step(self) -> None:
        """Let the judge take a step, or die in it, or be replaced while it sleeps."""
        if self._judge is None:
            self._judge = self.build.judge(self.log, self.build.store(self.disk), plan())
        judge, draw = self._judge, 1.0 if self.calm else self.rng.random()
        judge.store.crash = self.rng.choice(list(Crash)) if draw < 0.1 else None
        if judge.store.crash:
            self.say(f"the judge dies {judge.store.crash.name}")
        elif draw < 0.16:
            self.say("the judge falls asleep and is replaced")
            self._zombies.append(judge)
            self._judge = None
            return
        try:
            judge.step(self.rng.randint(5, 80))
        except Died:
            self._judge = None
        self._wake()

    def _wake(self) -> None:
        """Let a judge that was replaced go on: it must end, and nothing it does may count."""
        if self._zombies and self._judge is not None:
            try:
                self._zombies.pop().step(30)
            except Lost:
                self.say("a judge that was replaced ends", fault=False)

    def _look(self) -> None:
        """Bring outputs to the desk, some of them again."""
        at = self.desk.position()
        again = 0 if self.calm else self.rng.choice([0, 0, 0, 3, 10])
        outputs = self.disk.outputs[max(at - again, 0) : at + self.rng.randint(1, 40)]
        if outputs and (self.calm or self.rng.random() > 0.1):
            self.desk.project(outputs, outputs[-1][0])

    def _person(self) -> None:
        """Let somebody handle an alert."""
        self.say(f"a person: {self.desk.people(self.rng)}", fault=False)

    def _mishap(self) -> None:
        """Let something go wrong outside the judge."""
        draw = self.rng.random()
        pipes = [pipe for pipe in self.io.pipes if pipe.open]
        if draw < 0.25:
            self.say("kill -9 of the I/O process")
            self.io.kill()
        elif draw < 0.35:
            self.say("kill -9 of everything")
            self.io.kill()
            self._judge = None
        elif draw < 0.75 and pipes:
            pipe = self.rng.choice(pipes)
            pipe.deaf = self.rng.random() < 0.5
            self.say(f"{pipe.device.mn} {'hears no answers' if pipe.deaf else 'loses its connection'}")
            if not pipe.deaf or self.loop.call_later(200.0, pipe.cut) is None:
                pipe.cut()
        elif draw < 0.93:
            self.clock.error = self.rng.choice([0, 0, -9 * MINUTE, -2 * MINUTE, 30_000, 3 * MINUTE, 25 * MINUTE])
            self.say(f"the clock is set to an error of {self.clock.error / 1000:g} s")
        else:
            self.say("a new registry", fault=False)
            self.log.append([registry_record(registry(self.rng.choice([LIMIT, 70.0]), len(self.sites)), -1)])


def simulate(seed: int, build: Build | None = None, *, real_desk: bool = False) -> Report:
    """Run one seed."""
    return World(seed, build or Build(), real_desk=real_desk).run()
