"""Readings as JSON (one object or an array) and NDJSON (one object a line) (design §3, Messages).

Enters: the bytes of a message, or of a run of messages. Leaves: `Decoded`; a bad row is a Reject, the others are kept. A run of
small messages is decoded as one, with the answers that each message alone would have given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import orjson

from streams.codecs.json_columns import KnownSeries, columns_of
from streams.codecs.json_text import parse, texts_of
from streams.codecs.rows import NO_ENVELOPE, Envelope, Fault, Rows, to_dicts
from streams.model import Decoded, Int64, Readings, Reject, SeriesTable

COLUMNS_FROM = 64
"""Bodies from this many rows are read as columns, smaller ones row by row, which is then quicker."""


def decode(body: bytes, table: SeriesTable, arrived: int, *, record: int = -1, envelope: Envelope = NO_ENVELOPE) -> Decoded:
    """Decode an object or an array of Readings.

    `arrived` ms UTC log time. With `record` ≥ 0 readings and rejects carry that record index as `frame`; else their row number.
    """
    return _decode(body_of(body, lines=False), table, arrived, record, envelope)


def decode_ndjson(
    body: bytes, table: SeriesTable, arrived: int, *, record: int = -1, envelope: Envelope = NO_ENVELOPE
) -> Decoded:
    """Decode one Reading a line; blank lines are skipped, rows are numbered without them. Arguments as `decode`."""
    return _decode(body_of(body, lines=True), table, arrived, record, envelope)


@dataclass(frozen=True, slots=True)
class Body:
    """The rows of one body; a row that is not JSON is a Fault. `texts`: its lines, or all of it."""

    rows: list[Any]
    texts: list[bytes]
    lines: bool

    def put(self, numbers: Iterable[int], into: Rows) -> None:
        """Put rows through the checks one by one; what is not JSON comes first."""
        legible = []
        for number in numbers:
            row = self.rows[number]
            if isinstance(row, Fault):
                into.refuse(row.reason, str(row), self.texts[number], number, int(self.lines))
            else:
                legible.append(number)
        for number in legible:
            into.add(number, self.rows[number], self.texts[number] if self.lines else None)


@dataclass(frozen=True, slots=True)
class Run:
    """Records (n,) of JSON and NDJSON that follow one another in the log.

    bodies (n,) · lines (n,): NDJSON · arrived (n,) int64 ms UTC · keys (n,): the site that the rows of each must name, or None ·
    ahead: ms that event time may lie ahead of log time, or None.
    """

    bodies: Sequence[bytes]
    lines: Sequence[bool]
    arrived: Int64
    keys: list[str] | None = None
    ahead: int | None = None

    def envelope(self, record: int) -> Envelope:
        """Return what record number `record` says of its rows."""
        return Envelope(None if self.keys is None else self.keys[record], self.ahead)


def decode_run(run: Run, known: KnownSeries) -> Decoded:
    """Decode records as one; `frame` is the record's number in the run. The result is that of each record decoded alone."""
    rows, counts = _rows(run)
    record = np.arange(len(run.bodies), dtype=np.int32)
    arrived, keys = run.arrived, run.keys
    if counts is not None:
        record = np.repeat(record, counts)
        arrived = arrived[record]
        keys = None if keys is None else [keys[i] for i in record.tolist()]
    columns = columns_of(rows, known, keys, None if run.ahead is None else arrived + run.ahead)
    rejects: list[Reject] = []
    for index, bad in groupby(columns.bad, key=lambda row: int(record[row])):
        refused = Rows(SeriesTable(), int(run.arrived[index]), index, run.envelope(index))
        first = int(np.searchsorted(record, index))
        body_of(run.bodies[index], lines=run.lines[index]).put([row - first for row in bad], refused)
        rejects += refused.rejects
    return Decoded(columns.readings(arrived, record), [], rejects)


def _rows(run: Run) -> tuple[list[Any], list[int] | None]:
    """Return the rows of all bodies, and how many each has (None: one each); what is not JSON is one row, a Fault."""
    if any(run.lines):
        parts = [texts_of(body, lines=lines) for body, lines in zip(run.bodies, run.lines, strict=True)]
        found = parse([text for part in parts for text in part])
        each = list(map(len, parts))
    else:
        found = parse(run.bodies)
        each = [1] * len(found)
    if list not in set(map(type, found)):
        return found, None if each.count(1) == len(run.bodies) else each
    rows: list[Any] = []
    counts: list[int] = []
    at = 0
    for count, lines in zip(each, run.lines, strict=True):
        part = found[at : at + count] if lines or not isinstance(found[at], list) else found[at]
        rows += part
        counts.append(len(part))
        at += count
    return rows, counts


def body_of(body: bytes, *, lines: bool) -> Body:
    """Return the rows of one body of JSON, or of NDJSON (`lines`)."""
    texts = texts_of(body, lines=lines)
    found = parse(texts)
    return Body(found if lines or not isinstance(found[0], list) else found[0], texts, lines)


def _decode(whole: Body, table: SeriesTable, arrived: int, record: int, envelope: Envelope) -> Decoded:
    rows = Rows(table, arrived, record, envelope)
    count = len(whole.rows)
    if count < COLUMNS_FROM:
        whole.put(range(count), rows)
        return rows.done()
    times = np.full(count, arrived, np.int64)
    keys = None if envelope.key is None else [envelope.key] * count
    columns = columns_of(whole.rows, KnownSeries(table), keys, None if envelope.ahead is None else times + envelope.ahead)
    whole.put(columns.bad, rows)
    frame = np.arange(count, dtype=np.int32) if record < 0 else np.full(count, record, np.int32)
    return Decoded(columns.readings(times, frame), [], rows.rejects)


def encode(readings: Readings, table: SeriesTable) -> bytes:
    """Write a JSON array of Readings."""
    return orjson.dumps(to_dicts(readings, table))


def encode_ndjson(readings: Readings, table: SeriesTable) -> bytes:
    """Write one Reading a line."""
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in to_dicts(readings, table))
