"""What `offsite worker` sees of itself: the worker and its vital signs enter, a `Monitor` leaves. It is read from another thread."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from connectors.core import Clock
from connectors.metrics import Fault
from offsite import metric_sources
from offsite.metrics import Sample
from offsite.monitor import Monitor, certificate_ends
from offsite.self_seen import Partition, Snapshot
from offsite.settings import Settings
from streams.state import State
from streams.worker import Worker


def worker_monitor(worker: Worker, settings: Settings, clock: Clock) -> Monitor:
    """Return the monitor of a worker; its loop calls `monitor.pulse.beat()` each time round."""
    watch = _Watch(worker, settings, clock)
    sources = {"books": watch.books, "judge": watch.judge, "lag": watch.lag}
    return Monitor("worker", snapshot=watch.snapshot, sources=sources, ready=watch.faults)


class _Watch:
    def __init__(self, worker: Worker, settings: Settings, clock: Clock) -> None:
        self._worker, self._settings, self._clock = worker, settings, clock
        self._started = clock()
        self._failures: Counter[str] = Counter()
        self._failed: dict[str, int] = {}

    def snapshot(self) -> Snapshot:
        """See how things are."""
        now = self._clock()
        failures = Counter(self._worker.vitals.costs.failures)
        self._failed |= dict.fromkeys(failures - self._failures, now)
        self._failures = failures
        arrived = dict(self._worker.vitals.arrived)
        partitions = []
        for number, part in list(self._worker.parts.items()):
            positions = part.merge.positions
            ends = {topic: max(self._worker.end(topic, number), position) for topic, position in positions.items()}
            reached = max(arrived.get(number, 0), part.engine.state.tick) or None
            partitions.append(Partition(str(number), sum(ends.values()), sum(positions.values()), reached))
        return Snapshot(
            now=now,
            started=self._started,
            partitions=tuple(partitions),
            failed=dict(self._failed),
            free={"data": shutil.disk_usage(self._settings.data).free} if self._settings.data.exists() else {},
            newest=max(arrived.values(), default=None),
            expires=certificate_ends([Path(cert) if (cert := self._settings.kafka.cert) else None]),
        )

    def books(self) -> Iterator[Sample]:
        """Add up the books of the partitions judged here: they move with the partitions, so their sum may fall."""
        counts: Counter[str] = Counter()
        for part in list(self._worker.parts.values()):
            counts.update(part.books())
        yield from metric_sources.books(counts)

    def judge(self) -> Iterator[Sample]:
        """Show the vital signs."""
        yield from metric_sources.vitals(self._worker.vitals.tell(self._states()), self._clock())
        yield from metric_sources.failures(dict(self._worker.vitals.costs.failures))

    def lag(self) -> Iterator[Sample]:
        """Show by topic and partition what is not judged yet, as far as the broker has told its ends."""
        for number, part in list(self._worker.parts.items()):
            for topic, position in part.merge.positions.items():
                behind = max(0, self._worker.end(topic, number) - position)
                yield Sample("offsite_lag_records", behind, (topic, str(number)))

    def faults(self) -> Iterator[Fault]:
        """Tell whether there is anything to judge."""
        if not self._worker.parts:
            yield Fault(
                "partitions", "no partition is assigned and restored yet", "wait; with more workers than partitions one idles"
            )

    def _states(self) -> Iterator[State]:
        yield from (part.engine.state for part in list(self._worker.parts.values()))
