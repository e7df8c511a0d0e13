"""What the gateway, the agents and the desk of the distributed runtime see of themselves: their parts enter, a `Monitor` leaves.

Stores are asked by a call that each process brings along; it raises a ConnectorError while its store is away.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from connectors.core import Clock, ConnectorError
from connectors.hj212.device import Counters
from connectors.http import HttpCounters
from connectors.metrics import Fault
from offsite import metric_sources
from offsite.metrics import Sample, Source
from offsite.monitor import Monitor, certificate_ends
from offsite.receipts import Receipts
from offsite.self_seen import Snapshot, Target
from offsite.settings import Settings

Ask = Callable[[], object]


class Spool(NamedTuple):
    """What a gateway has on disk while Kafka is away: bytes, bytes allowed, log time of the oldest record (ms UTC, None: empty)."""

    used: int
    allowed: int
    oldest: int | None


def gateway_monitor(
    settings: Settings,
    clock: Clock,
    *,
    gateway: Counters,
    receipts: Receipts,
    spool: Callable[[], Spool],
    http: Callable[[], HttpCounters | None] = lambda: None,
) -> Monitor:
    """Return the monitor of a gateway."""

    def snapshot() -> Snapshot:
        used, allowed, _ = spool()
        expires = certificate_ends([settings.tls_cert, _kafka(settings)])
        return Snapshot(clock(), free=_free(settings.spool), spool=(used, allowed), expires=expires)

    def ready() -> Iterator[Fault]:
        if receipts.failing:
            yield Fault("log", receipts.failing, "see the message; devices send again what was not acknowledged")

    def ingest() -> Iterator[Sample]:
        counters = http()
        yield from () if counters is None else metric_sources.ingest(counters)

    sources: dict[str, Source] = {
        "gateway": lambda: metric_sources.gateway(gateway),
        "intake": lambda: metric_sources.receipts(receipts),
        "spool": lambda: metric_sources.spool(*spool(), clock()),
        "http": ingest,
    }
    return Monitor("gateway", snapshot=snapshot, sources=sources, ready=ready)


def agents_monitor(
    settings: Settings,
    clock: Clock,
    *,
    databases: Mapping[str, Ask],
    history: Mapping[str, Ask],
    write_failures: Mapping[str, int],
    queues: Callable[[], Mapping[str, Mapping[str, int]]] = dict,
    targets: Callable[[], Mapping[str, Target]] = dict,
) -> Monitor:
    """Return the monitor of an agents process. `write_failures` counts by history store what failed and is repeated."""

    def snapshot() -> Snapshot:
        return Snapshot(
            clock(),
            databases_away=away(databases),
            history_away=away(history),
            targets=targets(),
            expires=certificate_ends([_kafka(settings)]),
        )

    sources: dict[str, Source] = {
        "outbound": lambda: metric_sources.outbound(queues()),
        "history": lambda: metric_sources.history(write_failures),
    }
    return Monitor("agents", snapshot=snapshot, sources=sources)


def desk_monitor(settings: Settings, clock: Clock, *, databases: Mapping[str, Ask], history: Mapping[str, Ask]) -> Monitor:
    """Return the monitor of a desk."""

    def snapshot() -> Snapshot:
        expires = certificate_ends([_kafka(settings)])
        return Snapshot(clock(), databases_away=away(databases), history_away=away(history), expires=expires)

    return Monitor("desk", snapshot=snapshot, sources={})


def away(stores: Mapping[str, Ask]) -> dict[str, str]:
    """Return the stores that do not answer, and what they say."""
    found = {}
    for name, ask in stores.items():
        try:
            ask()
        except ConnectorError as error:
            found[name] = str(error)
    return found


def _free(place: Path) -> dict[str, int]:
    """Return the free bytes where `place` is, or will be made."""
    there = place.resolve()
    while not there.exists():
        there = there.parent
    return {"spool": shutil.disk_usage(there).free}


def _kafka(settings: Settings) -> Path | None:
    return Path(settings.kafka.cert) if settings.kafka.cert else None
