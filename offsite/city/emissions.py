"""What flows out: values of every outlet and meter as a pure function of time, load, fuel, oxygen and treatment.

A block holds one profile's outlets over k instants. Values are what an honest, healthy instrument would send; `faults`
lays what goes wrong over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from offsite.city.noise import Float, Int, lattice, noise
from offsite.city.plants import Meter, Outlet, Site
from offsite.city.tables import CST_MS, DAY_MS, HOUR_MS, MINUTE_MS, Profile

NORMAL, STOPPED, OVER_RANGE = ord("N"), ord("F"), ord("T")
_LOAD_SEED, _SHIFT_SEED = 71, 73
_NEAR_ZERO = 0.004


@dataclass(frozen=True, slots=True)
class Block:
    """One profile's readings: values (f, n, k) in wire units, flags (f, n, k) ASCII, sent (n, k), time (k,) ms UTC.

    `step_ms` is the time between columns. Row n belongs to `outlets[n]`, plane f to `profile.factors[f]`.
    """

    profile: Profile
    outlets: tuple[Outlet, ...]
    time: Int
    step_ms: int
    values: Float
    flags: NDArray[np.uint8]
    sent: NDArray[np.bool_]

    def plane(self, code: str) -> int:
        """Return the plane of a factor."""
        return self.profile.factors.index(code)


def load(site_index: Int, shift: NDArray[np.bool_], time: Int, seed: int) -> Float:
    """Return (n, k) production load 0 … 1: base load with a day cycle; shift plants work 07:40–18:20 ± 30 min and stop at night."""
    hour = ((time + CST_MS) % DAY_MS) / HOUR_MS
    steady = (
        0.78 + 0.07 * np.sin((hour - 9.0) / 24.0 * 2.0 * np.pi) + 0.06 * lattice(seed + _LOAD_SEED, site_index, time, 3 * HOUR_MS)
    )
    offset = ((site_index * 37 + _SHIFT_SEED) % 61 - 30) / 60.0
    working = (hour[None, :] > 7.66 + offset[:, None]) & (hour[None, :] < 18.33 + offset[:, None])
    return np.where(shift[:, None] & ~working, 0.0, np.clip(steady, 0.55, 1.0))


def _columns(outlets: Sequence[Outlet], sites: dict[str, Site]) -> tuple[Int, NDArray[np.bool_]]:
    index = np.array([sites[o.site].index for o in outlets], np.int64)
    shift = np.array([bool(i.shift) if (i := sites[o.site].industry) else False for o in outlets])
    return index, shift


def converted(dry: Float, o2: Float, base_o2: Float) -> Float:
    """Return the concentration at base oxygen, C·(21 - base)/(21 - O2); unconverted where O2 leaves no room (rules A.3 note 1)."""
    room = 21.0 - o2
    return np.where(room < 1.0, dry, dry * (21.0 - base_o2) / np.maximum(room, 1.0))


def base_o2(outlets: Sequence[Outlet]) -> Float:
    """Return (n, 1) base oxygen, NaN where the standard has none."""
    return np.array([np.nan if o.base_o2 is None else o.base_o2 for o in outlets])[:, None]


def block(profile: Profile, outlets: tuple[Outlet, ...], sites: dict[str, Site], time: Int, step_ms: int, seed: int) -> Block:
    """Return the healthy block of one profile at the instants `time`."""
    index, shift = _columns(outlets, sites)
    running = load(index, shift, time, seed)
    shape = (len(profile.factors), len(outlets), len(time))
    values = np.empty(shape)
    rows = np.array([o.index for o in outlets], np.int64)
    planes = {code: f for f, code in enumerate(profile.factors)}
    for code, f in planes.items():
        level = np.array([o.level[code] for o in outlets])[:, None]
        rough = noise(seed, rows * 64 + f, time)
        values[f] = _value(profile, code, level, running, rough, time)
    if "a19001" in planes:
        o2, base = values[planes["a19001"]], base_o2(outlets)
        for code in profile.converted:
            values[planes[code]] *= np.maximum(21.0 - o2, 0.1) / (21.0 - base)
    stopped = running == 0.0
    flags = np.broadcast_to(np.where(stopped, STOPPED, NORMAL).astype(np.uint8), shape).copy()
    return Block(profile, outlets, time, step_ms, values, flags, np.ones(shape[1:], bool))


def _value(profile: Profile, code: str, level: Float, running: Float, rough: Float, time: Int) -> Float:
    """Return (n, k) values of one factor."""
    hour = ((time + CST_MS) % DAY_MS) / HOUR_MS
    if profile.medium == "gas":
        return np.where(running == 0.0, _cold(code, level, rough), _stack(code, level, running, rough))
    return _water(code, level, rough, hour) if profile.medium == "water" else _ambient(code, level, rough, hour)


def _stack(code: str, level: Float, running: Float, rough: Float) -> Float:
    """Return a stack's value at work: oxygen falls with load, flow and temperature rise with it."""
    if code == "a19001":
        return level + 2.0 * (0.8 - running) + 0.12 * rough
    if code in ("a00000", "a01011"):
        return level * (0.35 + 0.65 * running) * (1.0 + 0.02 * rough)
    if code == "a01012":
        return level + 12.0 * (running - 0.8) + 0.5 * rough
    return level * (0.85 + 0.19 * running) * np.exp(0.07 * rough)


def _cold(code: str, level: Float, rough: Float) -> Float:
    """Return a stack's value while the plant stands still: air at ambient temperature."""
    if code == "a19001":
        return 20.9 + 0.02 * rough
    if code == "a01012":
        return 24.0 + 0.4 * rough
    return level * (0.02 if code in ("a00000", "a01011") else _NEAR_ZERO) * (1.0 + 0.05 * rough)


def _water(code: str, level: Float, rough: Float, hour: Float) -> Float:
    """Return an outfall's value: flow follows the day, pH hardly moves."""
    if code == "w00000":
        return level * (1.0 + 0.18 * np.sin((hour - 8.0) / 24.0 * 2.0 * np.pi)) * (1.0 + 0.03 * rough)
    return level + 0.06 * rough if code == "w01001" else level * np.exp(0.05 * rough)


_DAY_SHAPE = {"a34004": -0.14, "a34002": -0.12, "a05024": 0.5, "a21004": -0.18, "w01009": 0.08, "w01010": 0.05}


def _ambient(code: str, level: Float, rough: Float, hour: Float) -> Float:
    """Return an ambient value: ozone peaks in the afternoon, particles at night, noise by day."""
    if code in ("LA", "Leq"):
        return level + np.where((hour >= 6.0) & (hour < 22.0), 3.0, -4.0) + 1.2 * rough
    wave = np.cos((hour - 15.0) / 24.0 * 2.0 * np.pi)
    spread = 0.01 if code == "w01001" else 0.06
    return level * (1.0 + _DAY_SHAPE.get(code, 0.0) * wave) * np.exp(spread * rough)


def averaged(source: Block, columns: int) -> Block:
    """Return means over `columns` neighbouring columns, as a logger makes minute data of real-time data and hours of those.

    Only readings flagged N count; a mean is N where at least 75 % are (HJ 212-2017 Annex C.16-18, rules A.1), else it
    X
    """
    f, n, k = source.values.shape
    cut = (k // columns) * columns
    shape = (f, n, cut // columns, columns)
    values, flags = source.values[..., :cut].reshape(shape), source.flags[..., :cut].reshape(shape)
    usable = flags == NORMAL
    count = usable.sum(axis=-1)
    total = np.where(usable, values, 0.0).sum(axis=-1)
    mean = np.where(count > 0, total / np.maximum(count, 1), values.mean(axis=-1))
    flag = np.where(count * 4 >= columns * 3, NORMAL, np.where(usable, 0, flags).max(axis=-1)).astype(np.uint8)
    sent = source.sent[:, :cut].reshape(n, cut // columns, columns)[..., -1]
    time = source.time[:cut:columns]
    return replace(source, time=time, step_ms=source.step_ms * columns, values=mean, flags=flag, sent=sent)


def joined(before: Block, after: Block) -> Block:
    """Return two neighbouring blocks of the same outlets and step as one."""
    return replace(
        before,
        time=np.concatenate([before.time, after.time]),
        values=np.concatenate([before.values, after.values], axis=2),
        flags=np.concatenate([before.flags, after.flags], axis=2),
        sent=np.concatenate([before.sent, after.sent], axis=1),
    )


def power(meters: Sequence[Meter], sites: dict[str, Site], time: Int, seed: int) -> Float:
    """Return (n, k) active power in kW: production follows load; treatment starts 15 min before it and runs 20 min longer (D-02, D-03)."""
    index = np.array([sites[m.site].index for m in meters], np.int64)
    shift = np.array([bool(i.shift) if (i := sites[m.site].industry) else False for m in meters])
    rated = np.array([m.rated_kw for m in meters])[:, None]
    rough = noise(seed ^ 0xE1EC, np.array([m.index for m in meters], np.int64), time)
    now = load(index, shift, time, seed)
    around = np.maximum(load(index, shift, time + 15 * MINUTE_MS, seed), load(index, shift, time - 20 * MINUTE_MS, seed))
    treating = np.array([m.role == "treatment" for m in meters])[:, None]
    on = np.where(treating, np.where(np.maximum(now, around) > 0.0, 0.68 + 0.2 * now, 0.0), now * 0.9)
    return rated * np.maximum(on * (1.0 + 0.02 * rough), 0.015 * (1.0 + 0.1 * rough))
