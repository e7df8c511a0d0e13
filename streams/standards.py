"""The limits of the standards (`plan/limits.csv`) and which of them a point falls under.

Enters: the plan's table; a point with its standard, class and medium. Leaves: the rows that could hold, dates left to the caller.
A point may name a standard with its year (that edition) or without (the edition in force on the day).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache, lru_cache
from pathlib import Path

from streams.registry_cells import read_bounds, read_date
from streams.registry_model import KIN, Bounds, Point, Registry, medium_of

PLAN_LIMITS = Path(__file__).parent / "plan" / "limits.csv"

ANY_CLASS = "*"
ANY_BOUNDARY = "*/boundary"

_MEDIUM_STANDARD = {"air": "GB 3095", "surface_water": "GB 3838", "noise": "GB 3096"}
"""What an ambient station is held to when its registry row names no standard."""

_MEDIUM_CLASS = {"air": "2"}
"""Class of a station that names none: GB 3095 class 2 (residential, mixed and rural areas)."""


@dataclass(frozen=True, slots=True)
class StandardLimit:
    """One limit of a standard; `classes` are its names (English, Chinese; `*` = every class), `part` "" | day | night.

    An empty `standard` is a default of the plan for every point of the medium. Both days of the validity are included.
    """

    standard: str
    classes: tuple[str, ...]
    medium: str
    factor: str
    periods: tuple[str, ...]
    limit: Bounds
    unit: str
    base_o2: float | None = None
    part: str = ""
    condition: str = ""
    valid_from: date | None = None
    valid_to: date | None = None


@lru_cache(maxsize=4096)
def _key(text: str) -> str:
    """Fold a name: no blanks, lower case, full-width slash and roman numerals as their plain letters."""
    folded = "".join(text.split()).lower().replace("／", "/").removeprefix("class")
    for sign, letters in (("ⅰ", "i"), ("ⅱ", "ii"), ("ⅲ", "iii"), ("ⅳ", "iv"), ("ⅴ", "v")):
        folded = folded.replace(sign, letters)
    return folded


class StandardLimits:
    """The table, indexed by (standard, medium, factor, period)."""

    def __init__(self, rows: Iterable[StandardLimit]) -> None:
        self.rows = tuple(rows)
        self._index: dict[tuple[str, str, str, str], list[StandardLimit]] = {}
        for row in self.rows:
            for name in {_key(row.standard), _key(row.standard).split("-")[0]}:
                for period in row.periods:
                    self._index.setdefault((name, row.medium, row.factor, period), []).append(row)
        self.factors_by_part = frozenset(row.factor for row in self.rows if row.part)
        self._classes: dict[str, set[str]] = {}
        for row in self.rows:
            for name in {_key(row.standard), _key(row.standard).split("-")[0]}:
                self._classes.setdefault(name, set()).update(row.classes)

    def with_defaults(self, rows: Iterable[StandardLimit]) -> StandardLimits:
        """Return the table with the plan's own defaults added (rows whose `standard` is empty, e.g. `[replay.limits]`)."""
        return StandardLimits((*self.rows, *rows))

    def of(self, point: Point, factor: str, period: str) -> list[StandardLimit]:
        """Return the rows of the first of the point's standards that has any, and the plan's defaults."""
        defaults = self._index.get(("", point.medium, factor, period), [])
        for standard in _standards_of(point.standard, point.medium):
            rows = self._index.get((standard, point.medium, factor, period), [])
            wanted = _key(point.class_ or _MEDIUM_CLASS.get(point.medium, ""))
            for name in (wanted, wanted.removesuffix("/lake").removesuffix("/湖库")):
                fit = [row for row in rows if _fits(row.classes, name)]
                if fit:
                    return [*fit, *defaults]
        return defaults

    def doubts(self, registry: Registry) -> list[str]:
        """Name the points whose standard or class the table does not know: they have no national limit."""
        found = []
        for point in registry.points:
            for name in re.split(r"[;；、]", point.standard):
                classes = self._classes.get(_key(name))
                if name and classes is None:
                    found.append(f"points {point.site}/{point.point} standard: {name!r} has no limits in the plan")
                elif classes and ANY_CLASS not in classes and _key(point.class_) not in map(_key, classes):
                    known = ", ".join(sorted(c for c in classes if c.isascii()))
                    found.append(f"points {point.site}/{point.point} class: {point.class_!r} is none of {name}'s: {known}")
        return found


def _fits(classes: tuple[str, ...], wanted: str) -> bool:
    """Say whether a row of these classes speaks of class `wanted`: `*` of any stack, `*/boundary` of any boundary."""
    boundary = wanted.endswith(("/boundary", "/厂界"))
    return any(name == (ANY_BOUNDARY if boundary else ANY_CLASS) or _key(name) == wanted for name in classes)


@lru_cache(maxsize=4096)
def _standards_of(standard: str, medium: str) -> tuple[str, ...]:
    named = standard or _MEDIUM_STANDARD.get(medium, "")
    return tuple(_key(name) for name in re.split(r"[;；、]", named) if name.strip())


def load_standards(path: Path = PLAN_LIMITS) -> StandardLimits:
    """Read a table in the form of `plan/limits.csv`; raises ValueError naming every faulty line."""
    faults: list[str] = []
    rows: list[StandardLimit] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        for line, cells in enumerate(csv.DictReader(file), 2):
            try:
                rows.append(_row(cells))
            except (KeyError, ValueError) as error:
                faults.append(f"{path.name}:{line} {error}")
    if faults:
        raise ValueError("\n".join(faults))
    return StandardLimits(rows)


def _row(cells: dict[str, str]) -> StandardLimit:
    def day(name: str) -> date | None:
        return read_date(cells[name]) if cells[name] else None

    return StandardLimit(
        standard=cells["standard"],
        classes=tuple(name for name in (cells["class"], cells["class_zh"]) if name),
        medium=cells["medium"],
        factor=cells["factor"],
        periods=tuple(cells["period"].split()),
        limit=read_bounds(cells["limit"]),
        unit=cells["unit"],
        base_o2=float(cells["base_o2"]) if cells["base_o2"] else None,
        part=cells["part"],
        condition=cells["condition"],
        valid_from=day("valid_from"),
        valid_to=day("valid_to"),
    )


def plan_defaults(limits: Mapping[str, float], periods: tuple[str, ...] = ("hour",)) -> list[StandardLimit]:
    """Make a plan's own defaults of factor → upper limit (`[replay.limits]`): mg/L for water, mg/m3 for all else."""
    return [
        StandardLimit("", (ANY_CLASS,), medium, factor, periods, Bounds(None, high), "mg/L" if factor[:1] == "w" else "mg/m3")
        for factor, high in limits.items()
        for medium in (medium_of(factor), KIN.get(medium_of(factor), ""))
        if medium
    ]


@cache
def national() -> StandardLimits:
    """Return the packaged table."""
    return load_standards()
