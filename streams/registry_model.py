"""What is known of the world: places, points, factors, limits, equipment, people, districts.

Enters: rows that `registry_tables` has read and checked. Leaves: an immutable `Registry` with fast lookups. The rows are kept
sorted by their keys, so that two registries of the same content are equal, whatever file order they came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

MEDIA = ("gas", "water", "air", "surface_water", "noise", "power", "video")
"""What a point watches. The factor prefix decides the medium of a reading; the ST of a frame is only a hint."""

KIN = {"gas": "air", "air": "gas", "water": "surface_water", "surface_water": "water"}
"""Media that share a factor prefix (`a`, `w`): a device that names the wrong ST still reaches its point."""

INFERRED_POINT = {
    "gas": "DA001",
    "water": "DW001",
    "air": "EQ001",
    "surface_water": "EQ001",
    "noise": "NS001",
    "power": "PW001",
    "video": "VD001",
}
"""Point code of an inferred registry, by medium (outlet codes of the discharge permit: DA gas outlet, DW water outlet)."""

PREFIX_MEDIUM = {"a": "gas", "w": "water", "L": "noise", "d": "power"}
AMBIENT_ST = {"21": "surface_water", "22": "air"}

Ring = tuple[tuple[float, float], ...]


def medium_of(factor: str, st: str = "") -> str:
    """Return the medium of a factor code (HJ 212-2017 Annex B prefix); `st` 21 or 22 turns water and gas into ambient media.

    A code without a known prefix counts as the medium of the ST (22 air, 21 surface water, 32 water), else gas.
    """
    found = PREFIX_MEDIUM.get(factor[:1], "water" if st == "32" else "gas")
    ambient = AMBIENT_ST.get(st)
    return ambient if ambient and found in (ambient, KIN[ambient]) else found


class Bounds(NamedTuple):
    """A limit's numbers: `low` ≤ value ≤ `high`, each None where the side is open. pH has both (6–9), oxygen only `low`."""

    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Site:
    """A place: enterprise, farm, works, restaurant, river reach, village, sensitive zone … with or without points.

    lon, lat in degrees (WGS 84 or GCJ-02 as the user's map); `polygon` rings of (lon, lat), read with the even-odd rule.
    """

    site: str
    name: str = ""
    kind: str = ""
    enterprise: str = ""
    district: str = ""
    industry: str = ""
    lon: float | None = None
    lat: float | None = None
    polygon: tuple[Ring, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Point:
    """An outlet or a station of a site. `base_o2` in % (rules A.4), `area_m2` duct area, `kv` velocity coefficient."""

    site: str
    point: str
    medium: str
    name: str = ""
    mn: str = ""
    base_o2: float | None = None
    standard: str = ""
    class_: str = ""
    built: date | None = None
    area_m2: float | None = None
    kv: float | None = None
    operator: str = ""
    production_unit: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Factor:
    """How one factor is measured at one point: wire unit, range, detection limit (in the wire unit), interval, wet basis."""

    site: str
    point: str
    factor: str
    wire_unit: str = ""
    range_low: float | None = None
    range_high: float | None = None
    detection_limit: float | None = None
    interval_s: float | None = None
    wet: bool = False
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of one point; valid from `valid_from` to `valid_to`, both days included (China Standard Time), None = open."""

    site: str
    point: str
    factor: str
    period: str
    limit: Bounds
    unit: str
    source: str = ""
    valid_from: date | None = None
    valid_to: date | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Equipment:
    """A device that makes or treats pollution. `serves`: points, devices or units; `meter_point`: where its power is read."""

    site: str
    device: str
    kind: str = ""
    rated_kw: float | None = None
    serves: tuple[str, ...] = ()
    production_unit: str = ""
    meter_point: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who works with the product."""

    person: str
    name: str = ""
    role: str = ""
    org: str = ""
    org_level: str = ""
    district: str = ""
    site: str = ""
    phone: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class District:
    """An administrative division (GB/T 2260 code) under its parent."""

    code: str
    name: str = ""
    parent: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Registry:
    """All of it. Lookups are dictionary reads; nothing here changes after construction."""

    sites: tuple[Site, ...] = ()
    points: tuple[Point, ...] = ()
    factors: tuple[Factor, ...] = ()
    limits: tuple[Limit, ...] = ()
    equipment: tuple[Equipment, ...] = ()
    people: tuple[Person, ...] = ()
    districts: tuple[District, ...] = ()
    by_mn: dict[str, list[Point]] = field(init=False, repr=False, compare=False)
    _sites: dict[str, Site] = field(init=False, repr=False, compare=False)
    _points: dict[tuple[str, str], Point] = field(init=False, repr=False, compare=False)
    _factors: dict[tuple[str, str, str], Factor] = field(init=False, repr=False, compare=False)
    _limits: dict[tuple[str, str, str], list[Limit]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the lookups."""
        by_mn: dict[str, list[Point]] = {}
        for point in self.points:
            if point.mn:
                by_mn.setdefault(point.mn, []).append(point)
        limits: dict[tuple[str, str, str], list[Limit]] = {}
        for limit in self.limits:
            limits.setdefault((limit.site, limit.point, limit.factor), []).append(limit)
        lookups = {
            "by_mn": by_mn,
            "_sites": {s.site: s for s in self.sites},
            "_points": {(p.site, p.point): p for p in self.points},
            "_factors": {(f.site, f.point, f.factor): f for f in self.factors},
            "_limits": limits,
        }
        for name, value in lookups.items():
            object.__setattr__(self, name, value)

    def site(self, site: str) -> Site | None:
        """Return the site, or None."""
        return self._sites.get(site)

    def point(self, site: str, point: str) -> Point | None:
        """Return the point, or None."""
        return self._points.get((site, point))

    def factor(self, site: str, point: str, factor: str) -> Factor | None:
        """Return how the factor is measured at the point, or None."""
        return self._factors.get((site, point, factor))

    def limits_of(self, site: str, point: str, factor: str) -> list[Limit]:
        """Return every limit of the factor at the point, of all periods, sources and dates."""
        return self._limits.get((site, point, factor), [])

    def resolve(self, mn: str, medium: str) -> tuple[str, str] | None:
        """Return (site, point) of a device's readings, or None for an MN nobody registered.

        The point of that medium, else of its kin (gas/air, water/surface_water), else the device's first point: a registered
        device's readings are never without a place.
        """
        points = self.by_mn.get(mn)
        if not points:
            return None
        for wanted in (medium, KIN.get(medium)):
            for point in points:
                if point.medium == wanted:
                    return point.site, point.point
        return points[0].site, points[0].point
