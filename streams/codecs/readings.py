"""The Reading contract on the wire: one catalogue of content types, and a body cut into one batch a site.

Enters: a content type and bytes. Leaves: `Decoded`, or the batches that go into the log (key = site id).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from connectors.core import ARROW, CSV, JSON, NDJSON, Refused
from streams.codecs import arrow, csv_, json_
from streams.model import Decoded, Readings, Reject, SeriesTable


class Decode(Protocol):
    """What every codec of the Reading contract offers."""

    def __call__(self, body: bytes, table: SeriesTable, arrived: int, *, record: int = -1) -> Decoded:
        """Decode a body that arrived at `arrived` (ms UTC); `record` ≥ 0 is the log record it is."""


DECODERS: dict[str, Decode] = {JSON: json_.decode, NDJSON: json_.decode_ndjson, CSV: csv_.decode, ARROW: arrow.decode}
ENCODERS: dict[str, Callable[[Readings, SeriesTable], bytes]] = {
    JSON: json_.encode,
    NDJSON: json_.encode_ndjson,
    CSV: csv_.encode,
    ARROW: arrow.encode,
}

COLUMNS_FROM = 64
"""Batches from this many rows go into the log as Arrow, smaller ones as NDJSON, which is then shorter."""


def bare(content_type: str) -> str:
    """Return a content type without its parameters, in lower case."""
    return content_type.split(";", 1)[0].strip().lower()


def decode_readings(content_type: str, body: bytes, table: SeriesTable, arrived: int, *, record: int = -1) -> Decoded:
    """Decode a body by its content type; raises Refused for a type that carries no readings."""
    decoder = DECODERS.get(bare(content_type))
    if decoder is None:
        raise Refused(f"content type {content_type!r} carries no readings; send one of {', '.join(DECODERS)}")
    return decoder(body, table, arrived, record=record)


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
    """Cut a body into one batch a site, in order of first appearance, and the rows refused (by their number)."""
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
