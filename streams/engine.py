"""The engine: log records in, one `Step` out. It decodes, cuts the records at ticks, and drives the pipeline page.

Everything is in memory and deterministic: the same records give the same step. What I/O there is belongs to its callers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import orjson

from connectors.core import HJ212, JSON, Record
from streams import registry as registries
from streams.alerts import factor_names
from streams.codecs.hj212 import Hj212Decoder
from streams.codecs.readings import decode_readings
from streams.commit import Step
from streams.cross_site import answer
from streams.index import Facts, PointFacts, SeriesFacts
from streams.limit_index import LimitIndex
from streams.model import Decoded, Event, Int64, Readings, Reject, SeriesKey
from streams.pipeline import Batch, Outputs, advance
from streams.plan.load import Plan
from streams.registry_model import INFERRED_POINT, Registry
from streams.standards import national, plan_defaults
from streams.state import Chunk, State

REDRIVEN = HJ212 + ";redriven=1"
BAD_CHUNK = HJ212 + ";bad="
REFUSED_ROWS = JSON + ";refused"
CONTEXT, EVENTS, HELD, DEAD = "context", "video-events", "held", "dead-letters"


@dataclass(slots=True)
class Judged:
    """What the engine hands on beside the step: decoded readings with their fates, events, and where each row came from."""

    outputs: list[Outputs]
    events: list[Event]


class Engine:
    """The pipeline with its decoders, registry and limits.

    `infer=True` gives every unknown MN a site of its own name (as `offsite replay` does without a registry).
    """

    def __init__(
        self,
        plan: Plan,
        registry: Registry | None = None,
        *,
        infer: bool = False,
        restore: Sequence[Chunk] = (),
        load_seen: Callable[[int], dict[int, Any]] | None = None,
    ) -> None:
        self.plan = plan
        self.registry = registry or Registry()
        self._infer = infer
        keys = sorted((c for c in restore if c.kind == "keys"), key=lambda c: c.number)
        misc = next((c.body for c in restore if c.kind == "misc" and isinstance(c.body, dict)), {"next_run": 1})
        stored = next((c.body for c in restore if c.kind == "registry" and isinstance(c.body, dict)), None)
        if stored is not None:
            self.registry = registries.from_json(stored["text"])
        names = [SeriesKey(*key) for c in keys if isinstance(c.body, list) for key in c.body]
        self.state = State(plan, self._facts(), keys=names, load_seen=load_seen, next_run=misc["next_run"])
        for chunk in restore:
            self.state.restore(chunk)
        self._decoder = Hj212Decoder(self._resolve, self.state.table)
        self.limits = self._limit_index()
        self._registry_changed = False

    # --- registry

    def _resolve(self, mn: str, medium: str) -> tuple[str, str]:
        found = self.registry.resolve(mn, medium)
        return found or (mn, INFERRED_POINT[medium])

    def _facts(self) -> Facts:
        """Answer the index from the registry and the plan's ranges."""
        nan = float("nan")

        def point(site: str, name: str) -> PointFacts:
            found = self.registry.point(site, name)
            if found is None:
                return PointFacts()
            return PointFacts(found.medium, nan if found.base_o2 is None else found.base_o2, found.operator)

        def series(site: str, name: str, factor: str) -> SeriesFacts:
            low, high = self.plan.ranges.get(factor, (float("-inf"), float("inf")))
            found = self.registry.factor(site, name, factor)
            if found is None:
                return SeriesFacts(low, high)
            return SeriesFacts(
                low if found.range_low is None else max(low, found.range_low),
                high if found.range_high is None else min(high, found.range_high),
                found.detection_limit or 0.0,
                nan if found.interval_s is None else found.interval_s,
            )

        return Facts(point, series)

    def _limit_index(self) -> LimitIndex:
        standards = national()
        if self._infer:
            standards = standards.with_defaults(plan_defaults(self.plan.replay_limits))
        units = {code: unit for code, (_zh, _en, unit) in factor_names().items()}
        return LimitIndex(self.registry, standards, self.state.index.channels.names, wire_units=units)

    def _take_registry(self, text: str) -> None:
        """Let a new registry hold from this offset on; series, episodes and windows stay."""
        self.registry = registries.from_json(text)
        self.state.refresh(self._facts())
        self._decoder.reset()
        self.limits = self._limit_index()
        self._registry_changed = True

    # --- steps

    def step(self, records: list[Record]) -> tuple[Step, Judged]:
        """Judge records in log order; the memory has moved on, and the step says what to store."""
        judged = Judged([], [])
        rejects: list[Reject] = []
        first = 0
        for last, control in _segments(records):
            self._segment(records[first:last], first, control, judged, rejects)
            first = last + (control is not None)
        start, end = (records[0].offset, records[-1].offset + 1) if records else (0, 0)
        bodies = [body for out in judged.outputs for body in out.bodies]
        return Step(start, end, bodies, self._chunks(), rejects), judged

    def decode_frames(self, frames: Sequence[bytes], arrived: Int64) -> Decoded:
        """Decode HJ 212 frames of one stretch of the log."""
        return self._decoder.decode(frames, arrived)

    def advance(self, decoded: Decoded, tick: int | Int64 | None = None) -> Outputs:
        """Take decoded input through the pipeline page, then a tick (one time, or one a site), then the cross-site stage."""
        self._count(decoded)
        out = advance(Batch(decoded.readings, tick=tick), self.state, self.plan, self.limits)
        if out.summary is not None:
            self.state.excuse(answer(out.summary, self.plan.cross_site))
        return out

    def clean(self) -> None:
        """Forget what was dirty: the step is durable."""
        self.state.clean()
        self._registry_changed = False

    def _chunks(self) -> Iterator[Chunk]:
        yield from self.state.changes()
        if self._registry_changed:
            yield Chunk("registry", "", 0, {"text": registries.to_json(self.registry)})

    def _segment(
        self, records: list[Record], first: int, control: dict[str, Any] | None, judged: Judged, rejects: list[Reject]
    ) -> None:
        decoded = self._decode(records, first)
        rejects += decoded.rejects
        judged.events += decoded.events
        ticked = control is not None and control["kind"] == "tick"
        tick = max(control["now"], self.state.tick) if control and ticked else None  # log time survives a clock set back
        judged.outputs.append(self.advance(decoded, tick))
        if control and control["kind"] == "registry":
            self._take_registry(control["text"])
        elif control and control["kind"] != "tick":  # marks, work orders, verdicts …: kept, counted, read by no rule yet
            self.state.books[f"context.{control['kind']}"] += 1

    def _decode(self, records: list[Record], first: int) -> Decoded:
        """Decode runs of one content type together, in log order; `frame` counts the records of the step."""
        parts, events, rejects = [], [], []
        at = 0
        for kind, run in groupby(records, key=_kind):
            group = list(run)
            for decoded in self._decode_run(kind, group):
                base = first + at
                parts.append(_renumber(decoded.readings, decoded.readings.frame + base if kind == "hj212" else np.int32(base)))
                events += decoded.events
                rejects += [_shift(r, base) for r in decoded.rejects]
                at += len(group) if kind == "hj212" else 1
            if kind == "held":
                at += len(group)
        return Decoded(Readings.concat(parts), events, rejects)

    def _decode_run(self, kind: str, group: list[Record]) -> Iterator[Decoded]:
        books = self.state.books
        if kind == "hj212":
            books["frames.accepted"] += sum(r.content_type != REDRIVEN for r in group)
            arrived = np.fromiter((r.arrived for r in group), np.int64, len(group))
            yield self._decoder.decode([r.body for r in group], arrived)
        elif kind == "held":
            books["frames.accepted"] += len(group)
            books["frames.held"] += len(group)
        elif kind == "dead":
            for record in group:
                yield self._dead(record)
        elif kind == "event":
            for record in group:
                row = orjson.loads(record.body)
                yield Decoded(Readings.empty(), [Event(**row)])
        else:
            for record in group:
                books["batches.accepted"] += 1
                yield decode_readings(record.content_type, record.body, self.state.table, record.arrived, record=0)

    def _dead(self, record: Record) -> Decoded:
        """Count input that the I/O process had to put aside, and keep it with its reason."""
        if record.content_type == REFUSED_ROWS:
            rows = orjson.loads(record.body)
            rejects = [Reject(r["reason"], f"row {r['row']}: {r['detail']}", b"", 0, 1) for r in rows]
            return Decoded(Readings.empty(), [], rejects)
        reason = record.content_type.removeprefix(BAD_CHUNK)
        self.state.books[f"frames.rejected.{reason}"] += 1
        return Decoded(Readings.empty(), [], [Reject(reason, f"from {record.key}", record.body, 0, 0)])

    def _count(self, decoded: Decoded) -> None:
        counted = Counter({"readings.refused": 0, "readings.received": len(decoded.readings), "events": len(decoded.events)})
        for reject in decoded.rejects:
            counted["readings.refused"] += reject.rows
            counted["readings.received"] += reject.rows
            counted[f"rejects.{reject.reason}"] += 1
        self.state.books.update(counted)


def _kind(record: Record) -> str:
    if record.topic == HELD:
        return "held"
    if record.topic == DEAD:
        return "dead"
    if record.topic == EVENTS:
        return "event"
    return "hj212" if record.content_type in {HJ212, REDRIVEN} else "rows"


def _shift(reject: Reject, base: int) -> Reject:
    return Reject(reject.reason, reject.detail, reject.raw, reject.frame + base, reject.rows)


def _renumber(readings: Readings, frame: Any) -> Readings:
    """Let `frame` count the records of the step."""
    return replace(readings, frame=np.broadcast_to(np.asarray(frame, np.int32), len(readings)))


def _segments(records: list[Record]) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Cut at control records: yield where each segment ends and the control record that follows it, if any."""
    for place, record in enumerate(records):
        if record.topic == CONTEXT and record.content_type == JSON:
            yield place, orjson.loads(record.body)
    if records and not (records[-1].topic == CONTEXT and records[-1].content_type == JSON):
        yield len(records), None


def tick_record(now: int) -> Record:
    """Return the log record of a tick at log time `now` (ms UTC); the log stamps it like any other, for log time never runs back."""
    return Record(CONTEXT, "", -1, JSON, orjson.dumps({"kind": "tick", "now": now}))


def registry_record(registry: Registry, now: int, adopted: Sequence[str] = ()) -> Record:
    """Return the log record that lets a registry hold from its offset on; `adopted`: whose held records follow it."""
    body = {"kind": "registry", "text": registries.to_json(registry)} | ({"adopted": list(adopted)} if adopted else {})
    return Record(CONTEXT, "", now, JSON, orjson.dumps(body))
