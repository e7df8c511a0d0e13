"""Screening: one fate a reading, and whether its quality lets it judge (QARTOD: a flag, not a deletion).

Readings enter in log order; for each row its fate, its site's log clock and its quality leave. The first fate that holds:
refused (event time ahead of log time, or outside what a clock can mean) · duplicate · revised · late (its window is closed)
· accepted. readings received = the sum of the five (promise 4).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams import seen
from streams.index import PERIOD_CODE
from streams.model import NO_FLAG, Int64, Readings, UInt8
from streams.plan.load import HOUR, MINUTE, Plan
from streams.state import State

ACCEPTED, DUPLICATE, REVISED, LATE, REFUSED = range(5)
FATES = ("accepted", "duplicate", "revised", "late", "refused")
GOOD, UNKNOWN, SUSPECT, FAIL = 1, 2, 3, 4
"""QARTOD quality: 1 usable · 3 the device flagged it · 4 it can't be, or the device flagged it as over its range (T)."""
HOURLY, DAILY = PERIOD_CODE["hour"], PERIOD_CODE["day"]
CST_HOURS = 8


class Screened(NamedTuple):
    """Rows (n,) with fate, log clock of the site at the row (ms UTC), quality, and the epoch that decides what is closed."""

    rows: Readings
    fate: UInt8
    clock: Int64
    quality: UInt8
    epoch: Int64

    def take(self, which: NDArray[Any]) -> Screened:
        """Return the rows selected by a mask or an index array."""
        return Screened(self.rows.take(which), self.fate[which], self.clock[which], self.quality[which], self.epoch[which])


def epoch_of(clock: Int64, plan: Plan) -> Int64:
    """Return the number of the last hour that log time has closed, plus one: hour h is open while epoch <= h.

    In epoch e the hours e and e + 1 can be open, so the hour grid keeps two.
    """
    return (clock - plan.time.hour_close_min * MINUTE) // HOUR


def screen(readings: Readings, state: State, plan: Plan) -> Screened:
    """Give every reading its fate and count it in the books."""
    index = state.index
    site = index.site[readings.series]
    clock = _clocks(state, site, readings.arrived)
    epoch = epoch_of(clock, plan)
    fate = np.zeros(len(readings), np.uint8)
    ahead = readings.time > clock + plan.time.ahead_max_min * MINUTE
    refused = ahead | (readings.time < 0) | (readings.time >= seen.MAX_TIME) | ~np.isfinite(readings.value)
    fate[refused] = REFUSED
    kept = np.flatnonzero(~refused)
    status = state.seen.classify(readings.series[kept], readings.time[kept], readings.value[kept])
    fate[kept] = np.array([ACCEPTED, DUPLICATE, REVISED], np.uint8)[status]
    fate[(fate == ACCEPTED) & _closed(index.period[readings.series], readings.time, epoch, plan)] = LATE
    low, high = index.low[readings.series], index.high[readings.series]
    usable = (readings.flag == NO_FLAG) | (readings.flag == ord("N"))
    possible = (readings.value >= low) & (readings.value <= high)
    beyond = (readings.flag == ord("T")) | (usable & ~possible)
    quality = np.where(beyond, FAIL, np.where(usable, GOOD, SUSPECT)).astype(np.uint8)
    for code, name in enumerate(FATES):
        state.books[f"readings.{name}"] += int((fate == code).sum())
    return Screened(readings, fate, clock, quality, epoch)


def _clocks(state: State, site: NDArray[Any], arrived: Int64) -> Int64:
    """Log clock of the site at each row: the running maximum of `arrived`, from where the state left it."""
    slab = state.slabs["sites"]
    stored = slab.data["clock"]
    order = np.argsort(site, kind="stable")
    by_site, times = site[order].astype(np.int64), np.maximum(arrived, stored[site])[order]
    base = int(times.min(initial=0))
    span = int(times.max(initial=0)) - base + 1
    running = np.maximum.accumulate(by_site * span + (times - base)) - by_site * span + base
    clock = np.empty_like(running)
    clock[order] = running
    last = np.flatnonzero(np.diff(by_site, append=-1))
    stored[by_site[last]] = running[last]
    slab.touch(by_site[last])
    return clock


def days_closed(epoch: Int64, plan: Plan) -> Int64:
    """Return the last day (China Standard Time, days since 1970) that is closed in each epoch."""
    wait = (plan.time.day_close_min - plan.time.hour_close_min) // 60
    return (epoch + CST_HOURS - wait) // 24 - 1


def _closed(period: UInt8, time: Int64, epoch: Int64, plan: Plan) -> NDArray[np.bool_]:
    """Say which rows come after their window has closed: the hour, or for day values the day. Months and quarters never do."""
    hour = time // HOUR
    by_hour = (period <= HOURLY) & (hour < epoch)
    by_day = (period == DAILY) & ((hour + CST_HOURS) // 24 <= days_closed(epoch, plan))
    closed: NDArray[np.bool_] = np.logical_or(by_hour, by_day)
    return closed
