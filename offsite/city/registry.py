"""The registry folder of the city: the CSV files of design §3, UTF-8, one header row, deterministic order.

`tables(city)` gives file name → rows; `write` puts them into a folder.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from offsite.city.model import City
from offsite.city.plants import Meter, Outlet, Site
from offsite.city.tables import AMBIENT_UNITS, CITY_CODE, CITY_NAME, DISTRICTS, FACTORS, PEOPLE

Row = dict[str, Any]
_BUILT = "2016-06-01"
_VALID_FROM = "2020-01-01"
_HALF_SIDE = 0.0025
"""Half a site's side in degrees, about 250 m."""


def tables(city: City) -> dict[str, list[Row]]:
    """Return every registry file as rows."""
    sites = city.inventory.sites
    return {
        "sites.csv": [_site(s) for s in sites],
        "points.csv": [row for s in sites for row in _points(s)],
        "factors.csv": [row for o in city.inventory.outlets for row in _factors(o)]
        + [_meter_factor(m) for m in city.inventory.meters],
        "limits.csv": [row for o in city.inventory.outlets for row in _limits(o)],
        "equipment.csv": [_equipment(m) for m in city.inventory.meters],
        "people.csv": list(_people(city)),
        "districts.csv": [{"code": CITY_CODE, "name": CITY_NAME, "parent": ""}]
        + [{"code": code, "name": name, "parent": CITY_CODE} for code, name in DISTRICTS],
    }


def write(city: City, folder: Path) -> None:
    """Write the files; the same city gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables(city).items():
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n") if rows else None
        if writer:
            writer.writeheader()
            writer.writerows(rows)
        (folder / name).write_text(text.getvalue(), "utf-8")


def _site(site: Site) -> Row:
    left, right, low, high = site.lon - _HALF_SIDE, site.lon + _HALF_SIDE, site.lat - _HALF_SIDE, site.lat + _HALF_SIDE
    corners = ((left, low), (right, low), (right, high), (left, high), (left, low))
    return {
        "site": site.site,
        "name": site.name,
        "kind": site.kind,
        "enterprise": site.name if site.industry else "",
        "district": site.district,
        "industry": site.industry.key if site.industry else "",
        "lon": site.lon,
        "lat": site.lat,
        "polygon": ", ".join(f"{x:.5f} {y:.5f}" for x, y in corners),
    }


def _points(site: Site) -> Iterator[Row]:
    blank = {"mn": "", "base_o2": "", "standard": "", "class": "", "built": _BUILT, "area_m2": "", "kv": "", "operator": ""}
    for o in site.outlets:
        gas = o.profile.medium == "gas"
        yield {
            "site": o.site,
            "point": o.point,
            "name": o.name,
            "medium": o.profile.medium,
            **blank,
            "mn": o.mn,
            "base_o2": "" if o.base_o2 is None else o.base_o2,
            "standard": o.standard,
            "class": o.grade,
            "area_m2": round(o.level["a00000"] / o.level["a01011"], 2) if gas and "a01011" in o.level else "",
            "kv": 1.0 if gas else "",
            "operator": o.operator,
        }
    for m in site.meters:
        yield {"site": m.site, "point": m.point, "name": f"{m.device}电表", "medium": "power", **blank}
    if site.camera:
        yield {"site": site.site, "point": site.camera, "name": "监测站房摄像机", "medium": "video", **blank}


def _factors(outlet: Outlet) -> Iterator[Row]:
    for code in outlet.profile.factors:
        kind = FACTORS[code]
        yield {
            "site": outlet.site,
            "point": outlet.point,
            "factor": code,
            "wire_unit": AMBIENT_UNITS.get(code, kind.unit) if outlet.profile.medium == "air" else kind.unit,
            "range_low": -50 if code == "a01012" else 0,
            "range_high": kind.range_high,
            "detection_limit": kind.detection or "",
            "interval_s": 3600 if outlet.profile.hourly_only else "",  # learnt: past days come half-hourly, live data each minute
            "wet": 0,
        }


def _meter_factor(meter: Meter) -> Row:
    return {
        "site": meter.site,
        "point": meter.point,
        "factor": "d10001",
        "wire_unit": FACTORS["d10001"].unit,
        "range_low": 0,
        "range_high": round(meter.rated_kw * 1.5, 1),
        "detection_limit": "",
        "interval_s": "",
        "wet": "",
    }


def _limits(outlet: Outlet) -> Iterator[Row]:
    """Yield permit limits: gas by hour (converted hour means, rules B note 4), water by day and by hour for early warning."""
    periods = ("hour",) if outlet.profile.medium == "gas" else ("hour", "day")
    limits: dict[str, float | str] = {**outlet.limits, **({"w01001": "6~9"} if outlet.profile.medium == "water" else {})}
    for code, limit in limits.items():
        for period in periods:
            yield {
                "site": outlet.site,
                "point": outlet.point,
                "factor": code,
                "period": period,
                "limit": limit,
                "unit": FACTORS[code].unit,
                "source": "排污许可证",
                "valid_from": _VALID_FROM,
                "valid_to": "",
            }


def _equipment(meter: Meter) -> Row:
    return {
        "site": meter.site,
        "device": "E" + meter.point[-3:],
        "kind": meter.role,
        "rated_kw": meter.rated_kw,
        "serves": meter.serves,
        "name": meter.device,
        "meter_point": meter.point,
        "production_unit": "unit-1",
    }


def _people(city: City) -> Iterator[Row]:
    for number, person in enumerate(PEOPLE):
        yield {**asdict(person), "site": "", "phone": f"000-0000-{number:04d}"}
    for site in city.inventory.sites:
        if site.industry:
            yield {
                "person": f"ent-{site.site}",
                "name": f"环保员{site.site}",
                "role": "enterprise",
                "org": site.name,
                "org_level": "enterprise",
                "district": site.district,
                "site": site.site,
                "phone": f"000-1{site.index:03d}-0000",
            }
