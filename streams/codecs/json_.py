"""Readings as JSON (one object or an array) and NDJSON (one object a line) (design §3, Messages).

Enters: the bytes of a message. Leaves: `Decoded`; a bad row is a Reject, the others are kept. A body is read at once by the fast
parser; only a body it refuses is read again piece by piece, to find the faulty row and say what is wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from streams.codecs.columns import OPTIONAL, REQUIRED, decode_table
from streams.codecs.rows import Fault, Rows, to_dicts
from streams.model import Decoded, Readings, Reject, SeriesTable

BLANK = b" \t\r\n"
BOM = b"\xef\xbb\xbf"
COLUMNS_FROM = 64
"""Bodies from this many rows are tried as columns first."""
DEEP = 64
"""A reading is flat; deeper nesting than this is an attack on the parser, not data."""

REFUSED = object()
"""Stands among the parsed rows for one that is not JSON."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """The rows of a body by their number, the line of each if it has one, and what is not JSON."""

    rows: list[Any]
    lines: Sequence[bytes | None]
    rejects: list[Reject]


def decode(body: bytes, table: SeriesTable, arrived: int, *, record: int = -1) -> Decoded:
    """Decode an object or an array of Readings.

    `arrived` ms UTC log time. With `record` ≥ 0 readings and rejects carry that record index as `frame`; else their row number.
    """
    return _decode(body, table, arrived, record, lines=False)


def decode_ndjson(body: bytes, table: SeriesTable, arrived: int, *, record: int = -1) -> Decoded:
    """Decode one Reading a line; blank lines are skipped, rows are numbered without them. Arguments as `decode`."""
    return _decode(body, table, arrived, record, lines=True)


def _decode(body: bytes, table: SeriesTable, arrived: int, record: int, *, lines: bool) -> Decoded:
    parsed = load_rows(body, lines=lines)
    if not parsed.rejects and len(parsed.rows) >= COLUMNS_FROM:
        decoded = _by_columns(parsed.rows, table, arrived, record)
        if decoded is not None:
            return decoded
    rows = Rows(table, arrived, record)
    for reject in parsed.rejects:
        rows.refuse(reject.reason, reject.detail, reject.raw, reject.frame, reject.rows)
    for number, (row, line) in enumerate(zip(parsed.rows, parsed.lines, strict=True)):
        if row is not REFUSED:
            rows.add(number, row, line)
    return rows.done()


def _by_columns(rows: list[Any], table: SeriesTable, arrived: int, record: int) -> Decoded | None:
    """Decode faultless rows as columns; None if any is faulty, for the row path to say which and why."""
    try:
        columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in REQUIRED if name != "value"}
        columns |= {name: pa.array([row.get(name) for row in rows], pa.string()) for name in OPTIONAL}
        value = [row["value"] for row in rows]
        if not set(map(type, value)) <= {int, float}:
            return None
        columns["value"] = pa.array(np.asarray(value, np.float64))
        decoded = decode_table(pa.table(columns), table, arrived, record=record)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
        return None
    return None if decoded.rejects else decoded


def encode(readings: Readings, table: SeriesTable) -> bytes:
    """Write a JSON array of Readings."""
    return orjson.dumps(to_dicts(readings, table))


def encode_ndjson(readings: Readings, table: SeriesTable) -> bytes:
    """Write one Reading a line."""
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in to_dicts(readings, table))


def load_rows(body: bytes, *, lines: bool) -> Parsed:
    """Parse a body, whole or by line; what is not JSON is a Reject (its rows = 0 for a whole body)."""
    body = body.removeprefix(BOM)
    if lines:
        return _load_lines([line for line in (part.strip(BLANK) for part in body.split(b"\n")) if line])
    try:
        found = _load(body)
    except Fault as fault:
        return Parsed([], [], [Reject(fault.reason, str(fault), body, 0, 0)])
    rows = found if isinstance(found, list) else [found]
    return Parsed(rows, [None] * len(rows), [])


def _load_lines(lines: list[bytes]) -> Parsed:
    try:
        found = orjson.loads(b"[" + b",".join(lines) + b"]")
    except orjson.JSONDecodeError:
        found = []
    if len(found) == len(lines) and all(line[:1] == b"{" and line[-1:] == b"}" for line in lines):
        return Parsed(found, lines, [])
    rows: list[Any] = []
    rejects: list[Reject] = []
    for number, line in enumerate(lines):
        try:
            rows.append(_load(line))
        except Fault as fault:
            rows.append(REFUSED)
            rejects.append(Reject(fault.reason, str(fault), line, number, 1))
    return Parsed(rows, lines, rejects)


def _load(text: bytes) -> Any:
    """Parse one text; what the fast parser refuses for a number (NaN, 1e400) goes on, so that its row can be named."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        told = Fault("bad_json", f"not JSON ({error})")
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise Fault("not_utf8", f"not UTF-8 ({error.reason} at byte {error.start}); send JSON as UTF-8") from error
    if max(decoded.count("["), decoded.count("{")) > DEEP and _depth(decoded) > DEEP:
        raise Fault("bad_json", f"nested deeper than {DEEP}; a reading is a flat object")
    try:
        return json.loads(decoded)
    except ValueError as error:
        raise told from error


def _depth(text: str) -> int:
    """Return how deep brackets nest, those inside texts counted too."""
    depth = deepest = 0
    for sign in text:
        depth += (sign in "[{") - (sign in "]}")
        deepest = max(deepest, depth)
    return deepest
