"""What goes wrong: the scenario file becomes placed faults with their truth, laid over healthy blocks.

A scenario entry chooses an outlet by industry, factor and pick; `place` turns it into absolute times. `overlay` and
`overlay_power` are pure: they return changed copies. Kinds and the rules expected to speak follow rules A.9, C.1, D.2, E.1.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offsite.city.emissions import OVER_RANGE, STOPPED, Block
from offsite.city.noise import Float, Int
from offsite.city.plants import Inventory, Meter, Outlet, Site
from offsite.city.tables import CST_MS, DAY_MS, FACTORS, HOUR_MS, MINUTE_MS

_NEEDS_METERS = ("stopped_treatment", "false_stop")
_SILENT = ("outage", "operator_outage")
_NEEDS_CAMERA = ("camera_covered", "intrusion")


@dataclass(frozen=True, slots=True)
class Fault:
    """One injected fault: kind, where, when [start, end) ms UTC, size, and the rules expected to speak.

    `outlets` are the indices of all outlets it touches (one, or all of an operator). `backfill` says whether an outage's
    data are sent after it.
    """

    id: str
    kind: str
    site: str
    point: str
    factor: str
    start: int
    end: int
    size: float
    rules: tuple[str, ...]
    backfill: bool
    outlets: tuple[int, ...]

    def truth(self) -> dict[str, Any]:
        """Return the truth as plain data, times int64 ms UTC."""
        return {
            "id": self.id,
            "kind": self.kind,
            "site": self.site,
            "point": self.point,
            "factor": self.factor,
            "start": self.start,
            "end": self.end,
            "rules": list(self.rules),
        }


def scenario() -> list[dict[str, Any]]:
    """Return the entries of the packaged scenario file."""
    text = (files("offsite.city") / "scenario.toml").read_text("utf-8")
    entries: list[dict[str, Any]] = tomllib.loads(text)["fault"]
    return entries


def place(entries: Sequence[dict[str, Any]], inventory: Inventory, live_ms: int) -> tuple[Fault, ...]:
    """Give every entry an outlet and absolute times; an entry for which the city has no fitting outlet is left out."""
    sites = inventory.by_site()
    used: set[int] = set()
    placed = []
    for entry in entries:
        outlet = _choose(entry, inventory, sites, used)
        if outlet is None:
            continue
        used.add(outlet.index)
        start = _start(entry, live_ms)
        touched: tuple[int, ...] = (outlet.index,)
        if entry["kind"] == "operator_outage":
            touched = tuple(o.index for o in inventory.outlets if o.operator == outlet.operator)
        placed.append(
            Fault(
                id=entry["id"],
                kind=entry["kind"],
                site=outlet.site,
                point=outlet.point,
                factor=entry["factor"],
                start=start,
                end=start + entry["minutes"] * MINUTE_MS,
                size=float(entry.get("size", 1.0)),
                rules=tuple(entry["rules"]),
                backfill=bool(entry.get("backfill", False)),
                outlets=touched,
            )
        )
    return tuple(placed)


def _choose(entry: dict[str, Any], inventory: Inventory, sites: dict[str, Site], used: set[int]) -> Outlet | None:
    fitting = [o for o in inventory.outlets if _fits(o, entry, sites[o.site])]
    fresh = [o for o in fitting if o.index not in used]
    if not fresh:
        return None
    rotated = fitting[entry["pick"] % len(fitting) :] + fitting[: entry["pick"] % len(fitting)]
    return next(o for o in rotated if o.index not in used)


def _fits(outlet: Outlet, entry: dict[str, Any], site: Site) -> bool:
    if site.industry is None or site.industry.key != entry["industry"] or entry["factor"] not in outlet.profile.factors:
        return False
    if entry["kind"] in _NEEDS_METERS and not any(m.serves == outlet.point for m in site.meters):
        return False
    return entry["kind"] not in _NEEDS_CAMERA or bool(site.camera)


def _start(entry: dict[str, Any], live_ms: int) -> int:
    if "live_minute" in entry:
        return live_ms + int(entry["live_minute"]) * MINUTE_MS
    midnight = (live_ms + CST_MS) // DAY_MS * DAY_MS - CST_MS
    hour, minute = entry["time"].split(":")
    return midnight + int(entry["day"]) * DAY_MS + int(hour) * HOUR_MS + int(minute) * MINUTE_MS


@dataclass(slots=True)
class _Hand:
    """What a fault may change: the block's copies, the row, and the columns of its window."""

    block: Block
    row: int
    columns: NDArray[np.intp]
    fault: Fault

    @property
    def outlet(self) -> Outlet:
        return self.block.outlets[self.row]

    def scale(self, code: str, factor: float | Float) -> None:
        """Multiply one factor's values in the window."""
        self.block.values[self.block.plane(code), self.row, self.columns] *= factor

    def to_limit(self, code: str, multiple: float) -> None:
        """Lift one factor so that its typical value becomes `multiple` times its limit."""
        self.scale(code, multiple * self.outlet.limits[code] / self.outlet.level[code])


def _exceedance(hand: _Hand) -> None:
    hand.to_limit(hand.fault.factor, hand.fault.size)


def _constant(hand: _Hand) -> None:
    code = hand.fault.factor
    held = round(hand.outlet.level[code] * 0.9, FACTORS[code].decimals)
    hand.block.values[hand.block.plane(code), hand.row, hand.columns] = held


def _dilution(hand: _Hand) -> None:
    """Let outside air into the sample line: oxygen up, every pollutant, moisture and temperature down (C-07)."""
    block = hand.block
    plane = block.plane("a19001")
    before = block.values[plane, hand.row, hand.columns]
    after = np.minimum(before + hand.fault.size, 19.4)
    block.values[plane, hand.row, hand.columns] = after
    ratio = (21.0 - after) / np.maximum(21.0 - before, 0.1)
    for code in (*block.profile.converted, "a01014"):
        hand.scale(code, ratio)
    hand.scale("a01012", 0.93)


def _stopped_treatment(hand: _Hand) -> None:
    for code in hand.outlet.limits:
        if code == hand.fault.factor:
            hand.to_limit(code, hand.fault.size)
        else:
            hand.scale(code, 1.5)


def _false_stop(hand: _Hand) -> None:
    hand.block.flags[:, hand.row, hand.columns] = STOPPED


def _outage(hand: _Hand) -> None:
    hand.block.sent[hand.row, hand.columns] = False


def _over_range(hand: _Hand) -> None:
    plane = hand.block.plane(hand.fault.factor)
    hand.block.values[plane, hand.row, hand.columns] = FACTORS[hand.fault.factor].range_high
    hand.block.flags[plane, hand.row, hand.columns] = OVER_RANGE


def _water_dilution(hand: _Hand) -> None:
    for code in ("w01018", "w21003", "w21011", "w21001"):
        if code in hand.block.profile.factors:
            hand.scale(code, hand.fault.size)


def _intrusion(hand: _Hand) -> None:
    hand.scale(hand.fault.factor, 0.6)


def _nothing_in_the_data(hand: _Hand) -> None:
    """Leave the readings as they are: a covered camera shows only in its own events."""


KINDS: dict[str, Callable[[_Hand], None]] = {
    "exceedance": _exceedance,
    "constant": _constant,
    "dilution": _dilution,
    "stopped_treatment": _stopped_treatment,
    "false_stop": _false_stop,
    "outage": _outage,
    "operator_outage": _outage,
    "over_range": _over_range,
    "spike": _exceedance,
    "water_dilution": _water_dilution,
    "intrusion": _intrusion,
    "camera_covered": _nothing_in_the_data,
}


def overlay(block: Block, faults: Sequence[Fault]) -> Block:
    """Return the block with the faults that fall into it."""
    rows = {o.index: n for n, o in enumerate(block.outlets)}
    changed = replace(block, values=block.values.copy(), flags=block.flags.copy(), sent=block.sent.copy())
    for fault in faults:
        due = block.time + (
            block.step_ms if fault.kind in _SILENT else 0
        )  # a line that is down stops what is sent, not what is measured
        columns = np.flatnonzero((due >= fault.start) & (due < fault.end))
        for index in fault.outlets if columns.size else ():
            if index in rows:
                KINDS[fault.kind](_Hand(changed, rows[index], columns, fault))
    return changed


def overlay_power(power: Float, meters: Sequence[Meter], time: Int, faults: Sequence[Fault]) -> Float:
    """Return (n, k) power with treatment at 1 % of its rating while a fault has it stopped."""
    out = power.copy()
    for fault in faults:
        if fault.kind == "stopped_treatment":
            columns = (time >= fault.start) & (time < fault.end)
            for n, meter in enumerate(meters):
                if meter.site == fault.site and meter.role == "treatment":
                    out[n, columns] = meter.rated_kw * 0.01
    return out
