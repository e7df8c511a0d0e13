"""The city's inventory from one seed: enterprises, outlets, meters, cameras, stations, sensitive places.

Nothing here knows a time. `build(seed, enterprises)` is pure: the same arguments give the same inventory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from offsite.city.industries import INDUSTRIES, Industry
from offsite.city.tables import AMBIENT_LEVELS, DISTRICTS, LEVELS, OPERATORS, PROFILES, Profile

_DIGITS = "零一二三四五六七八九"
_VERSIONS = ("2017",) * 17 + ("2005",) * 2 + ("2025",)


@dataclass(frozen=True, slots=True)
class Outlet:
    """One monitored point: a stack, an outfall or a station.

    `index` is its row in every array of the city, `level` factor → typical value (wire unit), `limits` factor → permit limit.
    """

    index: int
    site: str
    point: str
    name: str
    profile: Profile
    mn: str
    version: str
    operator: str
    base_o2: float | None
    o2: float
    level: MappingProxyType[str, float]
    limits: MappingProxyType[str, float]
    standard: str
    grade: str


@dataclass(frozen=True, slots=True)
class Meter:
    """A power meter on one device: `role` production or treatment, rated power in kW."""

    index: int
    site: str
    point: str
    device: str
    role: str
    rated_kw: float
    serves: str


@dataclass(frozen=True, slots=True)
class Site:
    """An enterprise, a station or a sensitive place, with what stands on it."""

    index: int
    site: str
    name: str
    kind: str
    industry: Industry | None
    district: str
    lon: float
    lat: float
    outlets: tuple[Outlet, ...] = ()
    meters: tuple[Meter, ...] = ()
    camera: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """All places of the city; `outlets` and `meters` in index order."""

    sites: tuple[Site, ...]
    outlets: tuple[Outlet, ...]
    meters: tuple[Meter, ...]

    def by_site(self) -> dict[str, Site]:
        """Return site id → site."""
        return {s.site: s for s in self.sites}


def chinese_number(number: int) -> str:
    """Return 1 … 99 in Chinese digits, as factories are numbered.

    >>> chinese_number(1), chinese_number(21)
    ('一', '二十一')
    """
    tens, ones = divmod(number, 10)
    head = "" if tens == 0 else ("十" if tens == 1 else _DIGITS[tens] + "十")
    return head + (_DIGITS[ones] if ones or not head else "")


def shares(enterprises: int) -> list[int]:
    """Return how many enterprises each industry has, by largest remainder; every industry has one if there are enough."""
    total = sum(i.share for i in INDUSTRIES)
    exact = [enterprises * i.share / total for i in INDUSTRIES]
    counts = [max(int(e), min(1, enterprises // len(INDUSTRIES))) for e in exact]
    order = sorted(range(len(exact)), key=lambda k: (counts[k] - exact[k], k))
    short = enterprises - sum(counts)
    for k in range(abs(short)):
        at = order[k % len(order)] if short > 0 else max(range(len(counts)), key=counts.__getitem__)
        counts[at] += 1 if short > 0 else -1
    return counts


def _levels(profile: Profile, limits: MappingProxyType[str, float], o2: float, rng: np.random.Generator) -> dict[str, float]:
    """Draw an outlet's typical values: 30–60 % of the limit, or around the usual value."""
    level: dict[str, float] = {}
    for code in profile.factors:
        if code in limits:
            level[code] = limits[code] * rng.uniform(0.3, 0.58)
        elif code == "a19001":
            level[code] = o2 + rng.uniform(-0.4, 0.4)
        elif code in ("a00000", "w00000"):
            level[code] = float(np.exp(rng.uniform(np.log(8.0), np.log(80.0))))
        else:
            usual = AMBIENT_LEVELS.get(code) if profile.hourly_only else None
            level[code] = (LEVELS[code] if usual is None else usual) * rng.uniform(0.92, 1.08)
    return level


class _Builder:
    """Collects outlets and meters while sites are drawn in order."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 1])
        self.seed = seed
        self.sites: list[Site] = []
        self.outlets: list[Outlet] = []
        self.meters: list[Meter] = []

    def outlet(
        self, site: str, point: str, name: str, profile: Profile, industry: Industry | None, *, version: str, mn: str
    ) -> Outlet:
        gas = profile.medium == "gas"
        limits = MappingProxyType({c: industry.limits[c] for c in profile.factors if c in industry.limits} if industry else {})
        o2 = industry.o2 if industry else 0.0
        made = Outlet(
            index=len(self.outlets),
            site=site,
            point=point,
            name=name,
            profile=profile,
            mn=mn,
            version=version,
            operator=OPERATORS[int(self.rng.integers(len(OPERATORS)))],
            base_o2=industry.base_o2 if industry and gas and profile.converted else None,
            o2=o2,
            level=MappingProxyType(_levels(profile, limits, o2, self.rng)),
            limits=limits,
            standard=(industry.standard if gas else industry.water_standard) if industry else profile.standard,
            grade=(industry.grade if gas else industry.water_grade) if industry else profile.grade,
        )
        self.outlets.append(made)
        return made

    def mn(self, version: str, number: int) -> str:
        """Give a logger's MN: 24 hex digits (EPC-96 in the standards), 14 in the 2005 dialect."""
        serial = f"{len(self.sites) + 1:05d}{number:02d}"
        return f"9901000{serial}" if version == "2005" else f"A9901000FE{self.seed & 0xFFFFFF:06X}0{serial}"

    def enterprise(self, industry: Industry, number: int) -> None:
        """Draw one enterprise with its outlets, meters and camera."""
        site = f"S{len(self.sites) + 1:04d}"
        version = _VERSIONS[int(self.rng.integers(len(_VERSIONS)))]
        outlets: list[Outlet] = []
        metered_only = industry.key == "coating" and number % 3 == 0
        wanted = () if metered_only else self._wanted(industry, number)
        for k, (point, label, profile) in enumerate(wanted):
            shared = k > 0 and profile.medium == "water" and number % 2 == 1
            mn = outlets[0].mn if shared else self.mn(version, k + 1)
            outlets.append(self.outlet(site, point, label, profile, industry, version=version, mn=mn))
        meters = (
            tuple(self._meters(site, industry, outlets[0].point if outlets else "")) if number % 2 == 1 or metered_only else ()
        )
        district, lon, lat = self.place()
        name = f"示例{industry.stem}{chinese_number(number)}号{industry.suffix}"
        camera = "CAM001" if number % 3 != 2 else ""
        self.sites.append(
            Site(len(self.sites), site, name, "enterprise", industry, district, lon, lat, tuple(outlets), meters, camera)
        )

    def _wanted(self, industry: Industry, number: int) -> Iterator[tuple[str, str, Profile]]:
        both = industry.key != "chemical" or number % 2 == 1
        for k, name in enumerate(industry.stacks if both else ()):
            yield f"DA{k + 1:03d}", f"{k + 1}号废气排放口", PROFILES[name]
        for k, name in enumerate(industry.outfalls):
            yield f"DW{k + 1:03d}", f"{k + 1}号废水排放口", PROFILES[name]

    def _meters(self, site: str, industry: Industry, serves: str) -> Iterator[Meter]:
        rated = industry.kw * self.rng.uniform(0.7, 1.3)
        for k, (role, device, kw) in enumerate(
            (("production", "生产线", rated), ("treatment", industry.treatment, rated * 0.12))
        ):
            made = Meter(len(self.meters), site, f"PW{k + 1:03d}", device, role, round(kw, 1), serves)
            self.meters.append(made)
            yield made

    def station(self, kind: str, profile: str, point: str, name: str, mn_start: int) -> None:
        """Draw one ambient station."""
        site = f"{kind[0].upper()}{mn_start:04d}"
        outlet = self.outlet(site, point, name, PROFILES[profile], None, version="2017", mn=self.mn("2017", 1))
        district, lon, lat = self.place()
        self.sites.append(Site(len(self.sites), site, name, kind, None, district, lon, lat, (outlet,)))

    def place(self) -> tuple[str, float, float]:
        """Draw a district and a position near its middle."""
        district = DISTRICTS[int(self.rng.integers(len(DISTRICTS)))][0]
        middle = 0.12 * np.array([DISTRICTS.index(next(d for d in DISTRICTS if d[0] == district)) % 2, int(district[-2:]) // 20])
        lon, lat = middle + self.rng.normal(0.0, 0.035, 2)
        return district, round(111.0 + float(lon), 5), round(34.0 + float(lat), 5)


_STATIONS = (
    ("air_station", "air", "EQ001", "示例空气站", 8),
    ("river_station", "river", "EQ001", "示例河断面站", 6),
    ("noise_station", "noise", "NS001", "示例噪声站", 6),
)
_SENSITIVE = (
    "示例第一小学",
    "示例第二中学",
    "示例人民医院",
    "示例水源地",
    "示例河湾村",
    "示例养老院",
    "示例花园小区",
    "示例湿地",
)


def build(seed: int, enterprises: int) -> Inventory:
    """Return the inventory of the city with that many enterprises."""
    builder = _Builder(seed)
    for industry, count in zip(INDUSTRIES, shares(enterprises), strict=True):
        for number in range(1, count + 1):
            builder.enterprise(industry, number)
    for kind, profile, point, name, count in _STATIONS:
        for number in range(1, count + 1):
            builder.station(kind, profile, point, f"{name}{chinese_number(number)}号", number)
    for number, name in enumerate(_SENSITIVE, 1):
        district, lon, lat = builder.place()
        builder.sites.append(Site(len(builder.sites), f"Z{number:04d}", name, "sensitive", None, district, lon, lat))
    return Inventory(tuple(builder.sites), tuple(builder.outlets), tuple(builder.meters))
