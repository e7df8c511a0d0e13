"""Limits for whole batches: which low and high hold for each row of (series, time).

Enters: arrays of member numbers (series or channels) and times. Leaves: arrays of limits, NaN where none holds. The answer can only change on the
days when some limit begins or ends and between day and night, so each member is looked up once for each such span.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streams.limits import CST_MS, DAY_MS, EPOCH, HOUR_MS, LimitFound, limit_at
from streams.model import Float64, Int32, Int64
from streams.registry_model import Limit, Registry
from streams.standards import StandardLimit, StandardLimits
from streams.units import canonical

_KIND_OF_STAT = {"rtd": "concentration", "avg": "concentration", "sum": "amount"}
"""Statistics that a limit speaks of; minima, maxima and vendors' own are compared with none. `zs_` is the converted form."""

CONVERTED = "zs_"


@dataclass(slots=True)
class _Span:
    """The limits of all members within one span; `known` marks the members looked up so far."""

    low: Float64
    high: Float64
    known: NDArray[np.bool_]


class LimitIndex:
    """The batch form of `limit_at` over a growing list of names: a table's series keys, or channels (site, point, factor).

    `wire_units`: usual unit of a factor on the wire (HJ 212-2017 Annex B), used where the registry says nothing. A limit whose
    unit differs from the wire's is not applied but listed in `mismatches`. With `converted_only` a concentration series at a
    point with a base oxygen content is judged in its converted form alone (rules A-AV-9).
    """

    def __init__(
        self,
        registry: Registry,
        standards: StandardLimits,
        names: Sequence[tuple[str, ...]],
        *,
        wire_units: Mapping[str, str] | None = None,
        converted_only: bool = False,
    ) -> None:
        self._registry = registry
        self._standards = standards
        self._names = names
        self._wire_units = dict(wire_units or {})
        self._converted_only = converted_only
        self._spans: dict[tuple[str | None, int], _Span] = {}
        rows: list[Limit | StandardLimit] = [*registry.limits, *standards.rows]
        changes = {row.valid_from.toordinal() for row in rows if row.valid_from}
        changes |= {row.valid_to.toordinal() + 1 for row in rows if row.valid_to}
        self._changes = np.asarray(sorted(changes), np.int64) - EPOCH
        self._by_part = np.zeros(0, np.bool_)
        self.mismatches: dict[int, str] = {}

    def at(self, member: Int32, time: Int64, *, period: str | None = None) -> tuple[Float64, Float64]:
        """Return (low, high), each (n,) float64 in the limit's unit, NaN where there is no limit on that side.

        member (n,) int32 numbers in the list of names, time (n,) int64 ms UTC. `period` names the averaging basis: for channels
        always; for series only to ask for another than their own (an hourly limit beside minute values: a warning, never an
        exceedance).
        """
        local = time + CST_MS
        hour = local // HOUR_MS % 24
        span = np.searchsorted(self._changes, local // DAY_MS, side="right") * 2
        span += ((hour < 6) | (hour >= 22)) & self._parted()[member]
        low, high = np.empty(len(member)), np.empty(len(member))
        for number in np.unique(span).tolist():
            rows = np.flatnonzero(span == number)
            held = self._span(period, number)
            wanted = member[rows]
            missing = np.flatnonzero(~held.known[wanted])
            if len(missing):
                members, first = np.unique(wanted[missing], return_index=True)
                self._look_up(held, members, time[rows[missing[first]]], period)
            low[rows], high[rows] = held.low[wanted], held.high[wanted]
        return low, high

    def found(self, member: int, time: int, *, period: str | None = None) -> LimitFound | None:
        """Return the limit of one member at one time (ms UTC) in full, for reasons and pages."""
        site, point, factor, *rest = self._names[member]
        stat = rest[1] if rest else "avg"
        kind = _KIND_OF_STAT.get(stat.removeprefix(CONVERTED))
        basis = period or (rest[0] if rest else "")
        if kind is None or not basis:
            return None
        found = limit_at(self._registry, self._standards, site, point, factor, basis, time, kind=kind)
        if found is None or kind == "amount":
            return found
        if rest and not stat.startswith(CONVERTED) and self._judged_converted(site, point, found):
            return None
        return found if found.wire_unit else replace(found, wire_unit=self._wire_units.get(factor, ""))

    def _judged_converted(self, site: str, point: str, found: LimitFound) -> bool:
        place = self._registry.point(site, point)
        has_base = place is not None and place.base_o2 is not None
        return self._converted_only and has_base and canonical(found.unit).endswith("/m3")

    def _parted(self) -> NDArray[np.bool_]:
        """Mark the members whose limits differ by day and night, (size,) bool."""
        new = [name[2] in self._standards.factors_by_part for name in self._names[len(self._by_part) :]]
        if new:
            self._by_part = np.concatenate([self._by_part, np.asarray(new, np.bool_)])
        return self._by_part

    def _span(self, period: str | None, number: int) -> _Span:
        size = len(self._names)
        held = self._spans.get((period, number)) or _Span(np.zeros(0), np.zeros(0), np.zeros(0, np.bool_))
        more = size - len(held.known)
        if more > 0:
            more += size // 2
            nan, unknown = np.full(more, np.nan), np.zeros(more, np.bool_)
            held = _Span(*(np.concatenate(pair) for pair in ((held.low, nan), (held.high, nan), (held.known, unknown))))
            self._spans[period, number] = held
        return held

    def _look_up(self, held: _Span, members: Int32, times: Int64, period: str | None) -> None:
        for number, time in zip(members.tolist(), times.tolist(), strict=True):
            held.known[number] = True
            found = self.found(number, time, period=period)
            if found is None:
                continue
            if found.unit_mismatch:
                self.mismatches[number] = f"{'/'.join(self._names[number])}: sent in {found.wire_unit}, limited in {found.unit}"
                continue
            held.low[number] = np.nan if found.low is None else found.low
            held.high[number] = np.nan if found.high is None else found.high
