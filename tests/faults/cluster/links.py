"""The real worker's links to the cluster in memory: a consumer, a transactional producer, and the reading back of the changelog.

Where a worker dies or sleeps is drawn from the seed: between any two calls, and on either side of a commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any

from connectors.core import Lost
from connectors.kafka_inputs import Polled
from connectors.kafka_topics import Known
from streams.topics import INPUTS, LIVE_STATE
from tests.faults.cluster.broker import Broker, Entry, Group, Open, Place, messages


class Died(BaseException):
    """The worker's process was killed."""


class Asleep(BaseException):
    """The worker's process was stopped in the middle of a commit; `go_on` is what it does when it is woken."""

    def __init__(self, go_on: Callable[[], object]) -> None:
        super().__init__("asleep")
        self.go_on = go_on


class MemoryInputs:
    """A member of the group."""

    def __init__(self, links: MemoryLinks, assigned: Any, revoked: Callable[[], None]) -> None:
        self._links, self._assigned, self._revoked = links, assigned, revoked
        self._positions: dict[Place, int] = {}
        self._held: set[Place] = set()
        self._told: dict[Place, int] = {}
        self.generation = -1
        self.member = links.group.join(links.name)

    def poll(self, limit: int, _seconds: float) -> Polled:
        """Take part in a rebalance if there was one; then return some of what there is."""
        group, broker = self._links.group, self._links.broker
        if group.members.get(self._links.name) != self.member:
            if self._links.name in group.members:
                raise Lost("another member has this name")
            self.member = group.join(self._links.name)
        polled = Polled()
        if broker.away:
            return polled
        if self.generation != group.generation:
            self._rejoin()
        for place in sorted(self._positions):
            if place not in self._held and self._links.rng.random() < 0.8:
                self._read(place, self._links.rng.randint(1, limit), polled)
        return polled

    def _rejoin(self) -> None:
        self._revoked()
        self._positions.clear()
        self._held.clear()
        self._told.clear()
        self.generation = self._links.group.generation
        given = list(self._links.group.given(self._links.name))
        for partition, topics in (self._assigned(given) if given else {}).items():
            for topic, offset in topics.items():
                self._positions[topic, partition] = offset

    def _read(self, place: Place, limit: int, polled: Polled) -> None:
        broker = self._links.broker
        found = broker.committed(place, self._positions[place])[: min(limit, 30)]
        polled.records += messages(found, *place)
        if found:
            self._positions[place] = found[-1][0] + 1
        end = broker.stable(place)
        if not broker.committed(place, self._positions[place]) and self._told.get(place) != end:
            self._told[place] = self._positions[place] = end
            polled.ends.append((*place, end))

    def hold(self, places: Iterable[Place], *, on: bool) -> None:
        """Fetch no more, or again."""
        (self._held.update if on else self._held.difference_update)(places)

    def seek(self, partition: int, positions: Mapping[str, int]) -> None:
        """Read again."""
        for topic, offset in positions.items():
            self._positions[topic, partition] = offset
            self._told.pop((topic, partition), None)

    def membership(self) -> Any:
        """Return what offsets are fenced by."""
        return self._links.name, self.member, self.generation

    def close(self) -> None:
        """Leave off."""


class MemoryTransactions:
    """A transactional producer; every message is in its log at once, but open."""

    def __init__(self, links: MemoryLinks) -> None:
        self._links = links
        self._id = f"worker-{links.name}"
        self._epoch = links.broker.join(self._id)
        self._due: tuple[Mapping[Place, int], Any] | None = None

    def begin(self) -> None:
        """Open a transaction, once the last one is settled."""
        self.settle()
        broker = self._links.broker
        broker.check(self._id, self._epoch)
        broker.open[self._id] = Open(self._id, self._links.now())

    def put(self, topic: str, partition: int, key: str | bytes, value: bytes | None, headers: Any = None) -> None:
        """Add a message."""
        broker = self._links.broker
        broker.check(self._id, self._epoch)
        name = key.decode() if isinstance(key, bytes) else key
        broker.write(self._id, (topic, partition), Entry(name, value, self._links.now(), headers or {}, "open"))

    def hand_over(self, offsets: Mapping[Place, int], membership: Any) -> None:
        """Commit at once, or as late as may be: whatever comes between the two finds the transaction open."""
        self._due = offsets, membership
        if self._links.rng.random() < 0.5:
            self.settle()

    def settle(self) -> None:
        """Commit what is due."""
        if self._due is not None:
            due, self._due = self._due, None
            self._commit(*due)

    def _commit(self, offsets: Mapping[Place, int], membership: Any) -> None:
        """Commit, or die, or fall asleep: before the offsets, between them and the end, or behind it."""
        draw = 1.0 if self._links.calm() else self._links.rng.random()
        if draw < 0.03:
            raise Died
        if draw < 0.06:
            raise Asleep(lambda: (self.offsets(membership), self.end(offsets)))
        self.offsets(membership)
        if draw < 0.10:
            raise Asleep(lambda: self.end(offsets))
        self.end(offsets)
        if draw < 0.13:
            raise Died

    def offsets(self, membership: Any) -> None:
        """Let the group check who sends offsets; they count with the end of the transaction."""
        self._links.broker.check(self._id, self._epoch)
        self._links.group.check(*membership)

    def end(self, offsets: Mapping[Place, int]) -> None:
        """End the transaction, if the cluster still knows this producer. Nobody asks for the group any more."""
        self._links.broker.check(self._id, self._epoch)
        self._links.group.offsets |= offsets
        self._links.broker.finish(self._id, commit=True)


class MemoryLinks:
    """What ties one life of a worker to the cluster in memory."""

    transactions_of: type[MemoryTransactions] = MemoryTransactions

    def __init__(
        self, broker: Broker, group: Group, name: str, rng: Random, *, now: Callable[[], int], calm: Callable[[], bool]
    ) -> None:
        self.broker, self.group, self.name, self.rng, self.now, self.calm = broker, group, name, rng, now, calm

    def topics(self) -> Mapping[str, Known]:
        """Return the input topics."""
        if self.broker.away:
            raise Lost("the cluster is away")
        return {topic: Known(f"id-of-{topic}", self.broker.partitions) for topic in INPUTS}

    def transactions(self) -> Any:
        """Open a producer."""
        return self.transactions_of(self)

    def inputs(self, assigned: Any, revoked: Callable[[], None]) -> Any:
        """Join the group."""
        return MemoryInputs(self, assigned, revoked)

    def read_back(self, number: int) -> Sequence[tuple[bytes, bytes | None]]:
        """Read the changelog; what is open is waited for, as long as its producer lives, and then aborted."""
        place = (LIVE_STATE, number)
        if self.broker.stable(place) < len(self.broker.log(place)):
            self.broker.expire(self.now() + 1)
        return self.broker.read_back(place)
