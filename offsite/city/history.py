"""Past days as frames, cut into the steps in which they are poured.

A chunk ends at midnight or at the end of history. Data of a period leave when the period has ended: 10-minute data at each
step, hour data on the hour, day data at midnight; what an outage kept back leaves at its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from offsite.city.emissions import Block, averaged
from offsite.city.faults import Fault
from offsite.city.model import POURED, TEN_MINUTES_MS, City
from offsite.city.noise import Int
from offsite.city.tables import CST_MS, DAY_MS, HOUR_MS, MINUTE_MS
from offsite.city.wire import BACKFILL_SLOT, DAY, HOUR, MINUTE, REALTIME, Renderer, WireFrame

DELAY_MS = 5_000
"""How long after the end of a period a logger sends its data."""


@dataclass(frozen=True, slots=True)
class Step:
    """What arrives at one moment: `now_ms` virtual time, frames in sending order."""

    now_ms: int
    frames: list[WireFrame]


def chunks(start_ms: int, end_ms: int) -> Iterator[tuple[int, int]]:
    """Cut [start, end) at midnights of China Standard Time."""
    at = start_ms
    while at < end_ms:
        midnight = ((at + CST_MS) // DAY_MS + 1) * DAY_MS - CST_MS
        yield at, min(midnight, end_ms)
        at = min(midnight, end_ms)


def steps(city: City, start_ms: int, end_ms: int) -> Iterator[Step]:
    """Yield the 10-minute steps of [start, end), whole hours, in time order."""
    renderer = Renderer()
    for begin, end in chunks(start_ms, end_ms):
        yield from chunk_steps(city, renderer, begin, end)


def chunk_steps(city: City, renderer: Renderer, begin: int, end: int) -> list[Step]:
    """Return the steps of one chunk (at most a day, see `chunks`)."""
    buckets: dict[int, list[WireFrame]] = {t: [] for t in range(begin + TEN_MINUTES_MS, end + 1, TEN_MINUTES_MS)}
    minutes = city.minutes(begin, (end - begin) // HOUR_MS)
    hours = city.hours(begin, (end - begin) // HOUR_MS, minutes)
    _fill(buckets, renderer, [averaged(b, POURED) for b in minutes], MINUTE)
    _fill(buckets, renderer, hours, HOUR)
    if end - begin == DAY_MS:
        _fill(buckets, renderer, [averaged(b, 24) for b in hours], DAY)
    for moment, frames in backlog(city, renderer, begin, end):
        buckets[-(-moment // TEN_MINUTES_MS) * TEN_MINUTES_MS].extend(frames)
    return [Step(moment + DELAY_MS, frames) for moment, frames in buckets.items()]


def live_steps(city: City, renderer: Renderer, hour_ms: int) -> list[Step]:
    """Return what is sent in one live hour, in time order.

    Real-time data each minute, 10-minute and hour means of them at the end of their period, day data at midnight, backlogs.
    """
    buckets: dict[int, list[WireFrame]] = {}
    seconds = city.realtime(hour_ms, MINUTE_MS, 60)
    hours = city.hours(hour_ms, 1, seconds)
    for block in seconds:
        for frame in renderer.render(block, REALTIME, block.time):
            buckets.setdefault(frame.time, []).append(frame)
    ends: list[tuple[list[Block], str]] = [([averaged(b, 10) for b in seconds], MINUTE), (hours, HOUR)]
    end = hour_ms + HOUR_MS
    if (end + CST_MS) % DAY_MS == 0:
        whole = city.minutes(end - DAY_MS, 24)
        ends.append(([averaged(b, 24) for b in city.hours(end - DAY_MS, 24, whole)], DAY))
    for blocks, cn in ends:
        for block in blocks:
            for frame in renderer.render(block, cn, block.time + block.step_ms + DELAY_MS):
                buckets.setdefault(frame.time + block.step_ms + DELAY_MS, []).append(frame)
    for moment, frames in backlog(city, renderer, hour_ms, end):
        buckets.setdefault(moment + DELAY_MS, []).extend(frames)
    return [Step(moment, buckets[moment]) for moment in sorted(buckets)]


def _fill(buckets: dict[int, list[WireFrame]], renderer: Renderer, blocks: list[Block], cn: str) -> None:
    for block in blocks:
        for frame in renderer.render(block, cn, block.time + block.step_ms + DELAY_MS):
            buckets[frame.time + block.step_ms].append(frame)


def backlog(city: City, renderer: Renderer, begin: int, end: int) -> Iterator[tuple[int, list[WireFrame]]]:
    """Yield (moment, frames) of the outages that end in (begin, end] and send what they kept back."""
    for fault in city.faults:
        if fault.backfill and begin < fault.end <= end:
            yield fault.end, kept_back(city, renderer, fault)


def kept_back(city: City, renderer: Renderer, fault: Fault) -> list[WireFrame]:
    """Return the minute and hour frames that an outage kept back, oldest first, each under its own QN."""
    first = fault.start // HOUR_MS * HOUR_MS
    hours = -(-(fault.end - first) // HOUR_MS)
    out: list[WireFrame] = []
    for members in city.groups(hourly=False):
        chosen = tuple(o for o in members if o.index in fault.outlets)
        if chosen:
            hour_data = averaged(city.ten_minutes(chosen, first, hours * 6), 6)
            for block in city.minute_data(chosen, first, hours):
                out += renderer.render(block, MINUTE, _moments(block, fault.end, first), refill=True, slot=BACKFILL_SLOT)
            out += renderer.render(hour_data, HOUR, _moments(hour_data, fault.end, first), refill=True, slot=BACKFILL_SLOT + 1)
    return sorted(out, key=lambda f: f.time)


def _moments(block: Block, moment: int, first: int) -> Int:
    """Return when each kept-back column is sent: a second further for each ten minutes, so that no QN comes twice."""
    return moment + DELAY_MS + (block.time - first) // TEN_MINUTES_MS * 1000
