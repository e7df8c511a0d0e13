"""The registry's tables as data: columns, how each is read and written, keys and references (design §3).

Enters: raw rows (column → text, with the place they stand). Leaves: a `Registry`, or every fault at once, each with its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from streams.model import PERIODS
from streams.registry_cells import (
    one_of,
    read_bounds,
    read_code,
    read_date,
    read_names,
    read_number,
    read_positive,
    read_rings,
    read_text,
    read_yes,
    within,
    write,
)
from streams.registry_model import (
    MEDIA,
    District,
    Equipment,
    Factor,
    Limit,
    Person,
    Point,
    Registry,
    Site,
)

LIMIT_PERIODS = (*PERIODS, "8h", "year")
"""Averaging bases of a limit: those of readings, the 8-hour maximum of ozone (GB 3095) and the year."""

ROLES = ("operator", "shift_lead", "officer", "enterprise", "responsible_unit", "leader", "admin", "auditor")
"""The eight roles of persons that the desk knows."""


class RegistryFaults(Exception):  # the word of the contract: a list of faults, not one error
    """The registry cannot be used. `faults` lists everything that is wrong, each with its place and the remedy."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Row(NamedTuple):
    """One raw row: where it stands (`points.csv:12`) and its cells by column name."""

    place: str
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name in the file, how to read it, and the attribute it becomes if that is called otherwise."""

    name: str
    read: Callable[[str], Any] = read_text
    required: bool = False
    attribute: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the dataclass of its rows, its key columns, its columns."""

    name: str
    row: Callable[..., Any]
    key: tuple[str, ...]
    columns: tuple[Column, ...]


def _texts(names: str) -> tuple[Column, ...]:
    return tuple(Column(name) for name in names.split())


SITE, POINT = Column("site", read_code, required=True), Column("point", required=True)
TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table("districts", District, ("code",), (Column("code", required=True), *_texts("name parent"))),
        Table(
            "sites",
            Site,
            ("site",),
            (
                *(SITE, *_texts("name kind enterprise district industry")),
                *(Column("lon", within(-180, 180)), Column("lat", within(-90, 90)), Column("polygon", read_rings)),
            ),
        ),
        Table(
            "points",
            Point,
            ("site", "point"),
            (
                *(SITE, POINT, Column("name"), Column("medium", one_of(MEDIA), required=True), Column("mn", read_code)),
                *(Column("base_o2", within(0, 20.9)), Column("standard"), Column("class", attribute="class_")),
                *(Column("built", read_date), Column("area_m2", read_positive), Column("kv", read_positive)),
                *_texts("operator production_unit"),
            ),
        ),
        Table(
            "factors",
            Factor,
            ("site", "point", "factor"),
            (
                *(SITE, POINT, Column("factor", required=True), Column("wire_unit")),
                *(Column("range_low", read_number), Column("range_high", read_number), Column("detection_limit", read_number)),
                *(Column("interval_s", read_positive), Column("wet", read_yes)),
            ),
        ),
        Table(
            "limits",
            Limit,
            ("site", "point", "factor", "period", "unit", "source", "valid_from"),
            (
                *(SITE, POINT, Column("factor", required=True), Column("period", one_of(LIMIT_PERIODS), required=True)),
                *(Column("limit", read_bounds, required=True), Column("unit", required=True), Column("source")),
                *(Column("valid_from", read_date), Column("valid_to", read_date)),
            ),
        ),
        Table(
            "equipment",
            Equipment,
            ("site", "device"),
            (
                *(SITE, Column("device", required=True), Column("kind", one_of(("production", "treatment")))),
                *(Column("rated_kw", read_positive), Column("serves", read_names), *_texts("production_unit meter_point")),
            ),
        ),
        Table(
            "people",
            Person,
            ("person",),
            (
                *(Column("person", required=True), Column("name"), Column("role", one_of(ROLES))),
                *_texts("org org_level district site phone"),
            ),
        ),
    )
}


def cells_of(table: Table, row: Any) -> dict[str, str]:
    """Write a row back as its non-empty cells, extra columns included."""
    cells = {c.name: write(getattr(row, c.attribute or c.name)) for c in table.columns}
    return {name: cell for name, cell in {**cells, **row.extra}.items() if cell}


def build(tables: Mapping[str, Iterable[Row]]) -> Registry:
    """Read, check and join raw rows; raises RegistryFaults with all faults at once."""
    from streams.registry_checks import check_references, check_values

    faults: list[str] = []
    read: dict[str, list[tuple[str, Any]]] = {}
    for name, table in TABLES.items():
        read[name] = _read_table(table, tables.get(name, ()), faults)
    check_values(read, faults)
    check_references(read, faults)
    if faults:
        raise RegistryFaults(faults)
    return Registry(**{name: tuple(row for _, row in rows) for name, rows in read.items()})


def _read_table(table: Table, rows: Iterable[Row], faults: list[str]) -> list[tuple[str, Any]]:
    """Read all rows, in the order of their keys; one with a bad cell stays for the checks between rows."""
    first: dict[tuple[str, ...], str] = {}
    required = [table.key.index(column.name) for column in table.columns if column.required and column.name in table.key]
    done: list[tuple[tuple[str, ...], str, Any]] = []
    for place, cells in rows:
        row = read_row(table, place, cells, faults)
        written = {**{name: (cell or "").strip() for name, cell in cells.items()}, **cells_of(table, row)}
        key = tuple(written.get(name, "") for name in table.key)
        if key in first and all(key[k] for k in required):
            faults.append(
                f"{place} {table.key[-1]}: duplicate key {'/'.join(k for k in key if k)}, already given at {first[key]}"
            )
        first.setdefault(key, place)
        done.append((key, place, row))
    return [(place, row) for _, place, row in sorted(done, key=lambda item: item[0])]


def read_row(table: Table, place: str, cells: Mapping[str, str], faults: list[str]) -> Any:
    """Read one row; what is missing or cannot be read is a fault, and is empty in the row."""
    known: dict[str, Any] = {column.attribute or column.name: "" for column in table.columns if column.required}
    for column in table.columns:
        cell = (cells.get(column.name) or "").strip()
        if cell:
            try:
                known[column.attribute or column.name] = column.read(cell)
            except ValueError as error:
                faults.append(f"{place} {column.name}: {error}")
        elif column.required:
            faults.append(f"{place} {column.name}: is missing")
    names = {column.name for column in table.columns}
    extra = {name: cell.strip() for name, cell in cells.items() if name not in names and (cell or "").strip()}
    return table.row(**known, extra=extra)
