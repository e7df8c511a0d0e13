"""Hours and days of a channel: what the device sent beside what was recomputed, and which of them counts.

Device hours and closed grid hours enter; statutory values (one an hour and one a day for each channel) leave. The device's
own value counts where it came in time with a usable flag, else the recomputed one if it is valid (rules A-AV-2, A-AV-3,
A-AV-10: both are kept). Gas with a base O2 counts converted, water flow-weighted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.model import Float64, Int64
from streams.slab import Slab
from streams.windows.convert import converted, water_mean

Bools = NDArray[np.bool_]
RAW, ZS, BAD, JUDGED = 1, 2, 4, 8
"""Bits of `has`: a device value came, a converted one came, the device flagged the hour, the hour was judged on arrival."""
# `live`: a real-time value has come, so that detectors of reading cadence leave the minute data alone.
RECORD = np.dtype(
    [
        ("hour", "<i8", (2,)),
        ("raw", "<f8", (2,)),
        ("zs", "<f8", (2,)),
        ("has", "u1", (2,)),
        ("day", "<i8", (2,)),
        ("mean", "<f8", (2, 24)),
        ("flow", "<f8", (2, 24)),
        ("ok", "u1", (2, 24)),
        ("day_judged", "<i8"),
        ("live", "u1"),
    ]
)


class Days(NamedTuple):
    """Closed days (n,): channel, number of the day, mean of its valid hours, how many they are, and whether they are enough."""

    channel: Int64
    number: Int64
    mean: Float64
    parts: Int64
    valid: Bools


def note_device(slab: Slab, channel: Int64, hour: Int64, value: Float64, zs: Bools, usable: Bools) -> None:
    """Remember device hours (n,) until the hour closes; `zs` says which rows are converted values."""
    if not len(channel):
        return
    slab.rows(int(channel.max()) + 1)
    data, parity = slab.data, hour & 1
    stale = data["hour"][channel, parity] != hour
    data["has"][channel[stale], parity[stale]] = 0
    data["hour"][channel, parity] = hour
    for mine, name, bit in ((~zs, "raw", RAW), (zs, "zs", ZS)):
        rows, half = channel[mine], parity[mine]
        data[name][rows, half] = value[mine]
        np.bitwise_or.at(data["has"], (rows, half), np.where(usable[mine], bit, BAD).astype(np.uint8))
    slab.touch(channel)


def mark_judged(slab: Slab, channel: Int64, hour: Int64) -> None:
    """Remember that these hours were judged when the device's value came."""
    slab.data["has"][channel, hour & 1] |= JUDGED
    slab.touch(channel)


def reported(slab: Slab, upto: Int64) -> tuple[Int64, Int64]:
    """Return (channel, hour) of the device hours <= upto (one a channel) that no closing has settled yet."""
    data = slab.data
    rows, half = np.nonzero((data["has"] > 0) & (data["hour"] <= upto[:, None]))
    return rows, data["hour"][rows, half].copy()


def basis(raw: Float64, zs: Float64, o2: Float64, base_o2: Float64) -> Float64:
    """Choose the value that a limit speaks of: the converted one where it was sent, else converted here, else as measured.

    NaN where the standard wants a conversion and the O2 forbids it (rules A.3 note 1).
    """
    own, ok = converted(raw, o2, base_o2)
    return np.where(np.isfinite(zs), zs, np.where(ok | np.isnan(base_o2), np.where(np.isnan(base_o2), raw, own), np.nan))


class Settled(NamedTuple):
    """Closed hours (n,): the raw and converted value that count, whether valid, and whether judged already."""

    raw: Float64
    zs: Float64
    valid: Bools
    judged: Bools


def settle(slab: Slab, channel: Int64, hour: Int64, own: Float64, own_zs: Float64, own_valid: Bools) -> Settled:
    """Choose what counts for closed hours (n,), and forget what the device sent for them."""
    slab.rows(int(channel.max(initial=-1)) + 1)
    data, parity = slab.data, hour & 1
    has = np.where(data["hour"][channel, parity] == hour, data["has"][channel, parity], 0)
    device = (has & (RAW | ZS)) > 0
    raw = np.where((has & RAW) > 0, data["raw"][channel, parity], np.where(device, np.nan, own))
    zs = np.where((has & ZS) > 0, data["zs"][channel, parity], np.where(device, np.nan, own_zs))
    data["has"][channel, parity] = np.where(data["hour"][channel, parity] == hour, 0, data["has"][channel, parity])
    slab.touch(channel)
    bad = (has & BAD) > 0
    valid = ~bad & (device | own_valid)
    return Settled(raw, zs, valid, (has & JUDGED) > 0)


def add_hours(
    slab: Slab, channel: Int64, hour: Int64, value: Float64, flow: Float64, valid: Bools, offset_hours: int = 8
) -> None:
    """Put hour values into their day (China Standard Time); an hour that is not valid leaves its place empty."""
    if not len(channel):
        return
    slab.rows(int(channel.max()) + 1)
    data = slab.data
    day, place = np.divmod(hour + offset_hours, 24)
    half = day & 1
    stale = data["day"][channel, half] < day
    for name in ("mean", "flow", "ok"):
        data[name][channel[stale], half[stale]] = 0
    data["day"][channel[stale], half[stale]] = day[stale]
    good = valid & np.isfinite(value)
    data["mean"][channel, half, place] = np.where(good, value, 0.0)
    data["flow"][channel, half, place] = np.where(np.isfinite(flow), np.maximum(flow, 0.0), 0.0)
    data["ok"][channel, half, place] = good
    slab.touch(channel)


def close_days(slab: Slab, channel: Int64, upto: Int64, water: Bools, least: int) -> tuple[Days, Bools]:
    """Close every open day <= upto (k,) of the channels (k,): the days (n,), and which of them the device's value has settled."""
    data = slab.data
    rows, half = np.nonzero((data["day"][channel] > 0) & (data["day"][channel] <= upto[:, None]))
    mine = channel[rows]
    mean, ok = data["mean"][mine, half], data["ok"][mine, half] > 0
    known = np.where(ok, mean, np.nan)
    flow = np.where(ok & water[rows][:, None], data["flow"][mine, half], np.nan)
    count = ok.sum(axis=1)
    value = np.round(water_mean(known, flow), 9)
    number = data["day"][mine, half].copy()
    data["day"][mine, half] = 0
    slab.touch(mine)
    return Days(mine, number, value, count, count >= least), data["day_judged"][mine] >= number
