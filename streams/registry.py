"""The registry's front door: load, infer, save, and the canonical form (design §3, Registry files).

Enters: a folder of CSV files, one XLSX of sheets, canonical JSON, or the devices seen in a recording. Leaves: a `Registry`.
A registry with faults is never half used: all faults are listed at once (`RegistryFaults`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from streams.registry_files import read_folder, read_workbook, write_folder
from streams.registry_model import (
    INFERRED_POINT,
    MEDIA,
    Bounds,
    District,
    Equipment,
    Factor,
    Limit,
    Person,
    Point,
    Registry,
    Site,
    medium_of,
)
from streams.registry_tables import TABLES, RegistryFaults, Row, build, cells_of

__all__ = [
    "INFERRED_POINT",
    "MEDIA",
    "Bounds",
    "District",
    "Equipment",
    "Factor",
    "Limit",
    "Person",
    "Point",
    "Registry",
    "RegistryFaults",
    "Site",
    "from_json",
    "infer",
    "load",
    "medium_of",
    "part_of",
    "registry_hash",
    "save",
    "to_json",
]


def load(path: Path) -> Registry:
    """Read a folder of CSV files or an XLSX workbook; raises RegistryFaults."""
    return build(read_workbook(path) if path.suffix.lower() in (".xlsx", ".xlsm") else read_folder(path))


def save(registry: Registry, folder: Path) -> None:
    """Write the CSV set (UTF-8 with BOM, so that spreadsheets show Chinese); load(folder) gives the same registry."""
    write_folder({name: [cells_of(table, row) for row in getattr(registry, name)] for name, table in TABLES.items()}, folder)


def to_json(registry: Registry) -> str:
    """Return the canonical form: equal registries give equal bytes."""
    rows = {name: [cells_of(table, row) for row in getattr(registry, name)] for name, table in TABLES.items()}
    return json.dumps(rows, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def from_json(text: str) -> Registry:
    """Read the canonical form; raises RegistryFaults (a text that is not JSON is a fault too)."""
    try:
        rows = json.loads(text)
        tables = {name: [Row(f"{name}[{i}]", _texts(cells)) for i, cells in enumerate(rows.get(name, []))] for name in TABLES}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RegistryFaults([f"registry JSON: cannot be read ({error}); it must be what `to_json` writes"]) from error
    return build(tables)


def _texts(cells: dict[str, str]) -> dict[str, str]:
    for name, cell in cells.items():
        if not isinstance(cell, str):
            raise TypeError(f"{name} is {type(cell).__name__}, not text")
    return cells


def part_of(registry: Registry, wanted: Callable[[str], bool]) -> Registry:
    """Return what a registry says of the wanted sites; districts stay, people do not (no judgement asks for them)."""

    def kept(rows: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(row for row in rows if wanted(row.site))

    return Registry(
        kept(registry.sites),
        kept(registry.points),
        kept(registry.factors),
        kept(registry.limits),
        kept(registry.equipment),
        districts=registry.districts,
    )


def registry_hash(registry: Registry) -> str:
    """Return SHA-256 (hex) of the canonical form: the version pinned on what was judged with it."""
    return hashlib.sha256(to_json(registry).encode()).hexdigest()


def infer(seen: Iterable[tuple[str, str, str]]) -> Registry:
    """Make a registry of what a recording holds: (mn, medium, factor) triples; site = MN, point by medium.

    >>> [(p.site, p.point) for p in infer([("MN1", "gas", "a21026"), ("MN1", "water", "w01018")]).points]
    [('MN1', 'DA001'), ('MN1', 'DW001')]
    """
    tables: dict[str, dict[tuple[str, ...], dict[str, str]]] = {name: {} for name in ("sites", "points", "factors")}
    for mn, medium, factor in seen:
        point = INFERRED_POINT[medium]
        tables["sites"].setdefault((mn,), {"site": mn, "name": mn})
        tables["points"].setdefault((mn, point), {"site": mn, "point": point, "medium": medium, "mn": mn})
        tables["factors"].setdefault((mn, point, factor), {"site": mn, "point": point, "factor": factor})
    return build({name: [Row(f"inferred {name}", row) for row in rows.values()] for name, rows in tables.items()})
