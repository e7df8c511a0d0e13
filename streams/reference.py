"""Other departments' rows in the registry's words: one mapping table, applied by pure functions.

Enters: raw rows of an export, their source, and the registry in force. Leaves: entries that can be taken, and a fault for every
row that can't, with its place, the reason and the remedy. Nothing is guessed: a value that no map knows is a fault, a limit in a unit
that its factor is not measured in is a fault unless the source says how to convert it.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from streams.reference_model import FILLED, Entry, Fault, Key, Source, Taken
from streams.registry_cells import read_bounds, write_bounds
from streams.registry_model import Bounds, Registry, Site
from streams.registry_tables import Row, cells_of, read_row
from streams.units import canonical, differ, quantity

_EXCEL = date(1899, 12, 30)
"""Day 0 of a spreadsheet's serial numbers (the 1900 system, as Excel counts it)."""
_DATES = {"valid_from", "valid_to", "built", "date"}
_PLACES = ("lon", "lat", "base_o2", "area_m2", "kv")
_NUMBERS = frozenset(
    (*_PLACES, "limit", "range_low", "range_high", "detection_limit", "interval_s", "rated_kw", "amount"),
)


class _Bad(Exception):
    """Why a row is not taken: column, reason, words."""


class Sites:
    """Sites by what identifies them elsewhere: a column of sites.csv, extra ones too."""

    def __init__(self, registry: Registry) -> None:
        self._sites = registry.sites
        self._by: dict[str, dict[str, list[str]]] = {}

    def find(self, column: str, value: str) -> list[str]:
        """Return the sites whose `column` holds `value`, blanks and width of characters aside."""
        if column not in self._by:
            index = self._by[column] = {}
            for site in self._sites:
                index.setdefault(_same(_of(site, column)), []).append(site.site)
        return self._by[column].get(_same(value), [])


def _of(site: Site, column: str) -> str:
    own = getattr(site, column, None)
    return own if isinstance(own, str) else site.extra.get(column, "")


def _same(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split()).upper()


def take(source: Source, rows: Sequence[Row], registry: Registry, faults: Sequence[Fault] = ()) -> Taken:
    """Map all rows; `faults` are those that reading them found already."""
    missing = _missing(source, rows)
    if missing:
        return Taken((), (*faults, *missing), rows=len(rows) + len(faults))
    sites, skipped = Sites(registry), 0
    taken: dict[Key, Entry] = {}
    bad, held, seen = list(faults), set[Key](), set[str]()
    for row in rows:
        if any(row.cells.get(theirs, "").strip() != wanted for theirs, wanted in source.only.items()):
            skipped += 1
            continue
        cells: dict[str, str] = {}
        try:
            _enter(taken, source, _entry(source, row, cells, sites, registry))
        except _Bad as fault:
            bad.append(Fault(row.place, *fault.args))
            held.add(identity(source, cells))
            seen.add(_raw(row))
    return Taken(tuple(taken.values()), tuple(bad), frozenset(held), frozenset(seen), skipped, len(rows) + len(faults))


def _enter(taken: dict[Key, Entry], source: Source, entry: Entry) -> None:
    """Keep an entry under its key; the same row twice is one. Raises _Bad if the key says something else already."""
    first = taken.setdefault(entry.key, entry)
    if dict(first.cells) != dict(entry.cells):
        words = f"has the key of {first.place} ({'/'.join(filter(None, entry.key))}) and other values"
        raise _Bad(_theirs(source, key_names(source)[-1]), "repeated", words)


def _raw(row: Row) -> str:
    """Return the hash of a row as its owner wrote it."""
    text = json.dumps(dict(row.cells), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def identity(source: Source, cells: Mapping[str, str]) -> Key:
    """Return what a row is about: its key without what only tells versions of it apart."""
    required = {column.name for column in FILLED[source.table].columns if column.required}
    names = [name for name in key_names(source) if name in required or source.table == "facts"]
    return tuple(cells.get(name, "") for name in names)


def key_names(source: Source) -> Key:
    """Return the columns that tell the rows of a source apart."""
    return source.key or FILLED[source.table].key


def _missing(source: Source, rows: Sequence[Row]) -> list[Fault]:
    """Return a fault for each column that no row has; JSON rows may leave single ones out."""
    if not rows:
        return []
    there = {name for row in rows for name in row.cells}
    wanted = [*source.columns, *source.match, *source.only, *source.fill]
    place = rows[0].place.rpartition(":")[0] or rows[0].place.partition("[")[0]
    return [
        Fault(place, name, "column", f"the column is missing; there are {', '.join(sorted(there))}")
        for name in dict.fromkeys(wanted)
        if name not in there
    ]


def _entry(source: Source, row: Row, cells: dict[str, str], sites: Sites, registry: Registry) -> Entry:
    """Return the entry of a row; `cells` is filled with what was understood of it. Raises _Bad."""
    cells |= source.fixed
    for theirs, ours in source.columns.items():
        cells[ours] = _value(source, theirs, ours, row.cells.get(theirs, "").strip()) or cells.get(ours, "")
    if source.match:
        cells["site"] = _site(source, row, cells, sites)
    if source.table == "limits":
        _convert(source, cells, registry)
    problems: list[str] = []
    table = FILLED[source.table]
    read = read_row(table, row.place, cells, problems)
    if problems:
        column, _, words = problems[0].removeprefix(f"{row.place} ").partition(": ")
        raise _Bad(_theirs(source, column), "cell", f"{column}: {words}")
    made = cells_of(table, read)
    cells |= made
    key = tuple(made.get(name, "") for name in key_names(source))
    if not source.create:
        _known(source, made, registry)
    return Entry(source.table, key, made, row.place, _raw(row))


def _theirs(source: Source, ours: str) -> str:
    return next((theirs for theirs, name in source.columns.items() if name == ours), ours)


def _value(source: Source, theirs: str, ours: str, text: str) -> str:
    """Return a cell in our words: mapped, or as a date or number is written. Raises _Bad for a value that no map knows."""
    words = source.values.get(ours)
    if words is not None and text in words:
        return words[text]
    if ours in _DATES:
        return _date(source, text)
    if ours in _NUMBERS:
        return unicodedata.normalize("NFKC", text).replace(",", "").replace(" ", "")
    if words is not None and text and text not in words.values():
        raise _Bad(theirs, "unknown_value", f"{text!r} is in no map to {ours}")
    return text


def _date(source: Source, text: str) -> str:
    """Return a date as 2026-03-01 where a pattern of the source fits; else as it is, for the registry's reader to judge."""
    plain = unicodedata.normalize("NFKC", text).strip()
    for pattern in source.dates:
        if pattern == "excel":
            if plain.isdecimal() and 20_000 <= int(plain) < 80_000:  # 1954 … 2119: a year is no serial number
                return (_EXCEL + timedelta(days=int(plain))).isoformat()
            continue
        try:
            return datetime.strptime(plain, pattern).date().isoformat()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            continue
    return plain


def _site(source: Source, row: Row, cells: Mapping[str, str], sites: Sites) -> str:
    """Return the site that the first filled column of `match` names. Raises _Bad."""
    for theirs, ours in source.match.items():
        value = row.cells.get(theirs, "").strip()
        if not value:
            continue
        found = sites.find(ours, value)
        if len(found) == 1:
            return found[0]
        if found:
            raise _Bad(theirs, "several_sites", f"{value!r} is the {ours} of {', '.join(found[:5])}")
    asked = ", ".join(f"{theirs} {row.cells.get(theirs, '').strip()!r}" for theirs in source.match)
    if source.create and source.table == "sites" and cells.get("site"):
        return cells["site"]
    raise _Bad(next(iter(source.match)), "no_site", f"no site has {asked}")


def _convert(source: Source, cells: dict[str, str], registry: Registry) -> None:
    """Bring limit and unit to what the source's `units` say. Raises _Bad for a unit in which the factor is not measured."""
    text, unit = cells.get("limit", ""), canonical(cells.get("unit", ""))
    known = {canonical(theirs): one for theirs, one in source.units.items()}.get(unit)
    cells["unit"] = unit if known is None else canonical(known.to)
    if known is not None and text:
        try:
            low, high = read_bounds(text)
        except ValueError as error:
            raise _Bad(_theirs(source, "limit"), "cell", f"limit: {error}") from error
        cells["limit"] = write_bounds(
            Bounds(*(None if side is None else float(f"{side * known.times:.12g}") for side in (low, high)))
        )
    factor = registry.factor(cells.get("site", ""), cells.get("point", ""), cells.get("factor", ""))
    wire, unit = factor.wire_unit if factor else "", cells["unit"]
    if wire and quantity(wire) == quantity(unit) and differ(wire, unit):
        raise _Bad(_theirs(source, "unit"), "unit", f"the limit is in {unit}, but {cells.get('factor')} is measured in {wire}")


def _known(source: Source, cells: Mapping[str, str], registry: Registry) -> None:
    """Raise _Bad if a row refers to what the registry does not have."""
    site, point = cells.get("site", ""), cells.get("point", "")
    if registry.site(site) is None:
        raise _Bad(_theirs(source, "site"), "no_site", f"there is no site {site!r}")
    if point and registry.point(site, point) is None:
        raise _Bad(_theirs(source, "point"), "not_registered", f"site {site} has no point {point!r}")
    rows: Mapping[str, Any] = {
        "factors": lambda: registry.factor(site, point, cells["factor"]),
        "equipment": lambda: next((e for e in registry.equipment if (e.site, e.device) == (site, cells["device"])), None),
    }
    if source.table in rows and rows[source.table]() is None:
        raise _Bad(
            _theirs(source, FILLED[source.table].key[-1]),
            "not_registered",
            f"{source.table} has no {'/'.join(cells.get(k, '') for k in FILLED[source.table].key)}",
        )
