"""A Kafka cluster in memory, with what exactness rests on: transactions, fencing, the last stable offset, generations of a group.

Offsets are counted as Kafka does: aborted records and the markers of transactions take one each. Nothing here waits; what would
wait in a real cluster is told by an error that says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from connectors.core import Lost, Record, Retry

Place = tuple[str, int]


@dataclass(slots=True)
class Entry:
    """One offset: a message, open or committed or aborted, or a marker."""

    key: str | bytes
    value: bytes | None
    stamp: int
    headers: Mapping[str, str | bytes | None]
    state: str = "committed"


@dataclass(slots=True)
class Open:
    """An open transaction: whose, since when (ms), and the offsets that it wrote."""

    name: str
    since: int
    wrote: list[tuple[Place, int]] = field(default_factory=list)


class Broker:
    """The cluster; `partitions` is how many each topic has."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.logs: dict[Place, list[Entry]] = {}
        self.epochs: dict[str, int] = {}
        self.open: dict[str, Open] = {}
        self.away = False

    def log(self, place: Place) -> list[Entry]:
        """Return the log of (topic, partition)."""
        return self.logs.setdefault(place, [])

    def append(self, place: Place, record: Record, stamp: int) -> None:
        """Append what a plain producer sends."""
        self.log(place).append(Entry(record.key, record.body, stamp, {"content-type": record.content_type}))

    def stable(self, place: Place) -> int:
        """Return the last stable offset: where the first open transaction begins."""
        return min(
            (offset for each in self.open.values() for p, offset in each.wrote if p == place), default=len(self.log(place))
        )

    def committed(self, place: Place, start: int = 0) -> list[tuple[int, Entry]]:
        """Return what a reader of committed records sees from `start` on."""
        return [(o, e) for o, e in enumerate(self.log(place)[: self.stable(place)]) if o >= start and e.state == "committed"]

    # --- transactions

    def join(self, name: str) -> int:
        """Give a producer a new epoch: every earlier one of the name is fenced, and what it had open is aborted."""
        self.finish(name, commit=False)
        self.epochs[name] = self.epochs.get(name, 0) + 1
        return self.epochs[name]

    def check(self, name: str, epoch: int) -> None:
        """Raise Lost for a producer that was fenced, Retry while the cluster is away."""
        if self.away:
            raise Lost("the cluster is away")
        if self.epochs[name] != epoch:
            raise Lost(f"{name} was fenced")

    def write(self, name: str, place: Place, entry: Entry) -> None:
        """Append a message to an open transaction."""
        self.log(place).append(entry)
        self.open[name].wrote.append((place, len(self.log(place)) - 1))

    def finish(self, name: str, *, commit: bool) -> None:
        """End what a name has open, with a marker in every partition that it wrote to."""
        found = self.open.pop(name, None)
        if found is None:
            return
        for place, offset in found.wrote:
            self.log(place)[offset].state = "committed" if commit else "aborted"
        for place in dict.fromkeys(place for place, _ in found.wrote):
            self.log(place).append(Entry("", None, 0, {}, "marker"))

    def expire(self, older: int) -> None:
        """Abort transactions that were opened before `older` (ms): their producers are taken for dead."""
        for name, each in list(self.open.items()):
            if each.since < older:
                self.epochs[name] += 1
                self.finish(name, commit=False)

    def read_back(self, place: Place) -> list[tuple[bytes, bytes | None]]:
        """Return a partition up to its high watermark. Raises Retry while a transaction is open there."""
        if self.stable(place) < len(self.log(place)):
            raise Retry("a transaction is open")
        return [(str(entry.key).encode(), entry.value) for _, entry in self.committed(place)]


class Group:
    """A consumer group with static members; its partitions are dealt out in ranges, anew in each generation."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.generation = 0
        self.members: dict[str, int] = {}
        """Instance → how often somebody joined under its name."""
        self.offsets: dict[Place, int] = {}
        self._joins = 0

    def join(self, instance: str) -> int:
        """Let an instance in, in place of the one that had its name; return what it is fenced by."""
        self._joins += 1
        self.members[instance] = self._joins
        self.generation += 1
        return self._joins

    def leave(self, instance: str) -> None:
        """Take an instance for gone."""
        if self.members.pop(instance, None) is not None:
            self.generation += 1

    def given(self, instance: str) -> Sequence[int]:
        """Return the partitions of an instance in this generation."""
        names = sorted(self.members)
        at = names.index(instance)
        each, more = divmod(self.partitions, len(names))
        first = at * each + min(at, more)
        return range(first, first + each + (at < more))

    def check(self, instance: str, member: int, generation: int) -> None:
        """Raise Lost for a member of another generation."""
        if self.members.get(instance) != member or generation != self.generation:
            raise Lost(f"{instance} is of generation {generation}, the group of {self.generation}")


def messages(found: Iterable[tuple[int, Entry]], topic: str, partition: int) -> list[Record]:
    """Return entries as consumed records."""
    return [
        Record(
            topic, str(e.key), e.stamp, str(e.headers.get("content-type", "application/json")), e.value or b"", offset, partition
        )
        for offset, e in found
    ]
