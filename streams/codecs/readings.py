"""The Reading contract on the wire: one catalogue of content types, and a body cut into one batch a site.

Enters: a content type and bytes. Leaves: `Decoded`, or the batches that go into the log (key = site id).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import numpy as np

from connectors.core import ARROW, CSV, JSON, NDJSON, Refused
from streams.codecs import arrow, csv_, json_
from streams.codecs.json_columns import KnownSeries
from streams.codecs.rows import NO_ENVELOPE, Envelope, Fault, refusal
from streams.model import Decoded, Int64, Readings, Reject, SeriesTable


class Decode(Protocol):
    """What every codec of the Reading contract offers."""

    def __call__(
        self, body: bytes, table: SeriesTable, arrived: int, *, record: int = -1, envelope: Envelope = NO_ENVELOPE
    ) -> Decoded:
        """Decode a body that arrived at `arrived` (ms UTC); `record` ≥ 0 is the log record it is."""


DECODERS: dict[str, Decode] = {JSON: json_.decode, NDJSON: json_.decode_ndjson, CSV: csv_.decode, ARROW: arrow.decode}
ENCODERS: dict[str, Callable[[Readings, SeriesTable], bytes]] = {
    JSON: json_.encode,
    NDJSON: json_.encode_ndjson,
    CSV: csv_.encode,
    ARROW: arrow.encode,
}

JSON_LINES = {JSON: False, NDJSON: True}
"""Content types whose records are decoded a run at a time; whether they are read by lines."""

COLUMNS_FROM = 64
"""Batches from this many rows go into the log as Arrow, smaller ones as NDJSON, which is then shorter."""


def bare(content_type: str) -> str:
    """Return a content type without its parameters, in lower case."""
    return content_type.split(";", 1)[0].strip().lower()


def decode_readings(
    content_type: str, body: bytes, table: SeriesTable, arrived: int, *, record: int = -1, envelope: Envelope = NO_ENVELOPE
) -> Decoded:
    """Decode a body by its content type; what carries no readings is one Reject of no rows."""
    decoder = DECODERS.get(bare(content_type))
    if decoder is None:
        fault = Fault(
            "bad_content_type", f"content type {content_type[:100]!r} carries no readings; send one of {', '.join(DECODERS)}"
        )
        return Decoded(Readings.empty(), [], [refusal(fault, body, max(record, 0), record, 0)])
    return decoder(body, table, arrived, record=record, envelope=envelope)


def decode_many(
    content_types: Sequence[str],
    bodies: Sequence[bytes],
    known: KnownSeries,
    arrived: Int64,
    *,
    keys: Sequence[str] | None = None,
    ahead: int | None = None,
) -> Decoded:
    """Decode records (n,) of the log that follow one another: what `decode_readings` gives for each of them, `record` its number.

    `known` is kept with the table it numbers series in. `arrived` (n,) int64 ms UTC · `keys` (n,) the site each record may speak
    of · `ahead` ms that event time may lie ahead of log time. Small JSON messages cost little more than parsing them.
    """
    lines_of = {name: JSON_LINES.get(bare(name)) for name in set(content_types)}
    lines = [lines_of[name] for name in content_types]
    parts: list[Decoded] = []
    for start, stop in pairwise(_cuts(lines)):
        if lines[start] is None:
            envelope = Envelope(None if keys is None else keys[start], ahead)
            one = (content_types[start], bodies[start], known.table, int(arrived[start]))
            parts.append(decode_readings(*one, record=start, envelope=envelope))
        else:
            own = [by is True for by in lines[start:stop]]
            some = None if keys is None else list(keys[start:stop])
            run = json_.Run(bodies[start:stop], own, arrived[start:stop], some, ahead)
            parts.append(_moved(json_.decode_run(run, known), start))
    if len(parts) == 1:
        return parts[0]
    return Decoded(Readings.concat([part.readings for part in parts]), [], [r for part in parts for r in part.rejects])


def _cuts(lines: list[bool | None]) -> list[int]:
    """Return where to cut records into runs: before and behind each that is decoded alone."""
    if None not in lines:
        return [0, len(lines)] if lines else []
    alone = {row for row, by in enumerate(lines) if by is None}
    return sorted({0, len(lines)} | alone | {row + 1 for row in alone})


def _moved(decoded: Decoded, by: int) -> Decoded:
    """Return what a run gave under the numbers of the records it is part of."""
    if not by:
        return decoded
    readings = replace(decoded.readings, frame=decoded.readings.frame + np.int32(by))
    return Decoded(readings, [], [replace(reject, frame=reject.frame + by) for reject in decoded.rejects])


def encode_readings(content_type: str, readings: Readings, table: SeriesTable) -> bytes:
    """Encode a batch for a content type of DECODERS."""
    return ENCODERS[content_type](readings, table)


@dataclass(frozen=True, slots=True)
class SiteBatch:
    """Readings of one site, ready for the log: `rows` are their positions in the body they came from."""

    site: str
    rows: tuple[int, ...]
    content_type: str
    body: bytes
    factors: tuple[str, ...]


def split_by_site(content_type: str, body: bytes) -> tuple[list[SiteBatch], list[Reject]]:
    """Cut a body into one batch a site, in order of first appearance, and the rows refused (by their number).

    Raises Refused for a content type that carries no readings.
    """
    if bare(content_type) not in DECODERS:
        raise Refused(f"content type {content_type[:100]!r} carries no readings; send one of {', '.join(DECODERS)}")
    table = SeriesTable()
    decoded = decode_readings(content_type, body, table, 0)
    names = list(dict.fromkeys(key.site for key in table.keys))
    number = {name: i for i, name in enumerate(names)}
    site = np.asarray([number[key.site] for key in table.keys], np.int32)[decoded.readings.series]
    order = np.argsort(site, kind="stable")
    batches = []
    for rows in np.split(order, np.flatnonzero(np.diff(site[order])) + 1) if len(order) else []:
        part = decoded.readings.take(rows)
        keys = [table.keys[i] for i in np.unique(part.series).tolist()]
        kind = ARROW if len(part) >= COLUMNS_FROM else NDJSON
        factors = tuple(sorted({key.factor for key in keys}))
        batches.append(SiteBatch(keys[0].site, tuple(part.frame.tolist()), kind, encode_readings(kind, part, table), factors))
    return batches, decoded.rejects
