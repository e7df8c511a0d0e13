"""Which windows are missing, for gap repair: the hours and minutes of silences that have ended (rules A.7).

The desk's ended silence alerts enter; spans to ask for leave, each once per device and command, until history holds them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from connectors.core import Retry
from connectors.hj212.exchange import Outcome
from connectors.hj212.repair import GapRepair, Span
from streams.plan.load import HOUR, MINUTE

if TYPE_CHECKING:
    from offsite.io_process import Product

LOOK_EVERY = 2.0
OLDEST = 3 * 24 * HOUR
WINDOWS = (("2061", "hour", HOUR), ("2051", "minute", MINUTE))


def missing(product: Product) -> Iterator[Span]:
    """Yield the spans of ended silences whose windows history does not hold."""
    now = product.clock()
    for alert in product.desk.alerts(rule="silence", active=False, limit=100):
        opened, closed = _ms(alert["opened"]), _ms(alert["closed"])
        point = product.registry.point(alert["site"], alert["point"])
        if point is None or not point.mn or alert["folded"] or now - opened > OLDEST:
            continue
        for cn, period, span in WINDOWS:
            begin, end = -(-opened // span) * span, closed // span * span - span
            if begin <= end and not _present(product, alert["site"], alert["point"], period, begin, end):
                yield Span(point.mn, cn, begin, end)


def _present(product: Product, site: str, point: str, period: str, begin: int, end: int) -> bool:
    """Say whether history holds the span: every hour of it, or (a logger's minutes may be ten long) any minute of it."""
    factors = [f.factor for f in product.registry.factors if (f.site, f.point) == (site, point)]
    for factor in factors[:1]:
        times = set(product.history.series(site, point, factor, begin, end + 1, period)["time"].to_pylist())
        if period == "hour":
            return times >= set(range(begin, end + 1, HOUR))
        return bool(times)
    return False


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


async def ask(product: Product, span: Span) -> Outcome:
    """Ask a device for one span."""
    return await product.gateway.ask(span.mn, span.cn, {"BeginTime": span.begin, "EndTime": span.end})


async def look(product: Product) -> None:
    """Look for gaps now and then, off the event loop, and ask for what is due."""
    gaps: list[Span] = []
    mender = GapRepair(lambda: gaps, lambda span: ask(product, span), product.gateway.connected, clock=product.clock)
    while True:
        await asyncio.sleep(LOOK_EVERY)
        with contextlib.suppress(Retry):  # history or desk is busy: the gap is still there at the next look
            gaps[:] = await asyncio.to_thread(list, missing(product))
            await mender.look()
