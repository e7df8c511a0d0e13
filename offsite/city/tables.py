"""What outlets and factors the city has, its districts and its staff: tables only.

Codes and units follow HJ 212-2017 Annex B.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
CST_MS = 8 * HOUR_MS
"""China Standard Time is UTC+8 without daylight saving."""


@dataclass(frozen=True, slots=True)
class FactorKind:
    """A factor: 2017 code, 2005 code ("" if none), wire unit, decimals, top of the measuring range, detection limit."""

    code: str
    old: str
    unit: str
    decimals: int
    range_high: float
    detection: float = 0.0


FACTORS: MappingProxyType[str, FactorKind] = MappingProxyType(
    {
        f.code: f
        for f in (
            FactorKind("a34013", "01", "mg/m3", 3, 200.0, 0.1),
            FactorKind("a21026", "02", "mg/m3", 2, 1000.0, 0.5),
            FactorKind("a21002", "03", "mg/m3", 2, 1000.0, 0.5),
            FactorKind("a21005", "04", "mg/m3", 2, 500.0, 0.5),
            FactorKind("a21024", "08", "mg/m3", 3, 200.0, 0.2),
            FactorKind("a24088", "", "mg/m3", 2, 500.0, 0.1),
            FactorKind("a19001", "S01", "%", 3, 25.0),
            FactorKind("a01011", "S02", "m/s", 3, 40.0),
            FactorKind("a01012", "S03", "℃", 2, 300.0),
            FactorKind("a01014", "S05", "%", 2, 40.0),
            FactorKind("a00000", "B02", "m3/s", 3, 2000.0),
            FactorKind("w00000", "B01", "L/s", 2, 5000.0),
            FactorKind("w01001", "001", "-", 2, 14.0),
            FactorKind("w01009", "", "mg/L", 2, 20.0),
            FactorKind("w01010", "", "℃", 2, 50.0),
            FactorKind("w01018", "011", "mg/L", 2, 1000.0, 1.0),
            FactorKind("w01019", "", "mg/L", 3, 20.0),
            FactorKind("w21003", "060", "mg/L", 3, 100.0, 0.01),
            FactorKind("w21011", "101", "mg/L", 3, 20.0, 0.005),
            FactorKind("w21001", "065", "mg/L", 3, 100.0, 0.05),
            FactorKind("a34004", "", "ug/m3", 1, 1000.0),
            FactorKind("a34002", "", "ug/m3", 1, 1000.0),
            FactorKind("a21004", "", "ug/m3", 1, 1000.0),
            FactorKind("a05024", "", "ug/m3", 1, 1000.0),
            FactorKind("Leq", "", "dB(A)", 1, 130.0),
            FactorKind("LA", "", "dB(A)", 1, 130.0),
            FactorKind("d10001", "", "kW", 2, 20000.0),
        )
    }
)


@dataclass(frozen=True, slots=True)
class Profile:
    """What one outlet measures: medium, wire ST, factors in wire order, and those that are sent converted (折算) as well.

    `standard` and `grade`: the quality standard of a station and its class.
    """

    name: str
    medium: str
    st: str
    factors: tuple[str, ...]
    converted: tuple[str, ...] = ()
    hourly_only: bool = False
    standard: str = ""
    grade: str = ""


_FLUE = ("a34013", "a21026", "a21002", "a19001", "a01011", "a01012", "a01014", "a00000")
PROFILES: MappingProxyType[str, Profile] = MappingProxyType(
    {
        p.name: p
        for p in (
            Profile("flue", "gas", "31", _FLUE, ("a34013", "a21026", "a21002")),
            Profile(
                "msw",
                "gas",
                "31",
                ("a34013", "a21026", "a21002", "a21005", "a21024", "a19001", "a01012", "a00000"),
                ("a34013", "a21026", "a21002", "a21005", "a21024"),
            ),
            Profile("voc", "gas", "31", ("a24088", "a01011", "a01012", "a00000")),
            Profile("sewage", "water", "32", ("w01018", "w21003", "w21011", "w21001", "w01001", "w00000")),
            Profile("effluent", "water", "32", ("w01018", "w21003", "w01001", "w00000")),
            Profile(
                "air", "air", "22", ("a34004", "a34002", "a21026", "a21004", "a21005", "a05024"), (), True, "GB 3095-2026", "2"
            ),
            Profile(
                "river",
                "surface_water",
                "21",
                ("w01010", "w01001", "w01009", "w01019", "w21003", "w21011"),
                (),
                True,
                "GB 3838-2002",
                "III",
            ),
            Profile("noise", "noise", "23", ("LA", "Leq"), (), True, "GB 3096-2008", "2"),
        )
    }
)

LEVELS: MappingProxyType[str, float] = MappingProxyType(
    {
        "a01011": 12.0,
        "a01012": 62.0,
        "a01014": 9.0,
        "w01001": 7.4,
        "w01009": 7.2,
        "w01010": 16.0,
        "w01019": 3.4,
        "a34004": 32.0,
        "a34002": 58.0,
        "a21004": 34.0,
        "a05024": 74.0,
        "LA": 46.0,
        "Leq": 47.0,
    }
)
"""Typical values of what has no discharge limit, in the factor's wire unit."""

AMBIENT_LEVELS: MappingProxyType[str, float] = MappingProxyType({"a21026": 9.0, "a21005": 0.8, "w21003": 0.35, "w21011": 0.09})
"""Typical values where air and surface water share a code with stacks and outfalls."""

AMBIENT_UNITS: MappingProxyType[str, str] = MappingProxyType({"a21026": "ug/m3"})
"""Wire units of air stations where they differ from those of stacks (GB 3095)."""

DISTRICTS: tuple[tuple[str, str], ...] = (
    ("990101", "示例东区"),
    ("990102", "示例西区"),
    ("990121", "示例南县"),
    ("990122", "示例北县"),
)
CITY_CODE, CITY_NAME = "990100", "示范市"
OPERATORS: tuple[str, ...] = ("示例运维甲公司", "示例运维乙公司", "示例运维丙公司", "示例运维丁公司", "示例运维戊公司")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at the monitoring centre or in the field (columns of people.csv; no site: sees all)."""

    person: str
    name: str
    role: str
    org: str
    org_level: str
    district: str = ""


_CENTRE = "示范市非现场监管中心"
PEOPLE: tuple[Person, ...] = (
    Person("wang", "值班员王某", "operator", _CENTRE, "city"),
    Person("zhao", "值班员赵某", "operator", _CENTRE, "city"),
    Person("li", "值班长李某", "shift_lead", _CENTRE, "city"),
    Person("chen", "执法员陈某", "officer", "示例东区执法大队", "county", "990101"),
    Person("liu", "执法员刘某", "officer", "示例南县执法大队", "county", "990121"),
    Person("sun", "局长孙某", "leader", "示范市生态环境局", "city"),
    Person("unit", "责任单位周某", "responsible_unit", "示例东区管委会", "county", "990101"),
    Person("admin", "管理员吴某", "admin", _CENTRE, "city"),
    Person("audit", "审计员郑某", "auditor", "示范市审计局", "city"),
)
