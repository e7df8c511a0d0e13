"""Readings as JSON (one object or an array) and NDJSON (one object a line) (design §3, Messages).

Enters: the bytes of a message. Leaves: `Decoded`; a bad row is a Reject, the others are kept. A body is read at once by the fast
parser; only a body it refuses is read again piece by piece, to find the faulty row and say what is wrong with it.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from streams.codecs.rows import Fault, Rows, to_dicts
from streams.model import Decoded, Readings, Reject, SeriesTable

BLANK = b" \t\r\n"
BOM = b"\xef\xbb\xbf"
DEEP = 64
"""A reading is flat; deeper nesting than this is an attack on the parser, not data."""

Row = tuple[int, Any, bytes | None]
"""Number of a row, its parsed value, and its bytes if it stood on a line of its own."""


def decode(body: bytes, table: SeriesTable, arrived: int, *, record: int = -1) -> Decoded:
    """Decode an object or an array of Readings.

    `arrived` ms UTC log time. With `record` ≥ 0 readings and rejects carry that record index as `frame`; else their row number.
    """
    return _decode(body, Rows(table, arrived, record), lines=False)


def decode_ndjson(body: bytes, table: SeriesTable, arrived: int, *, record: int = -1) -> Decoded:
    """Decode one Reading a line; blank lines are skipped, rows are numbered without them. Arguments as `decode`."""
    return _decode(body, Rows(table, arrived, record), lines=True)


def _decode(body: bytes, rows: Rows, *, lines: bool) -> Decoded:
    found, rejects = load_rows(body, lines=lines)
    for reject in rejects:
        rows.refuse(reject.reason, reject.detail, reject.raw, reject.frame, reject.rows)
    if rejects or not rows.add_clean([row for _, row, _ in found]):
        for number, row, raw in found:
            rows.add(number, row, raw)
    return rows.done()


def encode(readings: Readings, table: SeriesTable) -> bytes:
    """Write a JSON array of Readings."""
    return orjson.dumps(to_dicts(readings, table))


def encode_ndjson(readings: Readings, table: SeriesTable) -> bytes:
    """Write one Reading a line."""
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in to_dicts(readings, table))


def load_rows(body: bytes, *, lines: bool) -> tuple[list[Row], list[Reject]]:
    """Parse a body, whole or by line, into numbered rows; what is not JSON is a Reject (rows = 0 for a whole body)."""
    body = body.removeprefix(BOM)
    if lines:
        return _load_lines([line for line in (part.strip(BLANK) for part in body.split(b"\n")) if line])
    try:
        found = _load(body)
    except Fault as fault:
        return [], [Reject(fault.reason, str(fault), body, 0, 0)]
    return [(number, row, None) for number, row in enumerate(found if isinstance(found, list) else [found])], []


def _load_lines(lines: list[bytes]) -> tuple[list[Row], list[Reject]]:
    try:
        found = orjson.loads(b"[" + b",".join(lines) + b"]")
    except orjson.JSONDecodeError:
        found = []
    if len(found) == len(lines) and all(line[:1] == b"{" and line[-1:] == b"}" for line in lines):
        return [(number, row, line) for number, (row, line) in enumerate(zip(found, lines, strict=True))], []
    rows: list[Row] = []
    rejects: list[Reject] = []
    for number, line in enumerate(lines):
        try:
            rows.append((number, _load(line), line))
        except Fault as fault:
            rejects.append(Reject(fault.reason, str(fault), line, number, 1))
    return rows, rejects


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
