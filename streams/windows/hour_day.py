"""Minute → hour → day: accepted readings enter the windows, log time closes them, statutory values leave.

Log time is the site's own: an hour closes at H+30 min of it, whether a reading or a tick brought it there. The device's hour
or day value is due at once when it comes in time with all that it needs; whatever was not due by then is due when its window
closes, the device's value before the recomputed one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.model import Float64, Int32, Int64
from streams.plan.load import HOUR, Plan
from streams.screen import CST_HOURS, GOOD, Screened, days_closed
from streams.state import State
from streams.windows import channel, grid

DAY = 24 * HOUR
RT, RT_ZS, MIN, MIN_ZS, HOUR_RAW, HOUR_ZS, DAY_RAW, DAY_ZS = range(1, 9)
"""Roles of `streams/index.py`."""


class Due(NamedTuple):
    """Statutory values to judge: cadence, channel, start and end of the window (ms UTC), value, and log position × 2."""

    cadence: str
    channel: Int64
    start: Int64
    end: Int64
    value: Float64
    at: Int64


class Closed(NamedTuple):
    """Windows that closed, kept beside what the device sent: period, channel, start, mean, how many valid parts, valid."""

    period: str
    channel: Int64
    start: Int64
    mean: Float64
    parts: Int64
    valid: NDArray[np.bool_]


class Flow(NamedTuple):
    """What the windows gave back for a batch."""

    due: list[Due]
    closed: list[Closed]


def feed(screened: Screened, accepted: NDArray[np.bool_], state: State, plan: Plan) -> Flow:
    """Take a screened batch through the windows, epoch by epoch so that every hour closes before a later one needs its place."""
    flow = Flow([], [])
    site = state.index.site[screened.rows.series]
    for epoch in np.unique(screened.epoch).tolist():
        mine = np.flatnonzero(screened.epoch == epoch)
        sites, first = np.unique(site[mine], return_index=True)
        at = np.full(len(state.index.sites.names), 0, np.int64)
        at[sites] = 2 * mine[first] - 1
        _close_sites(state, plan, sites, np.full(len(sites), epoch), at, flow)
        _enter(screened, mine[accepted[mine]], state, flow)
    return flow


def pass_time(state: State, plan: Plan, sites: NDArray[Any], epochs: Int64, at: int) -> Flow:
    """Close what log time has reached at the given sites (k,), without a reading."""
    flow = Flow([], [])
    _close_sites(state, plan, sites, epochs, np.full(len(state.index.sites.names), at, np.int64), flow)
    return flow


def _enter(screened: Screened, rows: NDArray[Any], state: State, flow: Flow) -> None:
    """Put accepted rows into their windows; device values become due."""
    index = state.index
    part = screened.take(rows)
    series, time, value = part.rows.series, part.rows.time, part.rows.value
    usable = part.quality == GOOD
    role = index.role[series]
    cell = index.cell[series].astype(np.int64)
    cells = cell >= 0
    grid.add(state.grid, cell[cells], time[cells], value[cells], usable[cells])
    _device(screened, rows[(role == HOUR_RAW) | (role == HOUR_ZS)], state, flow, HOUR)
    _device(screened, rows[(role == DAY_RAW) | (role == DAY_ZS)], state, flow, DAY)


def _device(screened: Screened, rows: NDArray[Any], state: State, flow: Flow, span: int) -> None:
    """Note the device's own hour or day values, and make due what can be judged from this record alone."""
    if not len(rows):
        return
    index, slab = state.index, state.slabs["channel"]
    part = screened.take(rows)
    series = part.rows.series
    mine = index.channel[series].astype(np.int64)
    zs = index.role[series] % 2 == 0
    usable = part.quality == GOOD
    number = (part.rows.time + (CST_HOURS * HOUR if span == DAY else 0)) // span
    if span == HOUR:
        channel.note_device(slab, mine, number, part.rows.value, zs, usable)
    value, chosen = _one_record(state, part, mine, zs, usable)
    ready = chosen & np.isfinite(value)
    rows, mine, number, value = rows[ready], mine[ready], number[ready], value[ready]
    if span == HOUR:
        channel.mark_judged(slab, mine, number)
    else:
        slab.data["day_judged"][mine] = np.maximum(slab.data["day_judged"][mine], number)
        slab.touch(mine)
    start = part.rows.time[ready]
    flow.due.append(Due("hour" if span == HOUR else "day", mine, start, start + span, value, 2 * rows))


def _one_record(
    state: State, part: Screened, mine: Int64, zs: NDArray[np.bool_], usable: NDArray[np.bool_]
) -> tuple[Float64, NDArray[np.bool_]]:
    """Choose one row a (record, window, channel): the converted one if it is there, else the raw one converted by its own O2."""
    index = state.index
    _, moment = np.unique(np.stack([part.rows.frame.astype(np.int64), part.rows.time]), axis=1, return_inverse=True)
    base_key = moment.reshape(-1).astype(np.int64) * (len(index.channels.names) + 1)
    key = base_key + mine
    has_zs = np.isin(key, key[zs])
    point = index.channel_point[mine]
    o2_key = base_key + index.point_o2[point]
    good_raw = usable & ~zs
    order = np.argsort(key[good_raw], kind="stable")
    keys, values = key[good_raw][order], part.rows.value[good_raw][order]
    at = np.minimum(np.searchsorted(keys, o2_key), max(len(keys) - 1, 0))
    found = (index.point_o2[point] >= 0) & (keys[at] == o2_key) if len(keys) else np.zeros(len(mine), np.bool_)
    o2 = np.where(found, values[at], np.nan) if len(keys) else np.full(len(mine), np.nan)
    value = part.rows.value
    base = np.where(index.convertible[mine], index.base_o2[point], np.nan)
    chosen_value = np.where(zs, value, channel.basis(value, np.full(len(value), np.nan), o2, base))
    return np.where(usable, chosen_value, np.nan), zs | ~has_zs


def _close_sites(state: State, plan: Plan, sites: NDArray[Any], epochs: Int64, at: Int64, flow: Flow) -> None:
    """Close the hours and days that the new epochs of `sites` (k,) end."""
    index, slab = state.index, state.slabs["sites"]
    late = slab.data["epoch"][sites] < epochs
    sites, epochs = sites[late], epochs[late]
    if not len(sites):
        return
    slab.data["epoch"][sites] = epochs
    slab.touch(sites)
    upto = np.full(len(index.sites.names), -1, np.int64)
    upto[sites] = epochs - 1
    cells = np.flatnonzero(upto[index.cell_site] >= 0)
    water = index.is_water[index.cell_channel[cells]]
    hours = grid.close(state.grid, cells, upto[index.cell_site[cells]], water, index.cell_flow[cells], plan.validity)
    state.books["windows.minute"] += int(hours.slots.sum())
    _settle_hours(state, plan, hours, upto, at, flow)
    _settle_days(state, plan, sites, epochs, at, flow)


def _settle_hours(state: State, plan: Plan, hours: grid.Hours, upto: Int64, at: Int64, flow: Flow) -> None:
    """Turn closed grid hours and device hours into one hour a channel, and judge those that the device did not report."""
    index, slab = state.index, state.slabs["channel"]
    reported = channel.reported(slab, upto[index.channel_site[: len(slab)]])
    key, mean, minutes = _by_channel(state, hours, reported)
    if not len(key):
        return
    number, mine = np.divmod(key, len(index.channels.names) + 1)
    valid = minutes >= plan.validity.minutes_per_hour
    raw, zs, ok, judged = channel.settle(slab, mine, number, mean[0], mean[1], valid)
    point = index.channel_point[mine]
    o2 = _companion(state, index.point_o2[point], number, key, np.where(ok, raw, np.nan))
    base = np.where(index.convertible[mine], index.base_o2[point], np.nan)
    value = channel.basis(raw, zs, o2, base)
    litres = _companion(state, index.point_flow[point], number, key, raw)
    channel.add_hours(slab, mine, number, value, litres, ok)
    state.books["windows.hour"] += len(key)
    flow.closed.append(Closed("hour", mine, number * HOUR, value, minutes, ok))
    ready = ok & ~judged & np.isfinite(value)
    site = index.channel_site[mine[ready]]
    start = number[ready] * HOUR
    flow.due.append(Due("hour", mine[ready], start, start + HOUR, value[ready], at[site]))


def _by_channel(state: State, hours: grid.Hours, reported: tuple[Int64, Int64]) -> tuple[Int64, tuple[Float64, Float64], Int64]:
    """Choose among the cells of a channel: minute data before real-time data; raw and converted side by side.

    `reported` are the (channel, hour) pairs that the device itself has sent; they are rows even where no minute is known.
    """
    index = state.index
    channels = index.cell_channel[hours.cell].astype(np.int64)
    role = index.cell_role[hours.cell]
    key = hours.hour * (len(index.channels.names) + 1) + channels
    keys = np.unique(np.concatenate([key, reported[1] * (len(index.channels.names) + 1) + reported[0]]))
    raw, zs = np.full(len(keys), np.nan), np.full(len(keys), np.nan)
    minutes = np.zeros(len(keys), np.int64)
    for wanted, target in ((RT, raw), (MIN, raw), (RT_ZS, zs), (MIN_ZS, zs)):
        rows = np.flatnonzero((role == wanted) & np.isfinite(hours.mean))
        place = np.searchsorted(keys, key[rows])
        target[place] = hours.mean[rows]
        minutes[place] = np.where(wanted in {RT, MIN}, hours.minutes[rows], np.maximum(minutes[place], hours.minutes[rows]))
    return keys, (raw, zs), minutes


def _companion(state: State, other: Int32, number: Int64, keys: Int64, values: Float64) -> Float64:
    """Return for each row the value of channel `other` (-1: none) in the same hour, NaN without one; `keys` sorted and unique."""
    wanted = np.where(other >= 0, number * (len(state.index.channels.names) + 1) + other, -1)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], np.nan)


def _settle_days(state: State, plan: Plan, sites: NDArray[Any], epochs: Int64, at: Int64, flow: Flow) -> None:
    """Close the days that log time has reached at `sites` (k,)."""
    index = state.index
    upto = np.full(len(index.sites.names), -1, np.int64)
    upto[sites] = days_closed(epochs, plan)
    slab = state.slabs["channel"]
    rows = np.flatnonzero(upto[index.channel_site[: len(slab)]] >= 0)
    days, judged = channel.close_days(
        slab, rows, upto[index.channel_site[rows]], index.is_water[rows], plan.validity.hours_per_day
    )
    state.books["windows.day"] += len(days.channel)
    start = days.number * DAY - CST_HOURS * HOUR
    flow.closed.append(Closed("day", days.channel, start, days.mean, days.parts, days.valid))
    ready = days.valid & ~judged & np.isfinite(days.mean)
    mine = days.channel[ready]
    flow.due.append(Due("day", mine, start[ready], start[ready] + DAY, days.mean[ready], at[index.channel_site[mine]]))
