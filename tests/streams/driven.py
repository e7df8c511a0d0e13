"""The judging core driven by hand: rows of a made-up log enter, the last word on each alert and lead leaves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from connectors import core
from streams.engine import Engine
from streams.identity import rfc3339
from streams.model import Decoded, Readings, SeriesKey
from streams.pipeline import Outputs
from streams.plan import load_plan
from streams.plan.load import HOUR, MINUTE, Plan
from streams.registry_model import Bounds, Factor, Limit, Point, Registry, Site
from streams.screen import FATES
from streams.state import State

PLAN = load_plan()
DAY = 24 * HOUR


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


T0 = ms("2026-10-12T00:00:00+08:00")
"""A China midnight, after the Environmental Code came into force."""


class Row(NamedTuple):
    """One reading; a record of the log holds one or several of one `arrived`."""

    key: SeriesKey
    time: int
    value: float
    flag: str = "N"
    arrived: int = 0


Record = Sequence[Row]


def rt(
    minute: float, value: float, *, flag: str = "N", late: float = 0.1, at: str = "S1/DA001/a21026", stat: str = "rtd"
) -> list[Row]:
    """Return the record of a real-time value (with stat avg: of a minute mean) `late` minutes after its time."""
    time = T0 + round(minute * MINUTE)
    period = "realtime" if stat.endswith("rtd") else "minute"
    return [Row(SeriesKey(*at.split("/"), period, stat), time, value, flag, time + round(late * MINUTE))]


def own_hour(
    number: int, value: float, *, flag: str = "N", late: float = 2, at: str = "S1/DA001/a21026", stat: str = "avg"
) -> list[Row]:
    """Return the record of a device's own hour, `late` minutes after the hour has ended."""
    start = T0 + number * HOUR
    return [Row(SeriesKey(*at.split("/"), "hour", stat), start, value, flag, start + HOUR + round(late * MINUTE))]


def own_day(number: int, value: float, *, flag: str = "N", late: float = 10, at: str = "S1/DA001/a21026") -> list[Row]:
    """Return the record of a device's own day, `late` minutes after midnight."""
    start = T0 + number * DAY
    return [Row(SeriesKey(*at.split("/"), "day", "avg"), start, value, flag, start + DAY + round(late * MINUTE))]


def outlet(
    *limits: tuple[str, str, float], site: str = "S1", point: str = "DA001", base_o2: float | None = None, **more: Any
) -> Registry:
    """Return a registry of one point, with limits (factor, period, value) of its permit."""
    medium = "water" if point.startswith("DW") else "gas"
    unit = "mg/L" if medium == "water" else "mg/m3"
    held = tuple(Limit(site, point, factor, period, Bounds(None, high), unit, "permit") for factor, period, high in limits)
    return Registry((Site(site, site),), (Point(site, point, medium, mn=site, base_o2=base_o2, **more),), (), held)


def together(*registries: Registry, factors: tuple[Factor, ...] = ()) -> Registry:
    """Return several registries as one."""
    parts = {name: tuple(row for r in registries for row in getattr(r, name)) for name in ("sites", "points", "limits")}
    return Registry(parts["sites"], parts["points"], factors, parts["limits"])


@dataclass
class Product:
    """The engine of one plan and registry; `bodies` is all it has put out."""

    registry: Registry = field(default_factory=Registry)
    plan: Plan = PLAN
    infer: bool = False
    engine: Engine = field(init=False)
    bodies: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    outputs: list[Outputs] = field(default_factory=list)
    frames: int = 0

    def __post_init__(self) -> None:
        self.engine = Engine(self.plan, self.registry, infer=self.infer)

    @property
    def state(self) -> State:
        return self.engine.state

    def feed(self, records: Iterable[Record], tick: float | None = None) -> Outputs:
        """Take records as one batch, and then a tick at that minute of T0."""
        rows = [(row, self.frames + i) for i, record in enumerate(records) for row in record]
        self.frames = rows[-1][1] + 1 if rows else self.frames
        batch = batch_of(self.state, [row for row, _ in rows], [frame for _, frame in rows])
        out = self.engine.advance(Decoded(batch), None if tick is None else T0 + round(tick * MINUTE))
        self.bodies += out.bodies
        self.outputs.append(out)
        return out

    def play(self, records: Iterable[Record], until: float, *, since: float | None = None, every: int = 1) -> None:
        """Take records in order of arrival, with a tick each `every` minutes from the first of them on."""
        waiting = sorted(records, key=lambda r: r[0].arrived)
        minute = int((waiting[0][0].arrived - T0) // MINUTE if since is None else since) + 1
        while minute <= until:
            due = [r for r in waiting if r[0].arrived <= T0 + minute * MINUTE]
            waiting = waiting[len(due) :]
            self.feed(due, tick=minute)
            minute += every
        assert not waiting

    def said(self, kind: str = "alert", **wanted: Any) -> list[dict[str, Any]]:
        """Return the last body of each alert (or lead) that has these fields, in order of first appearance."""
        last = {body["id"]: body for k, _site, body in self.bodies if k == kind}
        return [body for body in last.values() if all(body[name] == value for name, value in wanted.items())]

    @property
    def books(self) -> dict[str, int]:
        return {fate: self.state.books[f"readings.{fate}"] for fate in ("received", *FATES)}

    def windows(self, period: str, factor: str | None = None) -> list[tuple[str, float, int, bool]]:
        """Return (start, mean, parts, valid) of the closed windows."""
        names = self.state.index.channels.names
        found = [
            (str(rfc3339(start)), mean, parts, valid)
            for out in self.outputs
            for closed in out.closed
            if closed.period == period
            for channel, start, mean, parts, valid in zip(*(np.asarray(c).tolist() for c in closed[1:]), strict=True)
            if factor is None or names[channel][2] == factor
        ]
        return sorted(found)


def batch_of(state: State, rows: Sequence[Row], frames: Sequence[int]) -> Readings:
    return Readings.of(
        [state.table.id(r.key) for r in rows],
        [r.time for r in rows],
        [r.value for r in rows],
        [ord(r.flag) if r.flag else 0 for r in rows],
        [r.arrived for r in rows],
        frames,
    )


def clock(minute: float) -> str:
    """Return a minute of T0 as alerts write it."""
    return str(rfc3339(T0 + round(minute * MINUTE)))


def span(start: int, end: int) -> list[core.Record]:
    """Make records of the offsets [start, end)."""
    return [core.Record("emission-monitoring", "S1", 0, "application/json", b"", offset) for offset in range(start, end)]
