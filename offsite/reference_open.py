"""Reference data outside the product: its sources opened for one job on a stopped data directory, or on the distributed runtime.

Settings enter; a `Reference` leaves whose registry is that of the data directory's file and log, or the one published in Kafka.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cases.reference_store import FILE, ReferenceStore
from connectors.core import Refused, Retry
from connectors.table import TableFaults
from offsite import kafka_registry
from offsite.data_dir import now, open_log
from offsite.reference import Reference
from offsite.reference_sources import sources_of, store_url
from offsite.registered import load_current, put_current
from offsite.settings import Settings, SettingsFaults
from streams.records import registry_record
from streams.registry import registry_hash
from streams.registry_model import Registry

Ways = tuple[Callable[[], Registry], Callable[[Registry, Registry], None]]


@contextmanager
def open_reference(settings: Settings, *, make: bool = True) -> Iterator[Reference]:
    """Open the sources of the settings. Raises SettingsFaults, Retry or Lost, and Refused if there is no store and none to `make`."""
    try:
        sources = sources_of(settings.reference)
    except TableFaults as error:
        raise SettingsFaults(error.faults) from error
    if not make and not settings.desk_url and not (settings.data / FILE).exists():
        raise Refused(f"nothing was imported into {settings.data} yet; run `offsite reference pull` first")
    current, put = kafka_ways(settings) if settings.kafka.bootstrap else _stopped(settings.data)
    settings.data.mkdir(parents=True, exist_ok=True)
    store = ReferenceStore(store_url(settings), clock=now)
    try:
        yield Reference(sources, store, now, current, put)
    finally:
        store.close()


def _stopped(data: Path) -> Ways:
    def put(before: Registry, after: Registry) -> None:
        with open_log(data) as log:
            log.append([])  # takes the log's lock: from here on no product can start
            _unchanged(load_current(data), before)
            log.append([registry_record(after, now())])
            put_current(data, after)

    return lambda: load_current(data), put


def kafka_ways(settings: Settings) -> Ways:
    """Return how the registry of the distributed runtime is read and replaced."""
    cluster = settings.cluster()

    def current() -> Registry:
        return kafka_registry.current(cluster) or Registry()

    def put(before: Registry, after: Registry) -> None:
        _unchanged(current(), before)
        kafka_registry.publish(cluster, after, kafka_registry.partitions_of(cluster))

    return current, put


def _unchanged(there: Registry, before: Registry) -> None:
    if registry_hash(there) != registry_hash(before):
        raise Retry("the registry was changed by somebody else just now", 0.0)
