"""What the I/O process does with input: choose its topic and key, put it into the log, and say when it is durable.

Frames come from the gateway, batches and events over HTTP; records leave for the log. Nothing is acknowledged before the append
returns (promise 1). An unknown MN or site is held under its own name and shown, never refused (design §3).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import orjson

from connectors.core import HJ212, JSON, Record, Refused
from connectors.hj212.frame import BadChunk, Frame
from connectors.hj212.header import Header
from connectors.http import Batch, Refusal
from connectors.log_writer import LogWriter
from offsite.registered import TOPICS, held_record, place_of
from streams.codecs.events import decode_events
from streams.codecs.readings import split_by_site
from streams.codecs.rows import Fault, as_bytes, check_name
from streams.engine import BAD_CHUNK, CONTEXT, DEAD, EVENTS, HELD, REFUSED_ROWS
from streams.registry_model import Registry

CONTEXT_KINDS = frozenset({"mark", "work_order", "calibration", "emergency_order", "suppression", "verdict", "rectification"})
"""Events that change a judgement without being seen or measured: topic `context` (design §3); the rest are `video-events`."""
NOW = -1
"""`arrived` of a record that the log stamps when it accepts it."""


class Intake:
    """The way into the log. `registry()` gives the one in force."""

    def __init__(self, writer: LogWriter, registry: Callable[[], Registry]) -> None:
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

    async def rows(self, kind: str, batches: Sequence[Batch], refused: Sequence[Refusal]) -> None:
        """Make the batches of one request durable, together with what was refused of it."""
        registry = self._registry()
        records = []
        for batch in batches:
            if registry.site(batch.site) is not None:
                records.append(Record(batch.topic, batch.site, NOW, batch.content_type, batch.body))
            else:
                self.held[batch.site] += 1
                records.append(held_record(batch.topic, batch.site, NOW, batch.content_type, batch.body))
        if refused and kind == "readings":
            body = orjson.dumps([{"row": r.row, "reason": r.reason, "detail": r.detail} for r in refused])
            records.append(Record(DEAD, "http", NOW, REFUSED_ROWS, body))
        if records:
            await self._writer.append(*records)


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
    batches = [
        Batch(e.site, (i,), JSON, as_bytes(_plain(e)), CONTEXT if e.kind in CONTEXT_KINDS else EVENTS)
        for i, e in enumerate(events)
    ]
    return batches, [Refusal(r.frame, r.reason, r.detail) for r in rejects]


def _plain(event: object) -> dict[str, object]:
    names = ("id", "kind", "site", "point", "start", "end", "by", "body")
    return {name: getattr(event, name) for name in names}


def _topic(factors: Sequence[str]) -> str:
    """Choose the topic by what the readings are of: power where any is, else emission for gas and water codes."""
    if any(f.startswith("d") or "power" in f for f in factors):
        return TOPICS["power"]
    return TOPICS["gas"] if any(f.startswith(("a", "w", "0")) for f in factors) else "sensor-readings"
