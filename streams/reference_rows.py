"""The rows of an export as raw text: CSV in UTF-8 or GBK, sheets of an XLSX with titles above and headers of several rows, JSON.

Enters: the parts of an export and how its source lays it out. Leaves: rows with their place (`permits.xlsx:12`), or RegistryFaults
where a part can't be read at all. Merged cells: a name that spans columns counts for each of them, `许可限值/浓度`; a cell that spans
rows counts for each of them in the columns of `fill`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from connectors.core import CSV, JSON
from connectors.reference import XLSX, Part, at
from streams.reference_model import Fault, Source
from streams.registry_files import decoded, open_workbook, sheet_rows
from streams.registry_tables import RegistryFaults, Row

Lines = Iterable[tuple[int, list[str]]]


def rows_of(source: Source, parts: Sequence[Part], faults: list[Fault]) -> list[Row]:
    """Return the rows of all parts in their order; a row that is too wide is a fault. Raises RegistryFaults."""
    found: list[Row] = []
    for part in parts:
        if part.content_type == JSON:
            found += _json(part, source.rows)
            continue
        if part.content_type not in {CSV, XLSX}:
            raise RegistryFaults(
                [f"{part.place}: is {part.content_type or 'of no named type'}; it has to be CSV, XLSX or JSON, ask its owner"]
            )
        lines = _csv(part, source.encoding) if part.content_type == CSV else _xlsx(part, source.sheet)
        found += _table(source, part.place, lines, faults)
    return _filled(source, found)


def _csv(part: Part, encoding: str) -> Lines:
    try:
        text = decoded(part.body) if encoding == "auto" else part.body.decode("utf-8-sig" if encoding == "utf-8" else encoding)
        first = text.partition("\n")[0]
        separator = max(",;\t", key=first.count)
        reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
        return [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError as error:
        raise RegistryFaults([f"{part.place}: is not {encoding} ({error}); name its own encoding as `encoding`"]) from error
    except csv.Error as error:
        raise RegistryFaults([f"{part.place}: cannot be read as CSV ({error}); export it again"]) from error


def _xlsx(part: Part, wanted: str) -> Lines:
    workbook = open_workbook(io.BytesIO(part.body), part.place)
    try:
        sheets = {sheet.title.strip(): sheet for sheet in workbook.worksheets}
        if wanted and wanted not in sheets:
            raise RegistryFaults([f"{part.place}: the sheet {wanted} is missing; it has {', '.join(sheets) or 'no sheets'}"])
        return list(sheet_rows(sheets[wanted] if wanted else workbook.worksheets[0]))
    finally:
        workbook.close()


def _table(source: Source, place: str, lines: Lines, faults: list[Fault]) -> Iterator[Row]:
    """Yield the rows below the header; those above it are titles. A row without a single cell counts for none."""
    last = source.header + source.header_rows - 1
    head = [(line, row) for line, row in lines if line <= last]
    names = header([row for line, row in head if line >= source.header])
    if not any(names):
        raise RegistryFaults([f"{place}: has no column names in row {source.header}; give that row's number as `header`"])
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise RegistryFaults([f"{place}: the column {', '.join(twice)} is there twice; set `header_rows` if names span two rows"])
    for line, row in lines:
        if line <= last or not any(cell.strip() for cell in row):
            continue
        if any(cell.strip() for cell in row[len(names) :]):
            faults.append(Fault(f"{place}:{line}", "", "width", f"has {len(row)} cells under {len(names)} column names"))
            continue
        yield Row(f"{place}:{line}", {name: cell for name, cell in zip(names, row, strict=False) if name})


def header(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the column names of a header of several rows, those above spread to the right as a merged cell shows them.

    >>> header([["企业", "限值", ""], ["", "浓度", "单位"]])
    ['企业', '限值/浓度', '限值/单位']
    """
    if not rows:
        return []
    width = max(len(row) for row in rows)
    spread = [[cell.strip() for cell in row] + [""] * (width - len(row)) for row in rows]
    for k, row in enumerate(spread[:-1]):
        below = spread[k + 1]
        for column in range(1, width):
            row[column] = row[column] or (row[column - 1] if below[column] else "")
    return ["/".join(part for part in parts if part) for parts in zip(*spread, strict=True)]


def _json(part: Part, path: str) -> Iterator[Row]:
    try:
        found = orjson.loads(part.body)
    except orjson.JSONDecodeError as error:
        raise RegistryFaults([f"{part.place}: is no JSON ({error}); ask its owner"]) from error
    rows = at(found, path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RegistryFaults([f"{part.place}: has no list of objects at {path or 'its top'!r}; name its place as `rows`"])
    for number, row in enumerate(rows, 1):
        yield Row(f"{part.place}[{number}]", {str(name): _text(value) for name, value in row.items()})


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _filled(source: Source, rows: list[Row]) -> list[Row]:
    """Give the columns of `fill` the value above where they are empty."""
    above: dict[str, str] = {}
    done: list[Row] = []
    for place, cells in rows:
        above |= {name: cells[name] for name in source.fill if cells.get(name, "").strip()}
        done.append(Row(place, {**cells, **above}))
    return done
