"""The catalogue of outputs, and what one is: a target that takes items and says what became of them.

A settings table (`[[outputs]]`) enters, an `Output` leaves, or `TableFaults` with every fault named by place and key. An output makes
one attempt; the queue (`connectors/outbound.py`) and its worker own order, retries, expiry and the books.
"""

from __future__ import annotations

import importlib
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import orjson

from connectors.core import Clock, ConnectorError
from connectors.outbound_entries import Item
from connectors.table import Secret, Table, TableFaults

CATALOGUE: dict[str, str] = {
    "webhook": "connectors.webhook",
    "kafka": "connectors.kafka_out",
    "hj212-relay": "connectors.hj212.relay",
}
"""Kind → the module with `DEFAULTS: Common` and `from_table(table, common, secret, clock) -> Output`; loaded when it is used."""
KINDS = ("alert", "lead", "case-event")
"""What webhooks and Kafka are sent; an HJ 212 relay is sent frames."""
ALL = ("*",)
"""A list of names that leaves none out."""
HOUR, DAY = 3_600_000, 86_400_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one attempt came to: the answers to the items that were delivered, from the first on, and why the next one was not.

    `fault`: Retry (not before `after` s), Refused (never this item), Lost (nothing more, until a person lets the target go on).
    """

    answers: Sequence[str] = ()
    fault: ConnectorError | None = None


@dataclass(frozen=True, slots=True)
class Common:
    """What all outputs can be told. Times in ms."""

    name: str = ""
    send: tuple[str, ...] = KINDS
    sites: frozenset[str] = frozenset(ALL)
    """Only these; `*` is all."""
    level: int = 4
    """Alerts and leads of this level and more severe ones (1 is the most severe)."""
    start: str = "now"
    """Where a new target begins: `now` or `beginning`."""
    bound: int = 1_000_000
    """Items that may wait."""
    when_full: str = "wait"
    """`wait`: the source waits. `refuse`: what comes is refused, and counted."""
    expire: int = 72 * HOUR
    """What could not be sent for so long is given up, and counted."""
    keep: int = 30 * DAY
    """How long the sent log is kept."""
    backoff: tuple[float, float] = (1.0, 3600.0)
    """Seconds before the second attempt, doubled each time, and at most."""


class Output(Protocol):
    """One target. `batch` items of one key are delivered at once, `parallel` keys at the same time."""

    common: Common
    takes: str
    """`events` (alerts, leads, case events) or `frames`."""
    batch: int
    parallel: int
    live_ms: int | None
    """What was put within so many ms goes before what is older; None: strictly in order."""

    def wants(self, kind: str, key: str, body: bytes) -> str | tuple[str, ...] | None:
        """Return the key under which this entry is to be kept in order, None if it is not for this target.

        Several keys: an entry of its own is queued for each.
        """

    async def deliver(self, items: Sequence[Item]) -> Delivery:
        """Make one attempt for some items of one key, in order."""

    async def close(self) -> None:
        """Let go of connections."""


class Kind(NamedTuple):
    """A kind of output: the defaults of what all can be told, and what makes one of its table."""

    defaults: Common
    make: Callable[[Table, Common, Secret, Clock], Output]


NO_MORE: Mapping[str, Kind] = MappingProxyType({})


def from_table(values: Mapping[str, Any], place: str, secret: Secret, clock: Clock, more: Mapping[str, Kind] = NO_MORE) -> Output:
    """Make the output that a table describes; `more` are kinds beside the catalogue. Raises TableFaults with every fault of it."""
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in {*CATALOGUE, *more}:
        raise TableFaults([f"{place}.kind: {kind!r} is no kind of output; known are {', '.join([*CATALOGUE, *more])}"])
    table = Table(values, place, secret)
    defaults, make = more[kind] if kind in more else _of_catalogue(kind)
    return make(table, _common(table, values.get("name"), defaults), secret, clock)


def _of_catalogue(kind: str) -> Kind:
    module = importlib.import_module(CATALOGUE[kind])
    return Kind(module.DEFAULTS, module.from_table)


def from_tables(
    tables: Sequence[Mapping[str, Any]], secret: Secret, clock: Clock, more: Mapping[str, Kind] = NO_MORE
) -> list[Output]:
    """Make all outputs. Raises TableFaults naming every fault of all tables, two of one name among them."""
    faults: list[str] = []
    made: list[Output] = []
    names = [table.get("name") for table in tables]
    for at, table in enumerate(tables):
        try:
            made.append(from_table(table, f"outputs[{at}]", secret, clock, more))
        except TableFaults as found:
            faults += found.faults
        if names[at] in names[:at]:
            faults.append(f"outputs[{at}].name: {names[at]!r} is the name of another output too; give each its own")
    if faults:
        raise TableFaults(faults)
    return made


def _common(table: Table, name: Any, usual: Common) -> Common:
    """Read what all outputs can be told; `usual` are the defaults of the kind."""
    if not isinstance(name, str) or not 0 < len(name) <= 64:
        table.fault("name", f"{name!r} is no name; its queue and books need one of 1 to 64 characters that never changes")
    return replace(
        usual,
        name=str(name),
        sites=frozenset(table.texts("sites", ALL)),
        start=table.choice("start", ("now", "beginning"), usual.start),
        bound=table.whole("bound", usual.bound, 1, 100_000_000),
        when_full=table.choice("when_full", ("wait", "refuse"), usual.when_full),
        expire=int(table.number("expire_hours", usual.expire / HOUR, 0.01, 8760) * HOUR),
        keep=int(table.number("keep_days", usual.keep / DAY, 0, 3650) * DAY),
    )


def events_of(table: Table, common: Common) -> Common:
    """Read what an output of alerts, leads and case events can be told besides: `send` and `level`."""
    send = table.texts("send", KINDS)
    if strange := set(send) - set(KINDS):
        table.fault("send", f"{', '.join(sorted(strange))} is never sent; use some of {', '.join(KINDS)}")
    return replace(common, send=send, level=table.whole("level", 4, 1, 4))


def tls_of(table: Table, *, wanted: bool) -> ssl.SSLContext | None:
    """Return the TLS context of a target, its `ca` trusted if it names one; None where TLS is not wanted."""
    ca = table.path("ca")
    if not wanted:
        return None
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        table.fault("ca", f"{ca} holds no certificates: {error}; give a PEM file")
        return None


def among(name: str, names: Collection[str]) -> bool:
    """Tell whether a list of names holds one, or all.

    >>> among("S1", ALL), among("S1", ["S2"])
    (True, False)
    """
    return "*" in names or name in names


def wants_event(common: Common, kind: str, key: str, body: bytes) -> str | None:
    """Return the site of an alert, lead or case event that an output is to be sent, None of any other."""
    if kind not in common.send or not among(key, common.sites):
        return None
    return key if common.level == 4 or orjson.loads(body).get("level", 0) <= common.level else None
