"""The registry of a running product: a file in the data directory, and the log record that lets it hold.

The judge takes a registry from the log, at an offset, so that a replay sees the same one; the gateway reads the file. Adopting a
device adds it and drives its held frames again, in one append: all of it is durable, or nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from connectors.core import HJ212, Log, Record, Refused
from connectors.hj212.header import HeaderError, parse
from streams import registry as registries
from streams.codecs.hj212 import Hj212Decoder
from streams.codecs.hj212_names import medium
from streams.codecs.readings import decode_readings
from streams.model import SeriesTable
from streams.records import CONTEXT, HELD, OF_TOPIC, REDRIVEN, registry_record
from streams.registry_model import INFERRED_POINT, Point, Registry, Site

FILE = "registry.json"
TOPICS = {
    "gas": "emission-monitoring",
    "water": "emission-monitoring",
    "air": "sensor-readings",
    "surface_water": "sensor-readings",
    "noise": "sensor-readings",
    "power": "power-usage",
    "video": "video-events",
}
"""Medium → the topic its readings belong to (design §3)."""
MEDIUM_OF_ST = {"31": "gas", "32": "water", "22": "air", "21": "surface_water", "23": "noise", "44": "power"}
CHUNK = 10_000


def load_current(data: Path) -> Registry:
    """Return the registry in force in a data directory, an empty one before the first."""
    path = data / FILE
    return registries.from_json(path.read_text(encoding="utf-8")) if path.exists() else Registry()


def put_current(data: Path, registry: Registry) -> None:
    """Replace the registry file, whole or not at all."""
    part = data / (FILE + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(registries.to_json(registry))
        file.flush()
        os.fsync(file.fileno())
    part.replace(data / FILE)


def place_of(registry: Registry, mn: str, st: str) -> tuple[str, str] | None:
    """Return (site, topic) of a device's frame, None for an MN that nobody registered."""
    wanted = MEDIUM_OF_ST.get(st, "gas")
    found = registry.resolve(mn, wanted)
    if found is None:
        return None
    point = registry.point(*found)
    return found[0], TOPICS.get(point.medium if point else wanted, "sensor-readings")


def device_row(
    mn: str, points: Sequence[Point], *, online: bool | None = False, last_seen: str | None = None, held: int = 0
) -> dict[str, Any]:
    """Return a device as lists show it; `points` is what the registry says of it, nothing of one that nobody registered."""
    return {
        "mn": mn,
        "site": points[0].site if points else "",
        "point": ",".join(point.point for point in points),
        "known": bool(points),
        "online": online,
        "last_seen": last_seen,
        "held": held,
    }


def held(log: Log, keys: set[str] | None = None) -> list[Record]:
    """Return what is held of the given MNs or sites (None: of all) and was not driven again, oldest first."""
    waiting: dict[str, list[Record]] = {}
    start, end = 0, log.end()
    while start < end:
        records = log.read(start, CHUNK)
        if not records:
            break
        for record in records:
            if record.topic == HELD and (keys is None or record.key in keys):
                waiting.setdefault(record.key, []).append(record)
            elif record.topic == CONTEXT and b'"adopted"' in record.body:
                body = orjson.loads(record.body)
                for key in body.get("adopted", ()) if body.get("kind") == "registry" else ():
                    waiting.pop(key, None)
        start = records[-1].offset + 1
    return sorted((r for records in waiting.values() for r in records), key=lambda r: r.offset)


def adopt(data: Path, log: Log, now: int, keys: Iterable[str] | None) -> dict[str, int]:
    """Register held devices (None: all of them) under their own name and drive what they sent again.

    A device that the registry has meanwhile got a place for goes to that place. Returns MN → records driven again. Raises
    Refused for an MN of which nothing is held.
    """
    registry = load_current(data)
    wanted = None if keys is None else set(keys)
    records = held(log, wanted)
    found = {r.key for r in records}
    missing = (wanted or set()) - found
    if missing:
        raise Refused(f"nothing is held of {', '.join(sorted(missing))}; `offsite device list` shows of whom something is")
    strangers = [r for r in records if r.key not in registry.by_mn and registry.site(r.key) is None]
    grown = merged(registry, _inferred(strangers))
    again = [_driven_again(grown, r) for r in records]
    if again:
        log.append([registry_record(grown, now, sorted(found)), *again])
        put_current(data, grown)
    return {key: sum(r.key == key for r in records) for key in sorted(found)}


def _driven_again(registry: Registry, record: Record) -> Record:
    """Return a held record under its site and topic; it keeps its log time."""
    if record.content_type == HJ212:
        site, topic = place_of(registry, record.key, _st(record.body)) or (record.key, TOPICS["gas"])
        return Record(topic, site, record.arrived, REDRIVEN, record.body)
    kind, _, topic = record.content_type.partition(OF_TOPIC)
    return Record(topic or "sensor-readings", record.key, record.arrived, kind, record.body)


def held_record(topic: str, site: str, arrived: int, content_type: str, body: bytes) -> Record:
    """Return the record that holds a batch of an unknown site; the content type remembers the topic it was meant for."""
    return Record(HELD, site, arrived, f"{content_type}{OF_TOPIC}{topic}", body)


def _inferred(records: Iterable[Record]) -> Registry:
    """Draft the registry entries of held records: devices under their MN, HTTP senders under the site they named."""
    seen: set[tuple[str, str, str]] = set()
    named = Registry()
    for record in records:
        table = SeriesTable()
        if record.content_type == HJ212:
            st = _st(record.body)
            Hj212Decoder(lambda mn, kind: (mn, INFERRED_POINT[kind]), table).decode([record.body], np.zeros(1, np.int64))
            base = MEDIUM_OF_ST.get(st, "gas")
            seen |= {(record.key, medium(k.factor, st), k.factor) for k in table.keys}
            named = merged(named, _device(record.key, base) if not table.keys else Registry())
        elif record.content_type.endswith((OF_TOPIC + "context", OF_TOPIC + "video-events")):
            named = merged(named, Registry((Site(record.key, record.key),)))
        else:
            decode_readings(record.content_type, record.body, table, 0)
            points = {(k.site, k.point): Point(k.site, k.point, medium(k.factor, "")) for k in table.keys}
            named = merged(named, Registry((Site(record.key, record.key),), tuple(points.values())))
    return merged(named, registries.infer(sorted(seen)))


def _st(frame: bytes) -> str:
    try:
        return parse(frame[6:-4]).st
    except HeaderError:
        return ""


def _device(mn: str, kind: str) -> Registry:
    """Return the entry of a device that has sent no readings yet."""
    return Registry((Site(mn, mn),), (Point(mn, INFERRED_POINT[kind], kind, mn=mn),))


def merged(base: Registry, more: Registry) -> Registry:
    """Return `base` with what `more` adds; what `base` already has stays."""
    return Registry(
        base.sites + tuple(s for s in more.sites if base.site(s.site) is None),
        base.points + tuple(p for p in more.points if base.point(p.site, p.point) is None),
        base.factors + tuple(f for f in more.factors if base.factor(f.site, f.point, f.factor) is None),
        base.limits,
        base.equipment,
        base.people,
        base.districts,
    )
