"""Units as written on wires, in permits and in standards, brought to one spelling; nothing is converted.

Enters: a unit in any of its spellings (毫克/立方米, mg/m³, mg/Nm3). Leaves: one canonical spelling, and whether the unit measures
a concentration or an amount (mass, or mass per hour).
"""

from __future__ import annotations

_SPELLINGS: dict[str, tuple[str, ...]] = {
    "mg/m3": ("mg/m³", "mg/nm3", "mg/nm³", "毫克/立方米", "毫克/标立方米", "毫克每立方米", "毫克/标准立方米"),
    "ug/m3": ("μg/m3", "μg/m³", "µg/m3", "µg/m³", "ug/m³", "ug/nm3", "微克/立方米"),
    "ng/m3": ("ng/m³", "纳克/立方米"),
    "mg/L": ("毫克/升", "毫克每升", "ppm(w)"),
    "ug/L": ("μg/l", "µg/l", "微克/升"),
    "ng/L": ("纳克/升",),
    "kg/h": ("kg/hr", "千克/小时", "公斤/小时"),
    "kg": ("千克", "公斤"),
    "t": ("吨",),
    "g": ("克",),
    "mg": ("毫克",),
    "dB(A)": ("db", "分贝", "dba", "分贝(a)"),
    "%": ("百分比", "percent"),
    "degC": ("℃", "°c", "摄氏度", "c"),
    "-": ("无量纲", "1", "ph", "无", "none"),
    "times": ("倍", "度", "[色]度"),
    "/L": ("个/升", "个/l", "mpn/l"),
}
_CANONICAL = {spelling.lower(): unit for unit, spellings in _SPELLINGS.items() for spelling in (unit, *spellings)}
_AMOUNTS = {"kg/h", "kg", "t", "g", "mg"}


def canonical(unit: str) -> str:
    """Return the canonical spelling; an unknown unit comes back without its blanks.

    >>> canonical("毫克/立方米"), canonical("mg/Nm³"), canonical("furlong")
    ('mg/m3', 'mg/m3', 'furlong')
    """
    bare = "".join(unit.split())
    return _CANONICAL.get(bare.lower(), bare)


def quantity(unit: str) -> str:
    """Return `amount` for a mass or a mass per hour, else `concentration`."""
    return "amount" if canonical(unit) in _AMOUNTS else "concentration"


def differ(one: str, other: str) -> bool:
    """Say whether two known units differ; an empty unit is not known and differs from none.

    kg in an hour and kg/h are the same number.
    """
    if not one or not other:
        return False
    pair = {canonical(one), canonical(other)}
    return len(pair) == 2 and pair != {"kg", "kg/h"}


_SHOWN = {
    "degC": "℃",
    "ug/L": "µg/L",
    "-": "",
    "mg/m3": "mg/m³",
    "ug/m3": "µg/m³",
    "ng/m3": "ng/m³",
    "升/秒": "L/s",
    "立方米/秒": "m³/s",
    "千帕": "kPa",
    "米/秒": "m/s",
}


def shown(unit: str) -> str:
    """Return the unit as people read it.

    >>> shown("毫克/立方米"), shown("mg/L")
    ('mg/m³', 'mg/L')
    """
    plain = canonical(unit)
    return _SHOWN.get(plain, plain)
