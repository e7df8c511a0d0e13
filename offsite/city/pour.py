"""Pouring the past: generated days go through the real gateway as fast as it acknowledges them, on the city's clock.

The clock is set by hand in 10-minute steps and never stands more than one step ahead of frames that are not yet acknowledged,
so that nothing counts as late. Data are made in a thread one chunk (a day) ahead of the sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from offsite.city.api import Api
from offsite.city.clock import SharedClock
from offsite.city.devices import Uplink
from offsite.city.history import Step, chunk_steps, chunks
from offsite.city.model import POURED, TEN_MINUTES_MS, City
from offsite.city.reports import events, power_rows
from offsite.city.wire import Renderer

CONNECTIONS = 16
POURED_MS = POURED * TEN_MINUTES_MS
"""Power is sent as seldom as minute data."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far pouring is: virtual time, share done 0 … 1, frames acknowledged so far."""

    now_ms: int
    share: float
    frames: int


async def pour(
    city: City,
    *,
    host: str,
    hj212_port: int,
    http_base: str,
    api_key: str,
    clock: SharedClock,
    progress: Callable[[Progress], None] = lambda _: None,
    connections: int = CONNECTIONS,
    stop: asyncio.Event | None = None,
) -> int:
    """Send all past days and return the number of frames acknowledged; leaves the clock at `live_ms` or where it was stopped.

    Raises OSError if the HTTP interface cannot be reached, RuntimeError if it refuses rows.
    """
    lines = [Uplink(host, hj212_port) for _ in range(connections)]
    api = Api(http_base, key=api_key)
    reports = _Reports(city, api)
    clock.set(city.start_ms)
    try:
        async for step in _made_ahead(city):
            if stop is not None and stop.is_set():
                break
            clock.set(step.now_ms)
            await asyncio.gather(*_shares(city, step, lines), reports.done())
            reports.begin(step.now_ms)  # may take until the next step is through
            done = (step.now_ms - city.start_ms) / max(city.live_ms - city.start_ms, 1)
            progress(Progress(step.now_ms, min(done, 1.0), sum(line.counters.acked for line in lines)))
        await reports.done()
    finally:
        await reports.drop()
        await asyncio.gather(*(line.drop() for line in lines))
        api.close()
    return sum(line.counters.acked for line in lines)


async def _made_ahead(city: City) -> AsyncIterator[Step]:
    """Yield the past steps; each chunk is made in a thread while the one before is sent."""
    renderer, spans = Renderer(), list(chunks(city.start_ms, city.live_ms))
    ahead: asyncio.Task[list[Step]] | None = None
    try:
        for number, span in enumerate(spans):
            steps = await (ahead or asyncio.to_thread(chunk_steps, city, renderer, *span))
            more = spans[number + 1 : number + 2]
            ahead = asyncio.create_task(asyncio.to_thread(chunk_steps, city, renderer, *more[0])) if more else None
            for step in steps:
                yield step
    finally:
        if ahead is not None:
            await asyncio.gather(ahead, return_exceptions=True)


def _shares(city: City, step: Step, lines: list[Uplink]) -> list[asyncio.Task[None]]:
    """Spread a step's frames over the lines; all frames of a site use the same one."""
    shares: list[list[int]] = [[] for _ in lines]
    place = [city.sites[o.site].index % len(lines) for o in city.inventory.outlets]
    for k, frame in enumerate(step.frames):
        shares[place[frame.outlet]].append(k)
    return [
        asyncio.ensure_future(line.send([step.frames[k] for k in share]))
        for line, share in zip(lines, shares, strict=True)
        if share
    ]


class _Reports:
    """Sends power readings and events over HTTP as the clock moves."""

    def __init__(self, city: City, api: Api) -> None:
        self.city, self.api = city, api
        self.power_from = city.start_ms
        self.events_from = city.start_ms
        self._under_way: asyncio.Task[None] | None = None

    def begin(self, now_ms: int) -> None:
        """Begin to send what is due at `now_ms`."""
        self._under_way = asyncio.create_task(self.due(now_ms))

    async def done(self) -> None:
        """Wait for what was begun; raises what it raised."""
        if self._under_way is not None:
            await self._under_way

    async def drop(self) -> None:
        """Give up what is under way."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.gather(self._under_way, return_exceptions=True)

    async def due(self, now_ms: int) -> None:
        """Send what is due at `now_ms`."""
        steps = (now_ms - self.power_from) // POURED_MS
        if steps and self.city.inventory.meters:
            rows = await asyncio.to_thread(power_rows, self.city, self.power_from, POURED_MS, steps)
            self.power_from += steps * POURED_MS
            await deliver(self.api, "/api/v1/readings", rows)
        found = events(self.city, self.events_from, now_ms)
        self.events_from = now_ms
        if found:
            await deliver(self.api, "/api/v1/events", found)


async def deliver(api: Api, path: str, rows: list[dict[str, object]]) -> None:
    """Post rows until they are accepted; wait and repeat while the product is busy (429, 503).

    Raises RuntimeError if rows are refused: the city's own data are always right, so a refusal is a fault to be seen.
    """
    while True:
        status, answer = await api.post(path, rows)
        if status in (429, 503):
            await asyncio.sleep(0.5)
            continue
        if status not in (200, 202) or answer.get("rejected"):
            raise RuntimeError(f"POST {path} was refused with {status}: {str(answer)[:500]}")
        return
