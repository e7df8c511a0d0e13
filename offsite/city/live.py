"""Live operation: every data logger has its own socket, the clock runs, and each minute brings real-time data.

Frames of an hour are made in a thread before the hour begins; a logger's frames wait in its own queue, so a slow or broken line
delays only that logger.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from offsite.city.answers import Logger
from offsite.city.api import Api
from offsite.city.clock import SharedClock
from offsite.city.devices import Uplink
from offsite.city.history import Step, live_steps
from offsite.city.model import TEN_MINUTES_MS, City
from offsite.city.pour import deliver
from offsite.city.reports import events, power_rows
from offsite.city.tables import HOUR_MS, MINUTE_MS
from offsite.city.wire import Renderer, WireFrame


@dataclass(slots=True)
class _Line:
    """One data logger: its uplink, and what it has still to send."""

    uplink: Uplink
    queue: asyncio.Queue[list[WireFrame]] = field(default_factory=asyncio.Queue)

    async def work(self) -> None:
        """Send what is queued, in order, for ever."""
        while True:
            frames = await self.queue.get()
            while not self.queue.empty():
                frames = frames + self.queue.get_nowait()
            await self.uplink.send(frames)


async def live(
    city: City,
    *,
    host: str,
    hj212_port: int,
    http_base: str,
    api_key: str,
    clock: SharedClock,
    stop: asyncio.Event,
    speed: float = 60.0,
) -> None:
    """Run the city from `live_ms` until `stop`; starts the clock at `speed` virtual seconds a second.

    Raises what a report over HTTP raises (see `pour.deliver`); lines to the gateway are kept up by themselves.
    """
    lines = _lines(city, host, hj212_port, clock)
    api = Api(http_base, key=api_key)
    workers = [asyncio.create_task(line.work()) for line in lines.values()]
    clock.run(speed, base_ms=max(clock.now(), city.live_ms))
    jobs = [asyncio.create_task(_frames(city, lines, clock)), asyncio.create_task(_reports(city, api, clock))]
    waiting = asyncio.create_task(stop.wait())
    try:
        finished, _ = await asyncio.wait([waiting, *jobs, *workers], return_when=asyncio.FIRST_COMPLETED)
        for task in finished - {waiting}:
            task.result()
    finally:
        for task in [waiting, *jobs, *workers]:
            task.cancel()
        await asyncio.gather(waiting, *jobs, *workers, return_exceptions=True)
        await asyncio.gather(*(line.uplink.drop() for line in lines.values()))
        api.close()


def _lines(city: City, host: str, port: int, clock: SharedClock) -> dict[str, _Line]:
    """Return a line for every site that has outlets."""
    lines = {}
    for site in city.inventory.sites:
        if site.outlets:
            logger = Logger(city, site.outlets, clock)
            lines[site.site] = _Line(Uplink(host, port, on_command=logger.answer, hello=logger.hello))
    return lines


async def until(clock: SharedClock, moment: int) -> None:
    """Wait until the virtual time has come."""
    while (left := moment - clock.now()) > 0:  # noqa: ASYNC110 - another process may move the clock: there is no event to wait for
        await asyncio.sleep(min(left / 1000 / max(clock.speed, 1e-6), 1.0))


async def _frames(city: City, lines: dict[str, _Line], clock: SharedClock) -> None:
    """Hand each step's frames to the loggers when its time has come."""
    renderer = Renderer()
    hour = city.live_ms
    ahead = asyncio.create_task(asyncio.to_thread(live_steps, city, renderer, hour))
    try:
        while True:
            steps = await ahead
            hour += HOUR_MS
            ahead = asyncio.create_task(asyncio.to_thread(live_steps, city, renderer, hour))
            for step in steps:
                await until(clock, step.now_ms)
                _hand_out(city, lines, step)
    finally:
        await asyncio.gather(ahead, return_exceptions=True)


def _hand_out(city: City, lines: dict[str, _Line], step: Step) -> None:
    by_site: dict[str, list[WireFrame]] = {}
    for frame in step.frames:
        by_site.setdefault(city.inventory.outlets[frame.outlet].site, []).append(frame)
    for site, frames in by_site.items():
        lines[site].queue.put_nowait(frames)


async def _reports(city: City, api: Api, clock: SharedClock) -> None:
    """Send power each minute and each ten minutes, and events when they happen."""
    known = minute = city.live_ms
    while True:
        await until(clock, minute)
        rows = await asyncio.to_thread(power_rows, city, minute, MINUTE_MS, 1, period="realtime")
        if minute > city.live_ms and minute % TEN_MINUTES_MS == 0:
            rows += await asyncio.to_thread(power_rows, city, minute - TEN_MINUTES_MS, TEN_MINUTES_MS, 1)
        if rows:
            await deliver(api, "/api/v1/readings", rows)
        found = events(city, known, minute)
        known = minute
        if found:
            await deliver(api, "/api/v1/events", found)
        minute += MINUTE_MS
