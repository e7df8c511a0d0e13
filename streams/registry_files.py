"""Registry files as raw rows: a folder of CSV (UTF-8 with or without BOM, or GB 18030) or the sheets of one XLSX.

Enters: a path. Leaves: rows with their place (`points.csv:12`), untouched text; or RegistryFaults when nothing can be read.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from streams.registry_tables import TABLES, RegistryFaults, Row

WORKBOOK_BYTES = 256 << 20
"""An XLSX that unpacks to more is refused: a registry of 100,000 points needs a tenth of it."""

SAFE_DIGITS = 1e15
"""A spreadsheet keeps 15 digits of a number; a longer one is shown as it came, and the reader of codes refuses it."""


def read_folder(folder: Path) -> dict[str, list[Row]]:
    """Read the CSV files of the folder; raises RegistryFaults if `sites.csv` is not there or a file cannot be read."""
    if not (folder / "sites.csv").is_file():
        raise RegistryFaults(
            [f"{folder}: sites.csv is missing; a registry is a folder with sites.csv (column site) or one .xlsx"]
        )
    tables: dict[str, list[Row]] = {}
    faults: list[str] = []
    for name in TABLES:
        path = folder / f"{name}.csv"
        if path.is_file():
            try:
                tables[name] = list(_read_csv(path, name, faults))
            except (OSError, csv.Error, UnicodeDecodeError) as error:
                faults.append(f"{path.name}: cannot be read ({error}); save it as CSV, UTF-8")
    if faults:
        raise RegistryFaults(faults)
    return tables


def _read_csv(path: Path, name: str, faults: list[str]) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(decoded(path.read_bytes()), newline=""), strict=True)
    yield from _rows(path.name, name, ((reader.line_num, row) for row in reader), faults)


def decoded(raw: bytes) -> str:
    """Return the text of a file in UTF-8, with or without BOM, else in GB 18030. Raises UnicodeDecodeError."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("gb18030")


def _rows(file: str, table: str, lines: Iterator[tuple[int, list[str]]], faults: list[str]) -> Iterator[Row]:
    _, header = next(lines, (0, []))
    names = [name.strip() for name in header]
    required = [column.name for column in TABLES[table].columns if column.required]
    faults.extend(f"{file}:1 {name}: the column is missing" for name in required if name not in names)
    faults.extend(
        f"{file}:1 {name}: the column is there twice" for name in sorted({n for n in names if n and names.count(n) > 1})
    )
    for line, row in lines:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) > len(names) and any(cell.strip() for cell in row[len(names) :]):
            faults.append(
                f"{file}:{line}: has {len(row)} cells under {len(names)} column names; quote cells that contain a comma"
            )
        yield Row(f"{file}:{line}", {name: cell for name, cell in zip(names, row, strict=False) if name})


def read_workbook(path: Path) -> dict[str, list[Row]]:
    """Read the sheets of an XLSX by their names; raises RegistryFaults."""
    workbook = open_workbook(path, str(path))
    try:
        sheets = {sheet.title.strip().lower(): sheet for sheet in workbook.worksheets}
        if "sites" not in sheets:
            raise RegistryFaults([f"{path}: the sheet sites is missing; it has {', '.join(sheets) or 'no sheets'}"])
        faults: list[str] = []
        tables = {
            name: list(_rows(f"{path.name}/{name}", name, sheet_rows(sheets[name]), faults)) for name in TABLES if name in sheets
        }
    finally:
        workbook.close()
    if faults:
        raise RegistryFaults(faults)
    return tables


def open_workbook(file: Path | BinaryIO, name: str) -> Any:
    """Open an XLSX to read its values; raises RegistryFaults that call it `name`."""
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > WORKBOOK_BYTES:
            raise RegistryFaults(
                [f"{name}: unpacks to {size >> 20} MB, more than {WORKBOOK_BYTES >> 20} MB; save it as CSV files"]
            )
        return openpyxl.load_workbook(file, read_only=True, data_only=True)
    except (OSError, zipfile.BadZipFile, InvalidFileException, KeyError, ValueError) as error:
        raise RegistryFaults([f"{name}: cannot be read as XLSX ({error}); save it as .xlsx or as CSV files"]) from error


def sheet_rows(sheet: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a sheet as text, each with its number."""
    for line, row in enumerate(sheet.iter_rows(values_only=True), 1):
        yield line, [_cell(value) for value in row]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.date().isoformat()
    if isinstance(value, float) and value.is_integer() and abs(value) < SAFE_DIGITS:
        return str(int(value))
    return str(value)


def write_folder(tables: Mapping[str, Sequence[Mapping[str, str]]], folder: Path) -> None:
    """Write one CSV a table (UTF-8 with BOM); empty tables other than sites are left out, and a stale file of one removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        path = folder / f"{name}.csv"
        if not rows and name != "sites":
            path.unlink(missing_ok=True)
            continue
        own = [column.name for column in TABLES[name].columns]
        extra = sorted({column for row in rows for column in row} - set(own))
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, [*own, *extra], restval="")
            writer.writeheader()
            writer.writerows(rows)
