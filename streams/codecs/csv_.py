"""Readings as CSV with a header row (RFC 4180; columns in any order, named like the Reading's fields).

Enters: the bytes of a file or message. Leaves: `Decoded`. A clean body is read as columns; only a body that the column reader
refuses is read again line by line, to find the faulty rows and keep the others.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as fast

from streams.codecs.columns import REQUIRED, decode_table
from streams.codecs.rows import NO_ENVELOPE, Envelope, Fault, Rows, to_dicts
from streams.model import Decoded, Readings, SeriesTable

HEADER = ("site", "point", "factor", "time", "period", "stat", "value", "flag")
PLAIN = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"
_NUMBER = re.compile(PLAIN.replace("$", r"\Z"))
_ENDLESS = re.compile(r"[-+]?(nan|inf|infinity)\Z", re.IGNORECASE)
_TYPES = {
    **dict.fromkeys(("site", "point", "factor", "period", "stat", "flag"), pa.dictionary(pa.int32(), pa.string())),
    **dict.fromkeys(("time", "value"), pa.string()),
}


def decode(body: bytes, table: SeriesTable, arrived: int, *, record: int = -1, envelope: Envelope = NO_ENVELOPE) -> Decoded:
    """Decode CSV; arguments as `json_.decode`. Rows are numbered from 0 after the header."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in body:
        body = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    columns = _columns(body)
    if columns is not None:
        return _with_lines(decode_table(columns, table, arrived, envelope=envelope), body, record)
    rows = Rows(table, arrived, record, envelope)
    _slowly(body, rows)
    return rows.done()


def _columns(body: bytes) -> pa.Table | None:
    """Read a clean body, no quotes and every value a plain number; None for any other."""
    try:
        names = body.split(b"\n", 1)[0].decode().split(",")
        if b'"' in body or len(set(names)) < len(names) or not set(REQUIRED) <= set(names):
            return None
        convert = fast.ConvertOptions(column_types=_TYPES, include_columns=[n for n in names if n in _TYPES], null_values=[])
        columns = fast.read_csv(pa.BufferReader(body), convert_options=convert)
        text = columns.column("value")
        if not pc.all(pc.match_substring_regex(text, PLAIN), min_count=0).as_py():
            return None
        return columns.set_column(columns.column_names.index("value"), "value", text.cast(pa.float64()))
    except (pa.ArrowException, UnicodeDecodeError):
        return None  # the slow path finds the row and says why


def _with_lines(decoded: Decoded, body: bytes, record: int) -> Decoded:
    """Give rejects the line they came from, and everything the record's index if there is one."""
    lines = [line for line in body.split(b"\n") if line.strip()] if decoded.rejects else []
    rejects = [replace(reject, raw=lines[reject.frame + 1]) for reject in decoded.rejects]
    if record < 0:
        return Decoded(decoded.readings, [], rejects)
    readings = replace(decoded.readings, frame=np.full(len(decoded.readings), record, np.int32))
    return Decoded(readings, [], [replace(r, frame=record, detail=f"row {r.frame}: {r.detail}") for r in rejects])


def _slowly(body: bytes, rows: Rows) -> None:
    lines = _lines(body)
    header, raw = next(lines, ([], b""))
    if isinstance(header, Fault):
        rows.refuse(header.reason, f"header: {header}", raw, 0, 0)
        return
    names = [name.strip() for name in header]
    absent = [name for name in REQUIRED if name not in names]
    if absent or len(set(names)) < len(names):
        what = f"column {', '.join(absent)} is missing" if absent else "a column is there twice"
        rows.refuse(
            "missing_field" if absent else "bad_csv", f"{what}; the first line must be {','.join(HEADER)}", raw or body, 0, 0
        )
        return
    for number, (cells, line) in enumerate(lines):
        if isinstance(cells, Fault):
            rows.refuse(cells.reason, str(cells), line, number)
        elif len(cells) > len(names):
            rows.refuse(
                "bad_csv", f"{len(cells)} cells under {len(names)} columns; quote cells that contain a comma", line, number
            )
        else:
            rows.add(number, _typed(dict(zip(names, cells, strict=False))), line)


def _lines(body: bytes) -> Iterator[tuple[Any, bytes]]:
    """Yield (cells or Fault, raw bytes) of each line that is not blank; a line break inside quotes is a fault, not data."""
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        try:
            yield next(csv.reader([line.decode()], strict=True)), line
        except UnicodeDecodeError as error:
            yield Fault("not_utf8", f"not UTF-8 ({error.reason} at byte {error.start}); save the file as UTF-8"), line
        except csv.Error as error:
            yield Fault("bad_csv", f"not CSV ({error}); double the quotes inside a quoted cell, no line breaks in it"), line


def _typed(cells: dict[str, str]) -> dict[str, Any]:
    """Give the value its number, or the text for which it will be refused."""
    text = cells.get("value", "")
    row: dict[str, Any] = dict(cells)
    if _NUMBER.match(text) or _ENDLESS.match(text):
        row["value"] = float(text)
    elif not text:
        row["value"] = None
    return row


def encode(readings: Readings, table: SeriesTable) -> bytes:
    """Write a batch as CSV (UTF-8, CRLF, header row)."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, HEADER)
    writer.writeheader()
    writer.writerows({**row, "value": repr(row["value"])} for row in to_dicts(readings, table))
    return text.getvalue().encode()
