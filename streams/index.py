"""What a series number means, as columns: its site, point, channel, role and bounds, for vectorised joins.

The `SeriesTable` enters (append-only, numbered in log order) with the registry and the plan; arrays leave. Everything here is
derived, never stored: the same table and registry give the same arrays after a restart.

* site, point: numbers of the sites and of the (site, point) pairs, in order of first appearance
* channel: number of (site, point, factor), what a limit and an hour mean belong to
* cell: number among the series that feed hour windows and detectors of reading cadence, -1 for the others
* role: what the series is in the life of a channel, see ROLES
* cell_flow: the cell that holds the flow of the same water point in the same role, -1 where there is none
* cell_series: series of a cell
* cell_interval: registered interval of a cell in s, 0 where none is registered; point_interval: the shortest of a point, NaN
* convertible: channels that a base O2 applies to: pollutants of a gas outlet, not its state quantities
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.model import Int32, SeriesTable

ROLES = {
    ("realtime", "rtd"): 1,
    ("realtime", "zs_rtd"): 2,
    ("minute", "avg"): 3,
    ("minute", "zs_avg"): 4,
    ("hour", "avg"): 5,
    ("hour", "zs_avg"): 6,
    ("day", "avg"): 7,
    ("day", "zs_avg"): 8,
}
"""(period, stat) → role; 0 for every other series. 1–4 are cells: raw and converted real-time and minute values."""
LAST_CELL_ROLE = 4
PERIOD_CODE = {"realtime": 0, "minute": 1, "hour": 2, "day": 3, "month": 4, "quarter": 5}
O2 = "a19001"
FLOW = "w00000"


class PointFacts(NamedTuple):
    """What the registry says of one point; the defaults stand where it says nothing."""

    medium: str = ""
    base_o2: float = float("nan")
    operator: str = ""


class SeriesFacts(NamedTuple):
    """What the registry and plan say of one channel: possible range and detection limit in the wire's unit."""

    low: float = float("-inf")
    high: float = float("inf")
    detection_limit: float = 0.0
    interval_s: float = float("nan")


@dataclass(slots=True)
class Facts:
    """The registry as the index asks it: two functions, so that an inferred registry costs nothing."""

    point: Callable[[str, str], PointFacts] = lambda _site, _point: PointFacts()
    series: Callable[[str, str, str], SeriesFacts] = lambda _site, _point, _factor: SeriesFacts()


@dataclass(slots=True)
class Numbers:
    """A dictionary that numbers what it meets."""

    names: list[Any] = field(default_factory=list)
    ids: dict[Any, int] = field(default_factory=dict)

    def of(self, name: Any) -> int:
        """Return the number of `name`, giving the next if it is new."""
        found = self.ids.get(name)
        if found is None:
            found = self.ids[name] = len(self.names)
            self.names.append(name)
        return found


class Index:
    """Columns by series, by cell, by channel and by point, extended as the table grows."""

    def __init__(self, table: SeriesTable, facts: Facts | None = None) -> None:
        self.table = table
        self.facts = facts or Facts()
        self.sites = Numbers()
        self.points = Numbers()
        self.channels = Numbers()
        self.cells: list[int] = []
        self.site = self.point = self.channel = self.cell = np.zeros(0, np.int32)
        self.role = self.period = np.zeros(0, np.uint8)
        self.low = self.high = np.zeros(0)
        self.cell_series = self.cell_channel = self.cell_site = np.zeros(0, np.int32)
        self.cell_role = np.zeros(0, np.uint8)
        self.floor = np.zeros(0)
        self.channel_point = self.channel_site = np.zeros(0, np.int32)
        self.point_site = self.point_o2 = self.point_flow = np.zeros(0, np.int32)
        self.point_facts: list[PointFacts] = []
        self.channel_facts: list[SeriesFacts] = []
        self.base_o2 = np.zeros(0)
        self.is_water = self.convertible = np.zeros(0, np.bool_)
        self.cell_flow = np.zeros(0, np.int64)
        self.cell_interval = self.point_interval = np.zeros(0)
        self._by_factor: dict[str, NDArray[np.float64]] = {}
        self.extend()

    def extend(self) -> None:
        """Take in the series that the table has gained."""
        known = len(self.site)
        new = self.table.keys[known:]
        if not new:
            return
        rows = [self._row(known + i, key.site, key.point, key.factor, key.period, key.stat) for i, key in enumerate(new)]
        ints: Int32 = np.array([r[:4] for r in rows], np.int32)
        codes = np.array([r[4:6] for r in rows], np.uint8)
        bounds = np.array([r[6:8] for r in rows], np.float64)
        self.site, self.point = _grow(self.site, ints[:, 0]), _grow(self.point, ints[:, 1])
        self.channel, self.cell = _grow(self.channel, ints[:, 2]), _grow(self.cell, ints[:, 3])
        self.role, self.period = _grow(self.role, codes[:, 0]), _grow(self.period, codes[:, 1])
        self.low, self.high = _grow(self.low, bounds[:, 0]), _grow(self.high, bounds[:, 1])
        self._derive()

    def _row(self, sid: int, site: str, point: str, factor: str, period: str, stat: str) -> tuple[Any, ...]:
        """Give one series its numbers and bounds."""
        site_no, channel = self.sites.of(site), self.channels.of((site, point, factor))
        if channel == len(self.channel_facts):
            self.channel_facts.append(self.facts.series(site, point, factor))
        if (site, point) not in self.points.ids:
            self.point_facts.append(self.facts.point(site, point))
        point_no = self.points.of((site, point))
        role, cell = ROLES.get((period, stat), 0), -1
        if 0 < role <= LAST_CELL_ROLE:
            cell = len(self.cells)
            self.cells.append(sid)
        facts = self.channel_facts[channel]
        bounded = role % 2 == 1
        low, high = (facts.low, facts.high) if bounded else (float("-inf"), float("inf"))
        return site_no, point_no, channel, cell, role, PERIOD_CODE[period], low, high

    def _derive(self) -> None:
        """Recompute the columns by cell, channel and point."""
        self.cell_series = cells = np.array(self.cells, np.int32)
        self.cell_channel, self.cell_site, self.cell_role = self.channel[cells], self.site[cells], self.role[cells]
        names = self.channels.names
        self.channel_site = np.array([self.sites.ids[c[0]] for c in names], np.int32)
        self.channel_point = np.array([self.points.ids[c[:2]] for c in names], np.int32)
        self.cell_interval = np.nan_to_num([self.channel_facts[c].interval_s for c in self.cell_channel.tolist()])
        self.point_interval = np.full(len(self.points.names), np.nan)
        np.fmin.at(self.point_interval, self.channel_point, [f.interval_s for f in self.channel_facts])
        self.floor = np.array([f.detection_limit for f in self.channel_facts], np.float64)
        self.point_site = np.array([self.sites.ids[p[0]] for p in self.points.names], np.int32)
        self.point_o2 = self._companion(O2)
        self.point_flow = self._companion(FLOW)
        self.base_o2 = np.array([f.base_o2 for f in self.point_facts], np.float64)
        self.is_water = np.array([c[2].startswith("w") for c in names], np.bool_)
        self.convertible = np.array([c[2].startswith(("a2", "a3")) for c in names], np.bool_)
        places = {pair: i for i, pair in enumerate(zip(self.cell_channel.tolist(), self.cell_role.tolist(), strict=True))}
        flow = np.where(self.is_water, self.point_flow[self.channel_point], -1)[self.cell_channel].tolist()
        pairs = zip(flow, self.cell_role.tolist(), strict=True)
        self.cell_flow = np.array([places.get(pair, -1) for pair in pairs], np.int64)

    def by_factor(self, name: str, of: Callable[[str], float]) -> NDArray[np.float64]:
        """Return `of(factor)` for every channel (c,) float64, remembered under `name` and extended as channels come."""
        known = self._by_factor.get(name, np.zeros(0))
        new = self.channels.names[len(known) :]
        if new:
            known = self._by_factor[name] = np.concatenate([known, [of(factor) for _site, _point, factor in new]])
        return known

    def _companion(self, factor: str) -> Int32:
        """Channel number of `factor` at each point, -1 where the point has none."""
        ids: Mapping[Any, int] = self.channels.ids
        return np.array([ids.get((*p, factor), -1) for p in self.points.names], np.int32)


def _grow(old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([old, new.astype(old.dtype)])
