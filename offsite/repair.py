"""Which windows are missing, for gap repair: the hours and minutes of silences that have ended (rules A.7).

The desk's ended silence alerts enter; spans to ask for leave, each once per device and command, until history holds them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

from cases.store import Desk
from connectors.core import Clock, Retry
from connectors.hj212.exchange import Outcome
from connectors.hj212.repair import GapRepair, Span
from streams.plan.load import HOUR, MINUTE
from streams.registry_model import Registry

LOOK_EVERY = 2.0
OLDEST = 3 * 24 * HOUR
Ask = Callable[[str, str, Mapping[str, str | int]], Awaitable[Outcome]]
"""(mn, command, parameters) → how it ended."""
WINDOWS = (("2061", "hour", HOUR), ("2051", "minute", MINUTE))


class Place(Protocol):
    """Where gaps are looked for: the embedded product, or the desk of the distributed runtime."""

    clock: Clock
    registry: Registry

    @property
    def desk(self) -> Desk:
        """Return the desk: it knows which silences have ended."""

    @property
    def history(self) -> Any:
        """Return the chart history: it knows what is there."""


def missing(place: Place) -> Iterator[Span]:
    """Yield the spans of ended silences whose windows history does not hold."""
    now = place.clock()
    for alert in place.desk.alerts(rule="silence", active=False, limit=100):
        opened, closed = _ms(alert["opened"]), _ms(alert["closed"])
        point = place.registry.point(alert["site"], alert["point"])
        if point is None or not point.mn or alert["folded"] or now - opened > OLDEST:
            continue
        for cn, period, span in WINDOWS:
            begin, end = -(-opened // span) * span, closed // span * span - span
            if begin <= end and not _present(place, alert["site"], alert["point"], period, begin, end):
                yield Span(point.mn, cn, begin, end)


def _present(place: Place, site: str, point: str, period: str, begin: int, end: int) -> bool:
    """Say whether history holds the span: every hour of it, or (a logger's minutes may be ten long) any minute of it."""
    factors = [f.factor for f in place.registry.factors if (f.site, f.point) == (site, point)]
    for factor in factors[:1]:
        times = set(place.history.series(site, point, factor, begin, end + 1, period)["time"].to_pylist())
        if period == "hour":
            return times >= set(range(begin, end + 1, HOUR))
        return bool(times)
    return False


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


async def look(place: Place, ask: Ask, connected: Callable[[str], bool]) -> None:
    """Look for gaps now and then, off the event loop, and ask for what is due."""
    gaps: list[Span] = []

    def request(span: Span) -> Awaitable[Outcome]:
        return ask(span.mn, span.cn, {"BeginTime": span.begin, "EndTime": span.end})

    mender = GapRepair(lambda: gaps, request, connected, clock=place.clock)
    while True:
        await asyncio.sleep(LOOK_EVERY)
        with contextlib.suppress(Retry):  # history or desk is busy: the gap is still there at the next look
            gaps[:] = await asyncio.to_thread(list, missing(place))
            await mender.look()
