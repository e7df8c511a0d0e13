"""The engine: log records in, one `Step` out. It decodes, cuts the records at ticks, and drives the pipeline page.

Everything is in memory and deterministic: the same records give the same step. What I/O there is belongs to its callers.
"""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import orjson

from connectors.core import Record, Refused
from streams import registry as registries
from streams.alerts import factor_names
from streams.codecs.events import decode_events
from streams.codecs.hj212 import Hj212Decoder
from streams.codecs.json_columns import KnownSeries
from streams.codecs.readings import decode_many
from streams.codecs.rows import Envelope
from streams.commit import Step
from streams.costs import Costs
from streams.cross_site import answer
from streams.facts import facts_of
from streams.limit_index import LimitIndex
from streams.model import Decoded, Event, Int64, Readings, Reject, SeriesKey
from streams.pipeline import Batch, Outputs, advance
from streams.plan.load import MINUTE, Plan
from streams.records import ANSWER, BAD_CHUNK, REDRIVEN, REFUSED_ROWS, kind_of, segments
from streams.registry_model import INFERRED_POINT, Registry
from streams.slab import CHUNK_BYTES
from streams.standards import national, plan_defaults
from streams.state import Chunk, State

RUNS = ("hj212", "gated", "rows")
"""Kinds of records that are decoded a run at a time; the others one by one."""
Gate = Callable[[Record, Registry], tuple[str, str] | None]


@dataclass(slots=True)
class Judged:
    """What the engine hands on beside the step: decoded readings with their fates, events, and where each row came from."""

    outputs: list[Outputs]
    events: list[Event]


class Engine:
    """The pipeline with its decoders, registry and limits.

    `infer=True` gives every unknown MN a site of its own name (as `offsite replay` does without a registry). `gate` says of a
    record, by the registry in force, why it is put aside undecoded. `asks=True` lets the answers of the cross-site stage come by
    the log: a step ends with the tick that asks.
    """

    def __init__(
        self,
        plan: Plan,
        registry: Registry | None = None,
        *,
        infer: bool = False,
        gate: Gate | None = None,
        asks: bool = False,
        restore: Sequence[Chunk] = (),
        load_seen: Callable[[int], dict[int, Any]] | None = None,
        costs: Costs | None = None,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self.plan = plan
        self.registry = registry or Registry()
        self._infer, self._gate, self._asks = infer, gate, asks
        keys = sorted((c for c in restore if c.kind == "keys"), key=lambda c: c.number)
        misc = next((c.body for c in restore if c.kind == "misc" and isinstance(c.body, dict)), {"next_run": 1})
        stored = next((c.body for c in restore if c.kind == "registry" and isinstance(c.body, dict)), None)
        if stored is not None:
            self.registry = registries.from_json(stored["text"])
        names = [SeriesKey(*key) for c in keys if isinstance(c.body, list) for key in c.body]
        self.state = State(
            plan,
            facts_of(self.registry, plan),
            keys=names,
            load_seen=load_seen,
            next_run=misc["next_run"],
            costs=costs,
            chunk_bytes=chunk_bytes,
        )
        for chunk in restore:
            self.state.restore(chunk)
        self._decoder = Hj212Decoder(self._resolve, self.state.table)
        self._known = KnownSeries(self.state.table)
        self.limits = self._limit_index()
        self._registry_changed = False
        self.plan_named: str | None = None
        """The plan that the log names for what follows."""

    # --- registry

    def _resolve(self, mn: str, medium: str) -> tuple[str, str]:
        found = self.registry.resolve(mn, medium)
        return found or (mn, INFERRED_POINT[medium])

    def _limit_index(self) -> LimitIndex:
        standards = national()
        if self._infer:
            standards = standards.with_defaults(plan_defaults(self.plan.replay_limits))
        units = {code: unit for code, (_zh, _en, unit) in factor_names().items()}
        return LimitIndex(self.registry, standards, self.state.index.channels.names, wire_units=units)

    def _take_registry(self, text: str) -> None:
        """Let a new registry hold from this offset on; series, episodes and windows stay."""
        self.registry = registries.from_json(text)
        self.state.refresh(facts_of(self.registry, self.plan))
        self._decoder.reset()
        self.limits = self._limit_index()
        self._registry_changed = True

    # --- steps

    def step(self, records: list[Record]) -> tuple[Step, Judged]:
        """Judge records in log order; the memory has moved on, and the step says what to store.

        A step may end before the last of `records`: with a tick whose suspects the cross-site stage has to be asked about, or
        with a record that names another plan.
        """
        judged = Judged([], [])
        rejects: list[Reject] = []
        first = 0
        summary = None
        for last, control in segments(records):
            self._segment(records[first:last], first, control, judged, rejects)
            first = last + (control is not None)
            if self._asks and judged.outputs[-1].summary is not None:
                summary = judged.outputs[-1].summary
                if summary.silent:
                    break
            if self.plan_named not in (None, self.plan.hash):
                break
        bodies = [body for out in judged.outputs for body in out.bodies]
        return Step(records[:first], bodies, self._chunks(), rejects, summary=summary), judged

    def set_aside(self, record: Record, error: Exception) -> Step:
        """Return the step that puts a record aside on which judging failed; the memory stays as it was, but for the books."""
        self.state.books["records.set_aside"] += 1
        reject = Reject("judge_failed", f"{type(error).__name__}: {error}", record.body, 0, 0)
        return Step([record], (), self._chunks(), [reject])

    def decode_frames(self, frames: Sequence[bytes], arrived: Int64) -> Decoded:
        """Decode HJ 212 frames of one stretch of the log."""
        return self._decoder.decode(frames, arrived)

    def advance(self, decoded: Decoded, tick: int | Int64 | None = None) -> Outputs:
        """Take decoded input through the pipeline page, then a tick (one time, or one a site), then the cross-site stage."""
        self._count(decoded)
        out = advance(Batch(decoded.readings, tick=tick), self.state, self.plan, self.limits)
        if out.summary is not None and not self._asks:
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
        if control == {}:
            rejects.append(
                Reject("bad_context", "no JSON object with a kind; see the contract of context", b"", first + len(records), 0)
            )
            control = None
        ticked = control is not None and control["kind"] == "tick"
        tick = max(control["now"], self.state.tick) if control and ticked else None  # log time survives a clock set back
        judged.outputs.append(self.advance(decoded, tick))
        if control and control["kind"] == "registry":
            self._take_registry(control["text"])
        elif control and control["kind"] == ANSWER:
            self.state.excuse({(site, point): words for site, point, words in control["excused"]})
        elif control and control["kind"] == "plan":
            self.plan_named = str(control["hash"])
        elif control and control["kind"] != "tick":  # marks, work orders, verdicts …: kept, counted, read by no rule yet
            self.state.books[f"context.{control['kind']}"] += 1

    def _decode(self, records: list[Record], first: int) -> Decoded:
        """Decode runs of one content type together, in log order; `frame` counts the records of the step."""
        parts, events, rejects = [], [], []
        at = first
        for kind, run in groupby(records, key=self._kind):
            group = list(run)
            base = at
            for decoded in self._decode_run(kind, group):
                whole = kind in RUNS
                parts.append(_renumber(decoded.readings, decoded.readings.frame + base if whole else np.int32(base)))
                events += decoded.events
                rejects += [_shift(r, base) for r in decoded.rejects]
                base += not whole
            at += len(group)
        return Decoded(Readings.concat(parts), events, rejects)

    def _kind(self, record: Record) -> str:
        if self._gate is not None and self._gate(record, self.registry) is not None:
            return "gated"
        return kind_of(record)

    def _gated(self, group: list[Record]) -> Decoded:
        """Put records aside, each with the reason of the gate."""
        assert self._gate is not None
        found = [(record, self._gate(record, self.registry)) for record in group]
        return Decoded(Readings.empty(), [], [Reject(*why, record.body, i, 0) for i, (record, why) in enumerate(found) if why])

    def _decode_run(self, kind: str, group: list[Record]) -> Iterator[Decoded]:
        books = self.state.books
        if kind == "hj212":
            books["frames.accepted"] += sum(r.content_type != REDRIVEN for r in group)
            arrived = np.fromiter((r.arrived for r in group), np.int64, len(group))
            yield self._decoder.decode([r.body for r in group], arrived)
        elif kind == "gated":
            yield self._gated(group)
        elif kind == "held":
            books["frames.accepted"] += len(group)
            books["frames.held"] += len(group)
        elif kind == "dead":
            for record in group:
                yield self._dead(record)
        elif kind == "event":
            for record in group:
                yield _events(record)
        else:
            books["batches.accepted"] += len(group)
            yield decode_many(
                [r.content_type for r in group],
                [r.body for r in group],
                self._known,
                np.fromiter((r.arrived for r in group), np.int64, len(group)),
                keys=[r.key for r in group],
                ahead=self.plan.time.ahead_max_min * MINUTE,
            )

    def _dead(self, record: Record) -> Decoded:
        """Count input that the I/O process had to put aside, and keep it with its reason."""
        if record.content_type == REFUSED_ROWS:
            rows = orjson.loads(record.body)
            rejects = [
                Reject(r["reason"], f"row {r['row']}: {r['detail']}", b64decode(r.get("raw", "")), 0, r.get("rows", 1))
                for r in rows
            ]
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


def _events(record: Record) -> Decoded:
    try:
        events, rejects = decode_events(record.content_type, record.body, envelope=Envelope(record.key))
    except Refused as error:
        return Decoded(Readings.empty(), [], [Reject("bad_content_type", str(error), record.body, 0, 0)])
    return Decoded(Readings.empty(), events, [_shift(r, -r.frame) for r in rejects])


def _shift(reject: Reject, base: int) -> Reject:
    return Reject(reject.reason, reject.detail, reject.raw, reject.frame + base, reject.rows)


def _renumber(readings: Readings, frame: Any) -> Readings:
    """Let `frame` count the records of the step."""
    return replace(readings, frame=np.broadcast_to(np.asarray(frame, np.int32), len(readings)))
