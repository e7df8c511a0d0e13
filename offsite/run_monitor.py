"""What `offsite run` sees of itself: the parts of the I/O process and what the judge tells enter, a `Monitor` leaves."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from connectors.core import Clock, ConnectorError
from connectors.hj212.device import Counters
from connectors.http import HttpCounters
from connectors.log_writer import LogWriter
from connectors.metrics import Fault
from connectors.sqlite_log import SqliteLog
from offsite import metric_sources
from offsite.judge_link import JudgeLink
from offsite.metrics import Sample, Source
from offsite.monitor import Monitor, certificate_ends
from offsite.receipts import Receipts
from offsite.self_seen import Bounds, Partition, Snapshot, Target
from offsite.settings import Settings
from streams.store import StateStore

if TYPE_CHECKING:
    from offsite.io_process import Product

PARTITION = "0"
"""The one partition of the embedded log."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What is watched. `desk` asks the desk's database for anything at all and raises a ConnectorError if it is away.

    `held` counts the records held for unknown sites · `http` the counters of the ingest, None where it is left out · `queues` the
    books of outbound targets · `targets` their state.
    """

    settings: Settings
    clock: Clock
    log: SqliteLog
    writer: LogWriter
    store: StateStore
    gateway: Counters
    receipts: Receipts
    link: JudgeLink
    desk: Callable[[], object]
    held: Callable[[], int]
    http: Callable[[], HttpCounters | None] = lambda: None
    queues: Callable[[], Mapping[str, Mapping[str, int]]] = dict
    targets: Callable[[], Mapping[str, Target]] = dict


def run_monitor(parts: Parts) -> Monitor:
    """Return the monitor of the embedded product."""
    bounds = Bounds().at_speed(getattr(parts.clock, "speed", 1.0))
    watch = _Watch(parts)
    return Monitor("run", snapshot=watch.snapshot, sources=_sources(parts), ready=watch.faults, bounds=bounds)


def of_product(product: Product) -> Monitor:
    """Return the monitor of the I/O process."""
    return run_monitor(
        Parts(
            product.settings,
            product.clock,
            product.log,
            product.writer,
            product.store,
            product.gateway.counters,
            product.receipts,
            product.link,
            desk=product.desk.position,
            held=lambda: sum(product.intake.held.values()),
            http=lambda: product.http,
        )
    )


class _Watch:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._started = parts.clock()

    def snapshot(self) -> Snapshot:
        """See how things are."""
        parts, settings = self._parts, self._parts.settings
        now = parts.clock()
        told = parts.link.told()
        reached = max(int(told.get("arrived", {}).get(PARTITION, 0)), parts.store.tick())
        away = {}
        try:
            parts.desk()
        except ConnectorError as error:
            away["desk"] = str(error)
        return Snapshot(
            now=now,
            started=self._started,
            partitions=(Partition(PARTITION, parts.log.end(), parts.store.position(), reached or None),),
            heard=parts.link.heard,
            failed=parts.link.failed,
            free={"data": shutil.disk_usage(settings.data).free},
            newest=now + parts.log.held_back,
            targets=parts.targets(),
            databases_away=away,
            expires=certificate_ends([settings.tls_cert]),
        )

    def faults(self) -> Iterator[Fault]:
        """Tell what keeps the product from its work at this moment, beside the conditions that stand."""
        if self._parts.receipts.failing:
            yield Fault("log", self._parts.receipts.failing, "see the message; devices send again what was not acknowledged")
        if not self._parts.link.told():
            yield Fault("judge", "the judge has not restored its state yet", "wait; if it takes minutes, read its log")


def _sources(parts: Parts) -> dict[str, Source]:
    def ingest() -> Iterator[Sample]:
        counters = parts.http()
        yield from () if counters is None else metric_sources.ingest(counters)

    def judge() -> Iterator[Sample]:
        yield from metric_sources.vitals(parts.link.told(), parts.clock())
        yield from metric_sources.failures(parts.link.failures)
        yield Sample("offsite_judge_restarts_total", parts.link.restarts)

    def intake() -> Iterator[Sample]:
        yield from metric_sources.receipts(parts.receipts)
        yield Sample("offsite_log_queue_records", parts.writer.waiting)
        yield Sample("offsite_held_records", parts.held())

    return {
        "books": lambda: metric_sources.books(parts.store.books()),
        "judge": judge,
        "gateway": lambda: metric_sources.gateway(parts.gateway),
        "http": ingest,
        "intake": intake,
        "outbound": lambda: metric_sources.outbound(parts.queues()),
    }
