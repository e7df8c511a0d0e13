"""Which limit holds: permit first, else the stricter of local and national, by averaging basis and date (rules §B).

Enters: the registry, the standard limits (`plan/limits.csv`), a series and a time. Leaves: `LimitFound`, or None.
Days are China Standard Time days. A minute value is never compared with an hourly limit here (rules B note 2): a rule that
wants to warn asks for the hourly basis by name. Nothing is converted: a unit that differs from the wire's is flagged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from streams.registry_model import INFERRED_POINT, KIN, Limit, Point, Registry, medium_of
from streams.standards import StandardLimit, StandardLimits
from streams.units import differ, quantity

CST_MS = 8 * 3_600_000
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
EPOCH = date(1970, 1, 1).toordinal()

COLD_WATER = 12.0
"""GB 18918-2002 table 1: ammonia limits in brackets hold at ≤ 12 °C."""

PERMIT, LOCAL, NATIONAL, PLAN = range(4)
_RANKS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (LOCAL, ("local", "地方", "db")),
    (NATIONAL, ("national", "国家", "gb", "hj", "环大气", "环发")),
    (PLAN, ("plan", "default")),
)


def rank_of(source: str) -> int:
    """Return how strong a source is: PERMIT (also any other word: the point's own limit), LOCAL, NATIONAL or PLAN."""
    lower = source.strip().lower()
    return next((rank for rank, starts in _RANKS if lower.startswith(starts)), PERMIT)


@dataclass(frozen=True, slots=True)
class LimitFound:
    """The limit that holds: `low` ≤ value ≤ `high` in `unit`; `clause_key` names the standard or permit it comes from.

    `wire_unit` is what the device sends, if known; `unit_mismatch` says that the two cannot be compared as they are.
    """

    low: float | None
    high: float | None
    unit: str
    source: str
    clause_key: str
    wire_unit: str = ""

    @property
    def unit_mismatch(self) -> bool:
        """Say whether the wire unit is known and is another one."""
        return differ(self.wire_unit, self.unit)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A limit that holds, whatever table it came from."""

    rank: int
    row: Limit | StandardLimit
    source: str
    clause_key: str


def cst_day(time_ms: int) -> date:
    """Return the China Standard Time day of a time (ms UTC)."""
    return date.fromordinal(EPOCH + (time_ms + CST_MS) // DAY_MS)


def is_night(time_ms: int) -> bool:
    """Say whether a time lies in the night of the noise law, 22:00–06:00 China Standard Time."""
    hour = (time_ms + CST_MS) // HOUR_MS % 24
    return not 6 <= hour < 22


_CONDITIONS: dict[str, Callable[[Point, float | None], bool]] = {
    "": lambda _point, _temp: True,
    "water_cold": lambda _point, temp: temp is None or temp <= COLD_WATER,
    "water_warm": lambda _point, temp: temp is not None and temp > COLD_WATER,
    "built_before_2006": lambda point, _temp: point.built is None or point.built < date(2006, 1, 1),
    "built_from_2006": lambda point, _temp: point.built is not None and point.built >= date(2006, 1, 1),
}
"""What a limit may depend on. Unknown water temperature or year takes the looser limit: an accusation needs the fact."""


def limit_at(
    registry: Registry,
    plan_limits: StandardLimits,
    site: str,
    point: str,
    factor: str,
    period: str,
    time_ms: int,
    *,
    kind: str = "concentration",
    water_temp: float | None = None,
) -> LimitFound | None:
    """Return the limit of (site, point, factor) for averages over `period` at `time_ms` (ms UTC), or None.

    `kind`: concentration | amount (kg, kg/h). `water_temp`: the effluent's mean temperature of that day in °C, if known.
    """
    day = cst_day(time_ms)
    found = [
        _Candidate(rank_of(limit.source), limit, limit.source or "permit", limit.source or "permit")
        for limit in registry.limits_of(site, point, factor)
        if limit.period == period
    ]
    place = registry.point(site, point) or _unregistered(site, point, factor)
    rows = plan_limits.of(place, factor, period)
    if not found and not rows:
        return None
    part = "night" if is_night(time_ms) else "day"
    found += [
        _Candidate(rank_of(row.standard or "plan"), row, row.standard or "plan", f"{row.standard} {row.classes[0]}".strip())
        for row in rows
        if row.part in ("", part) and _CONDITIONS[row.condition](place, water_temp)
    ]
    best = _strongest([c for c in found if _in_force(c.row, day) and quantity(c.row.unit) == kind])
    if best is None:
        return None
    measured = registry.factor(site, point, factor)
    low, high = best.row.limit
    wire_unit = measured.wire_unit if measured and kind == "concentration" else ""  # it names the concentration, not the mass
    return LimitFound(low, high, best.row.unit, best.source, best.clause_key, wire_unit)


def _unregistered(site: str, point: str, factor: str) -> Point:
    """Return what the code of an inferred point says of it."""
    medium = medium_of(factor)
    if INFERRED_POINT[medium] != point and INFERRED_POINT.get(KIN.get(medium, "")) == point:
        medium = KIN[medium]
    return Point(site, point, medium)


def _in_force(row: Limit | StandardLimit, day: date) -> bool:
    return (row.valid_from is None or row.valid_from <= day) and (row.valid_to is None or day <= row.valid_to)


def _strongest(found: Sequence[_Candidate]) -> _Candidate | None:
    """Take the permit; else the stricter of local and national; else the plan's default. Newest within one source."""
    for ranks in ((PERMIT,), (LOCAL, NATIONAL), (PLAN,)):
        newest: dict[int, _Candidate] = {}
        for candidate in found:
            if candidate.rank in ranks:
                held = newest.get(candidate.rank)
                if held is None or _start(candidate) > _start(held):
                    newest[candidate.rank] = candidate
        if newest:
            return _stricter(newest.values())
    return None


def _start(candidate: _Candidate) -> date:
    return candidate.row.valid_from or date.min


def _stricter(candidates: Iterable[_Candidate]) -> _Candidate:
    """Take the narrower one; a local limit beats a national one of another unit or the same number."""
    ordered = sorted(candidates, key=lambda c: c.rank)
    best = ordered[0]
    for other in ordered[1:]:
        if not differ(best.row.unit, other.row.unit) and _width(other.row) < _width(best.row):
            best = other
    return best


def _width(row: Limit | StandardLimit) -> tuple[float, float]:
    low, high = row.limit
    return (float("inf") if high is None else high, -float("inf") if low is None else -low)
