"""Devices: what the simulated loggers send, and a logger that keeps sending a frame until it is acknowledged.

A programme of frames is drawn from the seed: minute data with steps, standstills, gaps and flags, and hour data over the limit.
The logger doubles, reorders and corrupts; it loses its connection; it never gives up.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from connectors.hj212.commands import qn_from_ms
from connectors.hj212.frame import Frame, Framer
from connectors.hj212.header import parse
from streams.codecs.hj212_encode import encode_frame
from tests.faults.world.loop import HOUR, MINUTE, START, VirtualLoop

LIMIT = 100.0
STEP_MIN = 5
PATIENCE = 60.0
"""Seconds without an answer after which a frame is sent again."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One frame to send, and when (virtual s)."""

    at: float
    qn: str
    frame: bytes


class Wire(Protocol):
    """The device's end of a connection."""

    def send(self, data: bytes) -> None: ...


def programme(rng: Random, mn: str, number: int, hours: float) -> list[Upload]:
    """Draw what a device sends in `hours`, in the order of sending."""
    uploads: list[Upload] = []
    still = rng.randrange(60, 150) if rng.random() < 0.5 else 10_000
    steps = {rng.randrange(65, 200) // STEP_MIN * STEP_MIN for _ in range(rng.randrange(3))}
    gone = range(start := rng.randrange(60, 200), start + 45) if rng.random() < 0.4 else range(0)
    for minute in range(0, int(hours * 60), STEP_MIN):
        time = START + minute * MINUTE
        late = 6.0 + number + 7.0 * rng.random()
        if minute in gone:
            continue
        if rng.random() < 0.06:
            late += rng.choice([400.0, 900.0])  # reordered: this one goes after its successor
        uploads.append(_upload(mn, "2051", time, minute * 60 + late, _minute_items(rng, minute, still, steps), number))
        if minute and minute % 60 == 0:
            over = rng.choice([0.8, 0.9, 1.2, 1.6, 2.3])
            hour = {"a21026": {"Avg": round(LIMIT * over + rng.random(), 2), "Flag": "N" if rng.random() < 0.9 else "D"}}
            uploads.append(_upload(mn, "2061", time - HOUR, minute * 60 + late + 20, hour, number))
    return sorted(uploads, key=lambda upload: upload.at)


def _minute_items(rng: Random, minute: int, still: int, steps: set[int]) -> dict[str, dict[str, float | str]]:
    value = 60.0 + rng.randrange(0, 400) / 100
    if still <= minute < still + 75:
        value = 64.25
    if minute in steps:
        value = 480.0 + rng.randrange(0, 1000) / 100
    flag = "N"
    if rng.random() < 0.04:
        value, flag = 7000.0 + rng.randrange(0, 9000) / 100, "D"
    return {"a21026": {"Avg": value, "Flag": flag}, "a19001": {"Avg": 8.0 + rng.randrange(0, 200) / 100, "Flag": "N"}}


def _upload(mn: str, cn: str, time: int, at: float, items: dict[str, dict[str, float | str]], number: int) -> Upload:
    qn = START + round(at * 1000) + number
    return Upload(at, qn_from_ms(qn), encode_frame(mn, cn, time, items, qn_ms=qn))


@dataclass
class Device:
    """One logger. `connect` gives a fresh connection, or None while nobody answers."""

    mn: str
    uploads: list[Upload]
    rng: Random
    loop: VirtualLoop
    waiting: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    acked: list[str] = field(default_factory=list)
    sent: int = 0
    calm: bool = False
    wire: Wire | None = None
    framer: Framer = field(default_factory=Framer)

    async def run(self) -> None:
        """Send the programme."""
        for upload in self.uploads:
            await asyncio.sleep(upload.at - self.loop.time())
            self.waiting[upload.qn] = (upload.frame, -PATIENCE)
            self._send(upload.qn)

    def again(self) -> None:
        """Send again what has waited too long for its answer."""
        now = self.loop.time()
        for qn in [qn for qn, (_, sent) in self.waiting.items() if now - sent >= PATIENCE]:
            self._send(qn)

    def heard(self, data: bytes) -> None:
        """Take the centre's answers."""
        for item in self.framer.feed(data):
            if not isinstance(item, Frame):
                raise TypeError(f"{self.mn} was sent {item!r}, which is no frame")
            header = parse(item.segment)
            if header.cn == "9014" and header.qn in self.waiting:
                del self.waiting[header.qn]
                self.acked.append(header.qn)

    def cut(self) -> None:
        """Lose the connection."""
        self.wire, self.framer = None, Framer()

    def _send(self, qn: str) -> None:
        if self.wire is None:
            return
        frame = self.waiting[qn][0]
        self.waiting[qn] = (frame, self.loop.time())
        self.sent += 1
        draw = 1.0 if self.calm else self.rng.random()
        if draw < 0.015:
            frame = frame[:-8] + bytes([frame[-8] ^ 1]) + frame[-7:]  # a broken checksum: the frame is refused and sent again
        elif draw < 0.03:
            frame = b"noise\r\n" + frame
        elif draw < 0.07:
            frame = frame + frame
        self.wire.send(frame)
