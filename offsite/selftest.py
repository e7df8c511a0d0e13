"""The self-test of an integration: samples in, every fault and every oddity out, before anything is connected.

Enters: bodies as they would be sent, with the registry and the plan they would meet. Leaves: findings, each with its row, reason,
field, what was found and how to put it right. The decoders are those of the product: what passes here is taken there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from connectors.core import ARROW, CSV, HJ212, JSON, NDJSON, Record, Refused
from connectors.hj212.frame import split_buffer
from connectors.kafka_tail import Seen
from offsite.selftest_words import FIELD, REMEDIES
from streams.alerts import factor_names
from streams.codecs.events import decode_events
from streams.codecs.hj212 import Hj212Decoder
from streams.codecs.json_ import body_of
from streams.codecs.readings import bare, decode_readings
from streams.codecs.rows import NAMES, Envelope
from streams.gate import Gate
from streams.model import UNKNOWN_FLAG, Int64, Readings, Reject, SeriesTable
from streams.plan.load import MINUTE, Plan
from streams.records import CONTEXT, EVENTS, control_of
from streams.registry_model import INFERRED_POINT, Registry
from streams.units import differ

READINGS_KIND, EVENTS_KIND, HJ212_KIND = KINDS = ("readings", "events", "hj212")
FAULT, WARNING = "fault", "warning"
COUNTED = ("readings", "events", "frames", "records", "refused")
"""What a sample can hold."""
OFF = 0.2
"""Share by which an interval may differ from the registered one."""
FEW = 3
"""Instants from which an interval is spoken of."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to put right. `row` counts from 0 (HJ 212: frames); None where it is the whole body or a whole series."""

    source: str
    row: int | None
    level: str
    reason: str
    field: str
    found: str
    fix: str


@dataclass
class Selftest:
    """A self-test under way. `registry` None: places are not checked. `now` (ms UTC) is the log time of samples from files."""

    plan: Plan
    now: int
    registry: Registry | None = None
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _table: SeriesTable = field(default_factory=SeriesTable)
    _told: set[tuple[str, ...]] = field(default_factory=set)
    _times: dict[int, list[Int64]] = field(default_factory=lambda: defaultdict(list))

    def body(
        self,
        source: str,
        kind: str,
        content_type: str,
        body: bytes,
        *,
        first: int = 0,
        arrived: int | None = None,
        key: str | None = None,
    ) -> int:
        """Check one body; `first` is the number of its first row. Returns how many rows (or frames) it had."""
        now = self.now if arrived is None else arrived
        if kind == HJ212_KIND:
            return self._frames(source, body, first, now)
        if kind == EVENTS_KIND:
            return self._events(source, content_type, body, first, key)
        return self._readings(source, content_type, body, first, now, key)

    def message(self, seen: Seen) -> None:
        """Check one message of a topic: its key, partition, size and header, and then what is in it."""
        record = seen.record
        source = f"{record.topic}/{record.partition}/{record.offset}"
        if not seen.typed:
            self._say(source, None, WARNING, "no_content_type", "the message has no header content-type and is read as JSON")
        for reason, words in self._gated(record, seen.partitions):
            self._say(source, None, WARNING if reason == "unregistered" else FAULT, reason, words)
        if record.topic == CONTEXT and "start" not in (control := control_of(record.body)):
            self.counts["records"] += 1
            if not isinstance(control.get("kind"), str):
                self._say(source, None, FAULT, "bad_context", "not a JSON object with a kind")
            return
        kind = (
            EVENTS_KIND
            if record.topic in (EVENTS, CONTEXT)
            else HJ212_KIND
            if bare(record.content_type) == HJ212
            else READINGS_KIND
        )
        self.body(source, kind, record.content_type, record.body, arrived=record.arrived, key=record.key or None)

    def done(self) -> dict[str, Any]:
        """Look at whole series, and return everything as JSON: ok, counts, summary by reason, findings."""
        self._intervals()
        if not any(self.counts[name] for name in COUNTED) and not self.findings:
            self._say("", None, FAULT, "empty", "nothing was found")
        summary = Counter(f"{one.level}.{one.reason}" for one in self.findings)
        told = [asdict(one) for one in self.findings]
        return {"ok": not self.findings, "counts": dict(self.counts), "summary": dict(summary), "findings": told}

    # --- readings

    def _readings(self, source: str, content_type: str, body: bytes, first: int, now: int, key: str | None) -> int:
        envelope = Envelope(key, self.plan.time.ahead_max_min * MINUTE)
        decoded = decode_readings(content_type, body, self._table, now, envelope=envelope)
        self._rejects(source, decoded.rejects, first)
        self._taken(source, decoded.readings, first)
        if bare(content_type) in (JSON, NDJSON):
            self._units(source, body_of(body, lines=bare(content_type) == NDJSON).rows, first)
        return len(decoded.readings) + sum(reject.rows for reject in decoded.rejects)

    def _taken(self, source: str, readings: Readings, first: int) -> None:
        """Look at readings that were accepted: where they belong, and their flags."""
        self.counts["readings"] += len(readings)
        for number, at in zip(*np.unique(readings.series, return_index=True), strict=True):
            key, row = self._table.keys[number], first + int(readings.frame[at])
            self._times[int(number)].append(readings.time[readings.series == number])
            self._place(source, row, key.site, key.point, key.factor)
        odd = np.flatnonzero(readings.flag == UNKNOWN_FLAG)
        for number, count in zip(*np.unique(readings.series[odd], return_counts=True), strict=True):
            row = first + int(readings.frame[odd[readings.series[odd] == number][0]])
            self._say(source, row, WARNING, "unknown_flag", f"{count} values of {self._table.keys[number]}, here the first")

    def _place(self, source: str, row: int | None, site: str, point: str | None = None, factor: str | None = None) -> None:
        """Say once of each site, point and factor that the registry does not know it."""
        if self.registry is None:
            return
        place: tuple[str, ...] = (site, point or "", factor or "")
        if self.registry.site(site) is None:
            reason, place = "unknown_site", (site,)
        elif point is not None and self.registry.point(site, point) is None:
            reason, place = "unknown_point", (site, point)
        elif factor is not None and self.registry.factor(site, point or "", factor) is None:
            reason = "unknown_factor"
        else:
            return
        self._once(source, row, reason, place)

    def _once(self, source: str, row: int | None, reason: str, about: tuple[str, ...], words: str = "") -> None:
        if (reason, *about) not in self._told:
            self._told.add((reason, *about))
            self._say(source, row, WARNING, reason, "/".join(about) + words)

    def _units(self, source: str, rows: Iterable[Any], first: int) -> None:
        """Compare the units that rows name with those by which their values will be read."""
        for number, row in enumerate(rows):
            named = [row.get(name) for name in (*NAMES, "unit")] if isinstance(row, dict) else []
            texts = [text for text in named if isinstance(text, str)]
            if len(texts) < len(NAMES) + 1:
                continue
            *series, unit = texts
            held = self.registry.factor(*series) if self.registry else None
            wire = (held.wire_unit if held else "") or factor_names().get(series[-1], ("", "", ""))[2]
            if differ(unit, wire):
                self._once(source, first + number, "unit_differs", tuple(series), f" is sent in {unit}, but read in {wire}")

    def _intervals(self) -> None:
        for number, times in self._times.items():
            key = self._table.keys[number]
            held = self.registry.factor(key.site, key.point, key.factor) if self.registry else None
            instants = np.unique(np.concatenate(times))
            if held is None or held.interval_s is None or key.period != "realtime" or len(instants) < FEW:
                continue
            found = float(np.median(np.diff(instants))) / 1000
            if abs(found - held.interval_s) > OFF * held.interval_s:
                self._once(
                    "registry",
                    None,
                    "interval_differs",
                    tuple(key),
                    f" comes every {found:g} s, registered are {held.interval_s:g} s",
                )

    # --- events, frames, messages

    def _events(self, source: str, content_type: str, body: bytes, first: int, key: str | None) -> int:
        try:
            events, rejects = decode_events(content_type, body, envelope=Envelope(key))
        except Refused as error:
            self._say(source, None, FAULT, "bad_content_type", str(error))
            return 0
        self._rejects(source, rejects, first)
        self.counts["events"] += len(events)
        for event in events:
            self._place(source, None, event.site, event.point)
        return len(events) + sum(reject.rows for reject in rejects)

    def _frames(self, source: str, body: bytes, first: int, now: int) -> int:
        split = split_buffer(body)
        for at, chunk in split.bad:
            self._say(source, None, FAULT, chunk.reason, f"at byte {at}: {chunk.raw[:80]!r}")
        frames = split.frames()
        decoded = Hj212Decoder(lambda mn, medium: self._resolve(source, mn, medium), self._table).decode(
            frames, np.full(len(frames), now)
        )
        self.counts["frames"] += len(frames)
        self.counts["events"] += len(decoded.events)
        self._rejects(source, decoded.rejects, first, whole=True)
        late = decoded.readings.time > now + self.plan.time.ahead_max_min * MINUTE
        for frame in np.unique(decoded.readings.frame[late]).tolist():
            self._say(
                source, first + frame, FAULT, "future_time", f"DataTime lies more than {self.plan.time.ahead_max_min} min ahead"
            )
        self._taken(source, decoded.readings, first)
        return len(frames)

    def _resolve(self, source: str, mn: str, medium: str) -> tuple[str, str]:
        found = self.registry.resolve(mn, medium) if self.registry else None
        if self.registry and found is None:
            self._once(source, None, "unknown_mn", (mn,))
            self._told.add(("unknown_site", mn))  # it would be said of the same device
        return found or (mn, INFERRED_POINT[medium])

    def _gated(self, record: Record, partitions: int) -> list[tuple[str, str]]:
        gate = Gate(record.partition, partitions, infer=self.registry is None or record.topic == CONTEXT)
        if record.topic == CONTEXT and not record.key:
            return []  # control records have none
        found = gate(record, self.registry or Registry())
        return [] if found is None else [found]

    def _rejects(self, source: str, rejects: Iterable[Reject], first: int, *, whole: bool = False) -> None:
        for reject in rejects:
            row = first + reject.frame if reject.rows or whole else None
            self._say(source, row, FAULT, reject.reason, reject.detail)
        self.counts["refused"] += sum(reject.rows for reject in rejects)

    def _say(self, source: str, row: int | None, level: str, reason: str, words: str) -> None:
        found, _, fix = words.partition("; ")
        named = FIELD.match(found)
        self.findings.append(
            Finding(source, row, level, reason, named[1] if named else "", found, fix or REMEDIES.get(reason, ""))
        )


def kind_of(content_type: str, body: bytes) -> str:
    """Guess what a body holds: frames by its type, events by a kind in its first row, else readings."""
    if content_type == HJ212:
        return HJ212_KIND
    rows = body_of(body, lines=content_type == NDJSON).rows[:1] if content_type in (JSON, NDJSON) else []
    named = rows and isinstance(rows[0], dict) and ("kind" in rows[0] or "event_type" in rows[0])
    return EVENTS_KIND if named else READINGS_KIND


def type_of(body: bytes) -> str:
    """Guess the content type of a body without a name."""
    start = body.lstrip()[:2]
    if start == b"##":
        return HJ212
    if body[:4] == b"\xff\xff\xff\xff":  # the continuation mark of an Arrow IPC stream
        return ARROW
    if start[:1] == b"[":
        return JSON
    if start[:1] == b"{":
        return (
            NDJSON
            if len(body_of(body, lines=True).rows) > 1 and not isinstance(body_of(body, lines=False).rows[0], dict)
            else JSON
        )
    return CSV
