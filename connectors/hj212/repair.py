"""Gap repair: after an outage, ask each device for exactly the hours and minutes that are missing, and no more than that.

Enters: the missing spans, from who knows them. Leaves: history requests (CN 2061 hour, 2051 minute, 2031 day) with BeginTime and
EndTime; what the devices send back are ordinary data frames and come through `accept` like all others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from connectors.core import Clock
from connectors.hj212.exchange import Outcome


class Span(NamedTuple):
    """What a device did not send: `cn` 2051, 2061 or 2031; `begin` and `end` in ms UTC, both start times of periods."""

    mn: str
    cn: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class RepairLimits:
    """How much is asked: `at_once` devices, `every` ms between looks, `attempts` a span, `again` ms before the next attempt."""

    at_once: int = 4
    every: int = 60_000
    attempts: int = 3
    again: int = 600_000
    spans: int = 200


@dataclass(slots=True)
class _Asked:
    times: int = 0
    at: int = 0


class GapRepair:
    """`missing()` names the spans; `ask(span)` requests one of them; `connected(mn)` tells who can be asked at all.

    Each look asks at most `limits.spans` spans, one after another per device. A span that was asked `attempts` times is
    `given_up`: it stays visible there until it is no longer missing.
    """

    def __init__(
        self,
        missing: Callable[[], Iterable[Span]],
        ask: Callable[[Span], Awaitable[Outcome]],
        connected: Callable[[str], bool],
        *,
        clock: Clock,
        limits: RepairLimits | None = None,
    ) -> None:
        self._missing, self._ask, self._connected = missing, ask, connected
        self._clock, self._limits = clock, limits or RepairLimits()
        self._asked: dict[Span, _Asked] = {}

    @property
    def given_up(self) -> list[Span]:
        """Return the spans that are still missing and will not be asked again."""
        return [span for span, asked in self._asked.items() if asked.times >= self._limits.attempts]

    def due(self) -> list[Span]:
        """Return what is to be asked now, and forget what is no longer missing."""
        now, limits = self._clock(), self._limits
        missing = list(dict.fromkeys(self._missing()))
        self._asked = {span: self._asked[span] for span in missing if span in self._asked}
        due: list[Span] = []
        for span in missing:
            asked = self._asked.get(span, _Asked())
            rested = not asked.times or now - asked.at >= limits.again
            if asked.times < limits.attempts and rested and self._connected(span.mn):
                due.append(span)
        return due[: limits.spans]

    async def look(self) -> list[Outcome]:
        """Ask for what is due, a few devices at once and one span after another of each; return the outcomes."""
        by_device: dict[str, list[Span]] = {}
        for span in self.due():
            by_device.setdefault(span.mn, []).append(span)
        slots = asyncio.Semaphore(self._limits.at_once)

        async def repair(spans: list[Span]) -> list[Outcome]:
            outcomes: list[Outcome] = []
            async with slots:
                for span in spans:
                    outcomes.append(await self._ask(span))
                    if outcomes[-1].fault == "not_connected":
                        break
                    asked = self._asked.setdefault(span, _Asked())
                    asked.times, asked.at = asked.times + 1, self._clock()
                    if outcomes[-1].fault == "unreachable":
                        break
            return outcomes

        done = await asyncio.gather(*(repair(spans) for spans in by_device.values()))
        return [outcome for outcomes in done for outcome in outcomes]

    async def run(self, stop: asyncio.Event) -> None:
        """Look again and again until `stop` is set."""
        while not stop.is_set():
            await self.look()
            try:
                async with asyncio.timeout(self._limits.every / 1000):
                    await stop.wait()
            except TimeoutError:
                continue
