"""The I/O process of the simulated world: the real gateway, sessions and intake over pipes, with a log writer without a thread.

What is replaced is only what would need a thread or a socket. A kill drops everything that is not in the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, cast

from connectors.core import ConnectorError, Log, Lost, Record, Retry
from connectors.hj212.device import DeviceSettings
from connectors.hj212.server import Gateway
from connectors.hj212.session import Session
from connectors.log_writer import LogWriter
from connectors.memory import FaultyLog
from offsite.intake import Intake
from streams.records import tick_record
from streams.registry_model import Registry
from tests.faults.world.devices import Device
from tests.faults.world.loop import MINUTE, Skewed, VirtualLoop

TICK_MIN = 6


class Writer:
    """`connectors.log_writer.LogWriter` in virtual time: what is queued is written together after a while, then answered."""

    def __init__(self, log: Log, loop: VirtualLoop, rng: Random) -> None:
        self.log, self._loop, self._rng = log, loop, rng
        self.queue: list[tuple[tuple[Record, ...], asyncio.Future[int]]] = []
        self.dead = False

    def append(self, *records: Record) -> asyncio.Future[int]:
        """Queue records; the future is done once they are durable."""
        if self.dead:
            raise Lost("the process has ended")
        future: asyncio.Future[int] = self._loop.create_future()
        if not self.queue:
            self._loop.call_later(0.005 + 0.2 * self._rng.random() ** 4, self.write)
        self.queue.append((records, future))
        return future

    def write(self) -> None:
        """Write what is queued in one append and tell everybody who waits."""
        batch, self.queue = self.queue, []
        if self.dead or not batch:
            return
        first, error = -1, None
        try:
            first = self.log.append([record for records, _ in batch for record in records])
        except ConnectorError as failure:
            error = failure
        for records, future in batch:
            if future.done():
                continue
            if error is None:
                future.set_result(first)
            else:
                future.set_exception(type(error)(str(error)))
            first += len(records)

    def drop(self) -> None:
        """Die: what is queued is gone."""
        self.dead = True
        for _, future in self.queue:
            future.cancel()
        self.queue = []


class Pipe(asyncio.Transport):
    """A connection between a device and a session, with latency, broken into pieces; both directions may be lost."""

    def __init__(self, device: Device, gateway: Gateway, loop: VirtualLoop, rng: Random) -> None:
        super().__init__()
        self.device, self._loop, self._rng = device, loop, rng
        self.open, self.deaf = True, False
        self._next = {"up": 0.0, "down": 0.0}
        self.session = Session(gateway)
        self.session.connection_made(self)

    def send(self, data: bytes) -> None:
        """Carry bytes of the device to the session."""
        for piece in self._pieces(data):
            self._later("up", self._arrive, piece)

    def cut(self) -> None:
        """Break: what is under way is lost, both ends learn of it."""
        if self.open:
            self.open = False
            if self.device.wire is self:
                self.device.cut()
            self._loop.call_soon(self.session.connection_lost, None)

    def _pieces(self, data: bytes) -> list[bytes]:
        if self._rng.random() < 0.8:
            return [data]
        at = self._rng.randrange(1, len(data))
        return [data[:at], data[at:]]

    def _later(self, way: str, act: Callable[[bytes], None], data: bytes) -> None:
        self._next[way] = max(self._next[way], self._loop.time() + 0.02 + 0.1 * self._rng.random())
        self._loop.call_at(self._next[way], act, data)

    def _arrive(self, data: bytes) -> None:
        if self.open:
            self.session.data_received(data)

    def _answer(self, data: bytes) -> None:
        if self.open and not self.deaf:
            self.device.heard(data)

    # What a session asks of its transport.

    def write(self, data: Any) -> None:
        """Carry an answer to the device."""
        if self.open:
            self._later("down", self._answer, bytes(data))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self.device.mn, 1) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del high, low

    def is_closing(self) -> bool:
        return not self.open

    def pause_reading(self) -> None:
        raise NotImplementedError("no simulated device sends so much")

    def close(self) -> None:
        self.cut()

    def abort(self) -> None:
        self.cut()


class IoProcess:
    """One life after the other of the I/O process: gateway, intake, writer and ticks."""

    def __init__(
        self, log: FaultyLog, clock: Skewed, loop: VirtualLoop, rng: Random, registry: Registry, writer: type[Writer] = Writer
    ) -> None:
        self.log, self.clock, self.registry = log, clock, registry
        self._loop, self._rng, self._writer = loop, rng, writer
        self.alive, self.lives = False, 0
        self.pipes: list[Pipe] = []
        self._tick: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin a life on what is in the log."""
        self.log.restart()
        self.alive = True
        self.lives += 1
        self.writer = self._writer(self.log, self._loop, self._rng)
        intake = Intake(cast("LogWriter", self.writer), lambda: self.registry)
        self.gateway = Gateway(intake.frame, clock=self.clock, device=self._settings, reject=intake.bad)
        self.gateway.lost.add_done_callback(lambda _: self.kill())
        self._tick = self._loop.create_task(self._ticks())

    def kill(self) -> None:
        """End at once, as SIGKILL does: no answer leaves any more, nothing else is written."""
        if not self.alive:
            return
        self.alive = False
        self.writer.drop()
        for pipe in self.pipes:
            pipe.cut()
        self.pipes = []
        for task in [*self.gateway._tasks, *([self._tick] if self._tick else [])]:
            task.cancel()

    def connect(self, device: Device) -> None:
        """Accept a device, if there is a process to accept it."""
        if self.alive:
            pipe = Pipe(device, self.gateway, self._loop, self._rng)
            device.wire = pipe
            self.pipes = [*(p for p in self.pipes if p.open), pipe]

    def _settings(self, mn: str) -> DeviceSettings:
        return DeviceSettings(known=mn in self.registry.by_mn)

    async def _ticks(self) -> None:
        """Append a tick whenever the wall clock has reached a new stretch of log time (as `offsite run` does each minute)."""
        last = self.clock() // MINUTE // TICK_MIN
        while True:
            await asyncio.sleep(20.0)
            now = self.clock() // MINUTE // TICK_MIN
            if now > last:
                last = now
                try:
                    await self.writer.append(tick_record(now * TICK_MIN * MINUTE))
                except Retry:  # the disk was full: the next one comes anyway
                    continue
                except Lost:
                    self.kill()
