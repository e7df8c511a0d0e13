"""What the I/O process does with input: choose its topic and key, put it into the log, and say when it is durable.

Frames come from the gateway, batches and events over HTTP; records leave for the log. Nothing is acknowledged before the append
returns (promise 1). An unknown MN or site is held under its own name and shown, never refused (design §3).
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any, Protocol

import orjson

from connectors.core import HJ212, JSON, Record, Refused
from connectors.hj212.frame import BadChunk, Frame
from connectors.hj212.header import Header
from connectors.http import Batch, Refusal
from offsite.registered import TOPICS, held_record, place_of
from streams.codecs.events import decode_events
from streams.codecs.readings import split_by_site
from streams.codecs.rows import Fault, as_bytes, check_name
from streams.identity import rfc3339
from streams.model import Event
from streams.records import BAD_CHUNK, CONTEXT, DEAD, EVENTS, HELD, REFUSED_ROWS
from streams.registry_model import Registry

CONTEXT_KINDS = frozenset({"mark", "work_order", "calibration", "emergency_order", "suppression", "verdict", "rectification"})
"""Events that change a judgement without being seen or measured: topic `context` (design §3); the rest are `video-events`."""
RAW = 65_536
"""Bytes of a refused message that are kept."""
NOW = -1
"""`arrived` of a record that the log stamps when it accepts it."""


class Writer(Protocol):
    """What makes records durable: `connectors.log_writer.LogWriter`, or `connectors.kafka_log.KafkaLog`."""

    def append(self, *records: Record) -> asyncio.Future[int]:
        """Queue records; the future is done once they are durable."""


class Intake:
    """The way into the log. `registry()` gives the one in force."""

    def __init__(self, writer: Writer, registry: Callable[[], Registry]) -> None:
        self._writer, self._registry = writer, registry
        self.held: Counter[str] = Counter()

    async def frame(self, frame: Frame, header: Header, peer: str) -> None:
        """Make one frame durable; returns when it is. Raises Refused for an MN that is no name: kept as a dead letter, not answered."""
        try:
            check_name("MN", header.mn)
        except Fault as fault:
            await self._writer.append(Record(DEAD, peer, NOW, BAD_CHUNK + "bad_mn", frame.plain))
            raise Refused(str(fault)) from fault
        place = place_of(self._registry(), header.mn, header.st)
        if place is None:
            self.held[header.mn] += 1
        site, topic = place or (header.mn, HELD)
        await self._writer.append(Record(topic, site, NOW, HJ212, frame.plain))

    def bad(self, chunk: BadChunk, peer: str) -> Awaitable[object]:
        """Put what is no frame aside, with its reason; the gateway counts what could not be kept."""
        return self._writer.append(Record(DEAD, peer, NOW, BAD_CHUNK + chunk.reason, chunk.raw))

    async def rows(self, kind: str, batches: Sequence[Batch], refused: Sequence[Refusal], source: str = "http") -> None:
        """Make the batches of one message durable, together with what was refused of it; `source` is who sent it."""
        registry = self._registry()
        records = []
        for batch in batches:
            if registry.site(batch.site) is not None:
                records.append(Record(batch.topic, batch.site, NOW, batch.content_type, batch.body))
            else:
                self.held[batch.site] += 1
                records.append(held_record(batch.topic, batch.site, NOW, batch.content_type, batch.body))
        if refused:
            body = orjson.dumps([_refused(refusal, kind) for refusal in refused])
            records.append(Record(DEAD, source, NOW, REFUSED_ROWS, body))
        if records:
            await self._writer.append(*records)


def _refused(refusal: Refusal, kind: str) -> dict[str, Any]:
    """Return a refusal as the log keeps it: `rows` readings it would have been, `raw` the message if nothing of it was taken."""
    row = {
        "row": refusal.row,
        "reason": refusal.reason,
        "detail": refusal.detail,
        "rows": int(kind == "readings" and refusal.row >= 0),
    }
    return row | ({"raw": b64encode(refusal.body[:RAW]).decode()} if refusal.body else {})


def decode(content_type: str, body: bytes, kind: str) -> tuple[list[Batch], list[Refusal]]:
    """Cut a request into batches a site, for `connectors.http`. Raises Refused if nothing of it is legible."""
    if kind == "events":
        return _events(content_type, body)
    found, rejects = split_by_site(content_type, body)
    if not found and all(reject.frame < 0 for reject in rejects):
        raise Refused(rejects[0].detail if rejects else "the body holds no readings; send at least one")
    batches = [Batch(b.site, b.rows, b.content_type, b.body, _topic(b.factors)) for b in found]
    return batches, [Refusal(r.frame, r.reason, r.detail) for r in rejects]


def _events(content_type: str, body: bytes) -> tuple[list[Batch], list[Refusal]]:
    events, rejects = decode_events(content_type, body)
    refused = {reject.frame for reject in rejects}
    numbers = (number for number in count() if number not in refused)
    batches = [
        Batch(e.site, (number,), JSON, as_bytes(_plain(e)), CONTEXT if e.kind in CONTEXT_KINDS else EVENTS)
        for e, number in zip(events, numbers, strict=False)
    ]
    return batches, [Refusal(r.frame, r.reason, r.detail) for r in rejects]


def _plain(event: Event) -> dict[str, object]:
    """Return an event as its contract has it, as any producer would write it to the log."""
    row: dict[str, object] = {
        "id": event.id,
        "kind": event.kind,
        "site": event.site,
        "start": rfc3339(event.start),
        "body": event.body,
    }
    more = {"point": event.point, "end": None if event.end is None else rfc3339(event.end), "by": event.by}
    return row | {name: value for name, value in more.items() if value is not None}


def _topic(factors: Sequence[str]) -> str:
    """Choose the topic by what the readings are of: power where any is, else emission for gas and water codes."""
    if any(f.startswith("d") or "power" in f for f in factors):
        return TOPICS["power"]
    return TOPICS["gas"] if any(f.startswith(("a", "w", "0")) for f in factors) else "sensor-readings"
