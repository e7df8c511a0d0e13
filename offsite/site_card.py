"""A site as pages show it: the registry in force enters, one JSON object leaves."""

from __future__ import annotations

from typing import Any

from streams.alerts import factor_names
from streams.registry_model import Factor, Registry


def site_card(registry: Registry, site: str) -> dict[str, Any]:
    """Return a site's registry entry: site, name, enterprise, district, points with their factors; empty if unknown."""
    found = registry.site(site)
    if found is None:
        return {}
    points = [
        {
            "point": p.point,
            "name": p.name,
            "medium": p.medium,
            "factors": [_factor(registry, f) for f in registry.factors if (f.site, f.point) == (p.site, p.point)],
        }
        for p in registry.points
        if p.site == site
    ]
    return {"site": site, "name": found.name, "enterprise": found.enterprise, "district": found.district, "points": points}


def _factor(registry: Registry, factor: Factor) -> dict[str, Any]:
    zh, en, unit = factor_names().get(factor.factor, (factor.factor, factor.factor, ""))
    limits = registry.limits_of(factor.site, factor.point, factor.factor)
    hourly = next((limit.limit.high for limit in limits if limit.period == "hour"), None)
    return {"factor": factor.factor, "name_zh": zh, "name_en": en, "unit": factor.wire_unit or unit, "limit": hourly}
