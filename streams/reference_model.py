"""Reference data of other departments: what a source is, what one of its rows becomes, and why a row was not taken.

Enters: a `[[reference]]` table of the settings. Leaves: a frozen `Source`; every fault of the table is named. A row becomes an
`Entry`: a row of a registry table, or a fact (an inspection, a penalty …) that stands beside the registry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from connectors.table import Table as Settings
from streams.registry_cells import one_of, read_date, read_number
from streams.registry_tables import SITE, TABLES, Column, Table

FACT_KINDS = ("inspection", "penalty", "permit", "registration", "other")
"""检查、处罚、许可、市场主体登记, and anything else."""
BASE = "registry"
"""What the registry's own files say, as a source among the others."""
BASE_PRECEDENCE = 100
"""A source with less gives way to the registry's own files, one with more goes before them."""
ENCODINGS = ("auto", "utf-8", "gbk", "gb18030")
NAME = re.compile(r"[\w.-]{1,64}\Z")
SCHEDULE = re.compile(r"([1-9]\d{0,3})(m|h|d)\Z|([01]\d|2[0-3]):([0-5]\d)\Z")


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that another authority did about a site; it changes no judgement and is shown beside it."""

    site: str
    kind: str
    date: date
    number: str = ""
    authority: str = ""
    result: str = ""
    point: str = ""
    amount: float | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


FACTS = Table(
    "facts",
    Fact,
    ("site", "kind", "date", "number"),
    (
        *(SITE, Column("kind", one_of(FACT_KINDS), required=True), Column("date", read_date, required=True)),
        *(Column("number"), Column("authority"), Column("result"), Column("point"), Column("amount", read_number)),
    ),
)
"""`date` is the day of the act, `number` that of its document, `amount` in yuan."""

FILLED: Mapping[str, Table] = {name: TABLES[name] for name in ("sites", "points", "factors", "limits", "equipment")} | {
    "facts": FACTS
}
"""What a source may fill. Persons and districts are nobody's export."""

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """What a unit is brought to: the value times `times` is in `to`."""

    to: str
    times: float


@dataclass(frozen=True, slots=True)
class Source:
    """One source.

    `columns`: theirs → ours · `fixed`: ours → a value · `values`: ours → (theirs → ours) · `match`: theirs → the
    column of sites.csv by which the site is found · `only`: theirs → the value a row must have · `fill`: theirs, whose empty cell
    means the one above · `key`: for facts, the columns that tell one from another · `dates`: strptime patterns, or `excel`.
    """

    name: str
    kind: str
    table: str
    department: str = ""
    precedence: int = 50
    create: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    match: Mapping[str, str] = field(default_factory=dict)
    only: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, Unit] = field(default_factory=dict)
    fill: tuple[str, ...] = ()
    key: Key = ()
    dates: tuple[str, ...] = ()
    encoding: str = "auto"
    sheet: str = ""
    header: int = 1
    header_rows: int = 1
    rows: str = ""
    max_faulty: float = 0.1
    max_ended: float = 0.3
    schedule: str = ""
    keys: tuple[str, ...] = ()

    @property
    def dated(self) -> bool:
        """Say whether the source itself says from when a row holds."""
        return self.table != "limits" or "valid_from" in (*self.columns.values(), *self.fixed)


@dataclass(frozen=True, slots=True)
class Entry:
    """One row that was taken: the table and key it fills, its non-empty cells in our words, and its place in the export."""

    table: str
    key: Key
    cells: Mapping[str, str]
    place: str
    raw: str = ""
    """Hash of the row as its owner wrote it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row that was not taken: its place, the column, a reason (code), what is wrong in words, and what to do."""

    place: str
    column: str
    reason: str
    detail: str

    @property
    def remedy(self) -> str:
        """Return what to do about it."""
        return REMEDIES[self.reason]


REMEDIES: Mapping[str, str] = {
    "cell": "correct the cell at its source, or map its value under `values`",
    "column": "correct the name under `columns`, `match`, `only` or `fill`, or ask for the column in the export",
    "width": "quote cells that contain the separator",
    "no_site": "add the site to the registry, or what identifies it to sites.csv",
    "several_sites": "let the column that identifies the site differ between sites",
    "unknown_value": "add the value under `values`",
    "unit": "add the unit under `units`, as its target and the factor",
    "not_registered": "add the row to the registry, or set `create = true`",
    "repeated": "leave one of the rows out, or name under `key` what tells them apart",
    "registry": "correct the row at its source, or what it refers to in the registry",
}
"""Reason → what a person can do."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What an export came to: entries, faults, rows passed over by `only`, rows in all.

    `held`, `seen`: what the faulty rows are about, and their hashes; what they said before is not ended, for they are there.
    """

    entries: tuple[Entry, ...]
    faults: tuple[Fault, ...]
    held: frozenset[Key] = frozenset()
    seen: frozenset[str] = frozenset()
    skipped: int = 0
    rows: int = 0


def source_of(table: Settings, values: Mapping[str, Any]) -> Source:
    """Read what a source means; where it is, is read by `connectors.reference`. Faults are noted in the table, made of `values`."""
    name, kind = str(values.get("name", "")), str(values.get("kind", ""))
    fills = table.choice("table", tuple(FILLED), "facts")
    found = Source(
        name=name,
        kind=kind,
        table=fills,
        department=table.text("department"),
        precedence=table.whole("precedence", 50, 1, 1000),
        create=table.flag("create", default=False),
        columns=table.mapping("columns"),
        fixed=table.mapping("fixed"),
        values={o: {t: one.text(t, "") for t in values["values"][o]} for o, one in table.tables("values").items()},
        match=table.mapping("match"),
        only=table.mapping("only"),
        units={unit: Unit(one.text("to"), one.number("times", 1.0, 1e-12, 1e12)) for unit, one in table.tables("units").items()},
        fill=_texts(table, values, "fill"),
        key=_texts(table, values, "key"),
        dates=_texts(table, values, "dates"),
        encoding=table.choice("encoding", ENCODINGS, "auto"),
        sheet=table.text("sheet", ""),
        header=table.whole("header", 1, 1, 1000),
        header_rows=table.whole("header_rows", 1, 1, 5),
        rows=table.text("rows", ""),
        max_faulty=table.number("max_faulty", 0.1, 0.0, 1.0),
        max_ended=table.number("max_ended", 0.3, 0.0, 1.0),
        schedule=table.text("schedule", ""),
        keys=table.texts("keys") if kind == "push" else (),
    )
    _check(table, found)
    return found


def _texts(table: Settings, values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return a list of texts that may be left out."""
    found = table.texts(key, ("-",))
    return found if key in values else ()


def _check(table: Settings, source: Source) -> None:
    """Note what can't work together."""
    if not NAME.match(source.name) or source.name == BASE:
        table.fault("name", f"{source.name!r} is no name; use letters, digits, '.', '_' and '-', and not {BASE}")
    if source.schedule and not SCHEDULE.match(source.schedule):
        table.fault("schedule", f"{source.schedule!r} is no schedule; write 30m, 6h, 1d or, in China time, 02:30")
    if source.schedule and source.kind == "push":
        table.fault("schedule", "a source that is pushed is not fetched; leave it out")
    if source.precedence == BASE_PRECEDENCE:
        table.fault("precedence", f"{BASE_PRECEDENCE} is that of the registry's own files; give less or more")
    filled = {*source.columns.values(), *source.fixed} | ({"site"} if source.match else set())
    needed = [c.name for c in FILLED[source.table].columns if c.required and c.name not in filled]
    if needed:
        table.fault("columns", f"nothing fills {', '.join(needed)}; map a column to it, or give it under fixed")
    for ours in source.values:
        if ours not in filled:
            table.fault(f"values.{ours}", "no column is mapped to it")
    if source.key and (source.table != "facts" or not set(source.key) <= filled):
        table.fault("key", "is for facts, and names columns that are filled; the tables of the registry have their own keys")
    if source.create and source.table in {"facts", "limits"}:
        table.fault("create", f"means nothing for {source.table}, whose rows are always new; leave it out")
