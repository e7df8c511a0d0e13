"""The city as a process of its own: pour the past, then live, with its people, until asked to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offsite.city.api import Api
from offsite.city.clock import SharedClock
from offsite.city.live import live
from offsite.city.model import START_MS, City
from offsite.city.people import People
from offsite.city.pour import Progress, pour


@dataclass(frozen=True, slots=True)
class CitySettings:
    """Everything a city process needs; picklable. `desk_base` empty: nobody works at the desk."""

    clock: Path
    host: str
    hj212_port: int
    http_base: str
    api_key: str
    desk_base: str = ""
    seed: int = 1
    enterprises: int = 210
    start_ms: int = START_MS
    days: int = 7
    speed: float = 60.0
    visitor: bool = False

    def city(self) -> City:
        """Return the city of these settings."""
        return City(seed=self.seed, enterprises=self.enterprises, start_ms=self.start_ms, days=self.days)


def run_city(settings: CitySettings, progress: Callable[[Progress], None] = lambda _: None) -> None:
    """Run a city until SIGTERM or SIGINT: the entry of a child process.

    `progress` is called after each poured step. Raises what `pour` and `live` raise.
    """
    asyncio.run(_main(settings, progress))


async def _main(settings: CitySettings, progress: Callable[[Progress], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with SharedClock(settings.clock) as clock:
        await serve(settings, clock, stop, progress)


async def serve(
    settings: CitySettings, clock: SharedClock, stop: asyncio.Event, progress: Callable[[Progress], None] = lambda _: None
) -> None:
    """Pour, then live until `stop`, with the people beside it."""
    city = settings.city()
    people = None
    desk = Api(settings.desk_base) if settings.desk_base else None
    if desk is not None:
        people = asyncio.create_task(People(city, desk, clock, settings.visitor).work(stop))
    try:
        past = pour(
            city,
            host=settings.host,
            hj212_port=settings.hj212_port,
            http_base=settings.http_base,
            api_key=settings.api_key,
            clock=clock,
            progress=progress,
            stop=stop,
        )
        await _unless(stop, past)
        if not stop.is_set():
            await live(
                city,
                host=settings.host,
                hj212_port=settings.hj212_port,
                http_base=settings.http_base,
                api_key=settings.api_key,
                clock=clock,
                stop=stop,
                speed=settings.speed,
            )
    finally:
        stop.set()
        if people is not None:
            await people
        if desk is not None:
            desk.close()


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, Any]) -> None:
    """Do `work` unless `stop` comes first: a sender waits for its acknowledgement for ever, a stopped city must not."""
    task, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
    for other in (task, stopping):
        other.cancel()
    await asyncio.gather(task, stopping, return_exceptions=True)
    if task in done:
        task.result()
