"""Names beside codes: what a person reads where the machine says DA001 and a21026.

Enters: alerts, leads and cases as the desk keeps them. Leaves: the same rows with `site_name`, `point_name`, `factor_name`.
The registry is asked once a site and request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from streams.alerts import factor_names

Row = dict[str, Any]


class Names:
    """A reader of registry names with a memory of one request."""

    def __init__(self, registry: Callable[[str], Row]) -> None:
        self._registry = registry
        self._sites: dict[str, Row] = {}

    def site(self, site: str) -> Row:
        """Return the registry's entry of a site; an unknown site has its id as name and no points."""
        if site not in self._sites:
            self._sites[site] = self._registry(site) or {}
        return self._sites[site]

    def points(self, site: str) -> list[Row]:
        """Return the points of a site, each with `point, name, medium, factors`."""
        return list(self.site(site).get("points") or ())

    def point(self, site: str, point: str | None) -> Row:
        """Return one point's entry, or an empty one."""
        return next((one for one in self.points(site) if one.get("point") == point), {})

    def factor(self, site: str, point: str | None, factor: str | None) -> Row:
        """Return one factor's entry (`factor, name_zh, name_en, unit`): the registry's, else the standard's, else an empty one."""
        known: Row | None = next(
            (one for one in self.point(site, point).get("factors") or () if one.get("factor") == factor), None
        )
        if known is not None:
            return known
        standard = factor_names().get(factor or "")
        return {} if standard is None else dict(zip(("name_zh", "name_en", "unit"), standard, strict=True))

    def label(self, row: Row) -> Row:
        """Return a copy of `row` with the names of its site, point and factor."""
        site, point, factor = str(row.get("site") or ""), row.get("point"), row.get("factor")
        entry = self.factor(site, point, factor)
        return {
            **row,
            "site_name": self.site(site).get("name") or site,
            "point_name": self.point(site, point).get("name") or point,
            "factor_zh": entry.get("name_zh") or factor,
            "factor_en": entry.get("name_en") or factor,
        }

    def labels(self, rows: Iterable[Row]) -> list[Row]:
        """Label many rows."""
        return [self.label(row) for row in rows]


class Remembered:
    """A registry lookup that asks again only after `keep_s` seconds: lists name hundreds of sites, registries change rarely."""

    def __init__(
        self, registry: Callable[[str], Row], monotonic: Callable[[], float] = time.monotonic, keep_s: float = 10.0
    ) -> None:
        self._registry = registry
        self._monotonic = monotonic
        self._keep_s = keep_s
        self._known: dict[str, tuple[float, Row]] = {}

    def __call__(self, site: str) -> Row:
        """Return the site's entry as it was at most `keep_s` ago."""
        now = self._monotonic()
        known = self._known.get(site)
        if known is None or now - known[0] > self._keep_s:
            known = self._known[site] = (now, self._registry(site))
        return known[1]
