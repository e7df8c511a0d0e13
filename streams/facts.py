"""What the registry and the plan say of points and series, as the index asks for it."""

from __future__ import annotations

from streams.index import Facts, PointFacts, SeriesFacts
from streams.plan.load import Plan
from streams.registry_model import Registry


def facts_of(registry: Registry, plan: Plan) -> Facts:
    """Answer from a registry; a range is the narrower of the registered one and the plan's."""
    nan = float("nan")

    def point(site: str, name: str) -> PointFacts:
        found = registry.point(site, name)
        if found is None:
            return PointFacts()
        return PointFacts(found.medium, nan if found.base_o2 is None else found.base_o2, found.operator)

    def series(site: str, name: str, factor: str) -> SeriesFacts:
        low, high = plan.ranges.get(factor, (float("-inf"), float("inf")))
        found = registry.factor(site, name, factor)
        if found is None:
            return SeriesFacts(low, high)
        return SeriesFacts(
            low if found.range_low is None else max(low, found.range_low),
            high if found.range_high is None else min(high, found.range_high),
            found.detection_limit or 0.0,
            nan if found.interval_s is None else found.interval_s,
        )

    return Facts(point, series)
