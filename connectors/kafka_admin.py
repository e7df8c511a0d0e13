"""Administration of a Kafka cluster: names of topics and groups enter, what the cluster knows of them leaves.

Topics are made, described and configured; offsets of topics and groups are read. Nothing here deletes anything or changes a
number of partitions. Errors come as Retry (no broker, or not yet), Refused (the broker says no, with its reason) and Lost (not
let in); names have no prefix.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from connectors.core import ConnectorError, Lost, Refused, Retry
from connectors.kafka import Cluster, reach, translate

Place = tuple[str, int]
"""Topic and partition."""
T = TypeVar("T")
LATEST, EARLIEST = -1, -2
PATIENCE_S = 10.0
"""How long a cluster that has just been started may take to find a coordinator or a leader."""


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: the broker that leads it (-1: none), all that should have it, and those that are up to date."""

    number: int
    leader: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is: its id (another one after it was made anew), its partitions, its whole configuration."""

    name: str
    id: str
    partitions: tuple[Partition, ...]
    config: Mapping[str, str]

    @property
    def replication(self) -> int:
        """The smallest number of replicas of a partition."""
        return min(len(one.replicas) for one in self.partitions)


@dataclass(frozen=True, slots=True)
class Lag:
    """What a group has not yet read of a partition.

    `lag` counts offsets between `committed` and `end`; it is 0 where only marks of transactions are left. `oldest` is the log
    time (ms UTC) of the first unread record; `lost` counts offsets that were deleted before the group read them.
    """

    group: str
    topic: str
    partition: int
    end: int
    committed: int
    lag: int
    oldest: int | None
    lost: int


class Admin:
    """A client for administration; use it in a `with` block. `seconds` is how long to look for the cluster."""

    def __init__(self, cluster: Cluster, seconds: float = 10.0) -> None:
        from kafka import KafkaAdminClient  # type: ignore[import-untyped]

        self.cluster = cluster
        self.brokers = reach(cluster, seconds)
        with _translated(f"connecting to {cluster.bootstrap}"):
            self._client = KafkaAdminClient(**cluster.kafka_python(), bootstrap_timeout_ms=int(seconds * 1000))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def topics(self, names: Iterable[str]) -> dict[str, TopicState]:
        """Return those of the topics that exist, in the order of `names`. Raises Retry, Refused or Lost."""
        from kafka import admin

        order = {self.cluster.named(name): at for at, name in enumerate(names)}
        with _translated("describing topics"):
            found = [topic for topic in self._client.describe_topics(list(order)) if topic["partitions"]]
            if not found:
                return {}
            wanted = [admin.ConfigResource(admin.ConfigResourceType.TOPIC, topic["name"]) for topic in found]
            configs = self._client.describe_configs(wanted, config_filter="all")["topic"]
        return {
            (name := self.cluster.bare(topic["name"])): TopicState(
                name,
                topic["topic_id"],
                tuple(sorted((_partition(one) for one in topic["partitions"]), key=lambda p: p.number)),
                {key: entry["value"] or "" for key, entry in configs[topic["name"]].items()},
            )
            for topic in sorted(found, key=lambda one: order[one["name"]])
        }

    def create(self, name: str, partitions: int, replication: int, config: Mapping[str, str]) -> None:
        """Make a topic and wait until every partition has a leader. Raises Refused with the broker's reason, Retry or Lost."""
        from kafka import errors

        topic = self.cluster.named(name)
        wanted = {topic: {"num_partitions": partitions, "replication_factor": replication, "configs": dict(config)}}
        with _translated(f"creating topic {topic}"):
            [answer] = self._client.create_topics(wanted, raise_errors=False)["topics"]
            if answer["error_code"]:
                raise _named(errors.for_code(answer["error_code"])(), f"creating topic {topic}", answer["error_message"])
            self._client.wait_for_topics([topic], timeout_ms=int(PATIENCE_S * 1000))

    def configure(self, name: str, config: Mapping[str, str]) -> None:
        """Set some of a topic's configuration; the rest stays. Raises Refused with the broker's reason, Retry or Lost."""
        from kafka import admin

        topic = self.cluster.named(name)
        with _translated(f"configuring topic {topic}"):
            wanted = [admin.ConfigResource(admin.ConfigResourceType.TOPIC, topic, dict(config))]
            answer = self._client.alter_configs(wanted, raise_on_unknown=False)["topic"][topic]
        if answer != "OK":
            raise Refused(f"Kafka, configuring topic {topic}: {answer}")

    def offsets(self, places: Sequence[Place], at: int = LATEST) -> dict[Place, int]:
        """Return the end of each partition (with EARLIEST its beginning): the offset of the next record. Raises as `topics`."""
        from kafka import TopicPartition

        wanted = {TopicPartition(self.cluster.named(topic), number): at for topic, number in places}
        if not wanted:
            return {}
        with _translated("reading the ends of topics"):
            found = _patient(lambda: self._client.list_partition_offsets(wanted))
        return {(self.cluster.bare(place.topic), place.partition): one.offset for place, one in found.items()}

    def groups(self) -> list[str]:
        """Return the names of all consumer groups that begin with the cluster's prefix, without it. Raises as `topics`."""
        with _translated("listing groups"):
            found = _patient(self._client.list_groups)
        names = [one["group_id"] for one in found]
        return sorted(self.cluster.bare(name) for name in names if name.startswith(self.cluster.prefix))

    def committed(self, group: str) -> dict[Place, int]:
        """Return what a group has committed, by topic and partition; {} if it is unknown. Raises as `topics`."""
        name = self.cluster.named(group)
        with _translated(f"reading the offsets of group {name}"):
            found = _patient(lambda: self._client.list_group_offsets({name: None}))[name]
        return {(self.cluster.bare(place.topic), place.partition): one.offset for place, one in found.items() if one.offset >= 0}

    def leave(self, group: str, instance: str) -> None:
        """Take a static member out of a group, so that its partitions go to the others at once. Raises as `topics`."""
        from kafka import admin

        member = admin.MemberToRemove(group_instance_id=instance)
        with _translated(f"leaving group {group}"):
            _patient(lambda: self._client.remove_group_members(self.cluster.named(group), [member]))


def lag(admin: Admin, group: str, topics: Iterable[str]) -> list[Lag]:
    """Return what a group has left to read of the topics it has committed offsets of. Raises Retry, Refused or Lost."""
    chosen = set(topics)
    committed = {place: at for place, at in admin.committed(group).items() if place[0] in chosen}
    ends, starts = admin.offsets(list(committed)), admin.offsets(list(committed), EARLIEST)
    unread = {place: max(at, starts[place]) for place, at in committed.items() if at < ends[place]}
    oldest = _oldest(admin.cluster, unread)
    return [
        Lag(
            group,
            *place,
            ends[place],
            at,
            ends[place] - at if place in oldest else 0,
            oldest.get(place),
            max(0, starts[place] - at),
        )
        for place, at in sorted(committed.items())
    ]


def _oldest(cluster: Cluster, unread: Mapping[Place, int]) -> dict[Place, int]:
    """Return the log time of the first committed record at or after each offset, without places that hold no such record.

    Read by librdkafka: it unpacks whatever producers may have packed with.
    """
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    found: dict[Place, int] = {}
    if not unread:
        return found
    consumer = Consumer(
        cluster.librdkafka(
            group_id=cluster.named("lag"),
            enable_auto_commit=False,
            enable_partition_eof=True,
            isolation_level="read_committed",
            fetch_message_max_bytes=1 << 16,
        )
    )
    try:
        consumer.assign([TopicPartition(cluster.named(topic), number, at) for (topic, number), at in unread.items()])
        left, deadline = set(unread), time.monotonic() + PATIENCE_S
        while left and time.monotonic() < deadline:
            for message in consumer.consume(100, 0.2):
                place, told = (cluster.bare(str(message.topic())), int(message.partition() or 0)), message.error()
                if told is None:
                    found.setdefault(place, message.timestamp()[1])
                elif told.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's public name of that code
                    if not isinstance(failure := translate(told, "reading the oldest unread records"), Retry):
                        raise failure
                    continue
                if place in left:
                    left.discard(place)
                    consumer.pause([TopicPartition(cluster.named(place[0]), place[1])])
    finally:
        consumer.close()
    if left:
        raise Retry(f"Kafka gave no record of {', '.join(f'{t}-{n}' for t, n in sorted(left))} in {PATIENCE_S:g} s; try again")
    return found


def _partition(told: Mapping[str, Any]) -> Partition:
    return Partition(told["partition_index"], told["leader_id"], tuple(told["replica_nodes"]), tuple(told["isr_nodes"]))


def _patient(call: Callable[[], T]) -> T:
    """Repeat a call that fails while a coordinator or leader is being found: in a new cluster, or after a broker has died."""
    from kafka import errors

    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except errors.RetriableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Turn errors of kafka-python into those of connectors."""
    from kafka import errors

    try:
        yield
    except errors.KafkaError as error:
        raise _named(error, doing, str(error)) from error


def _named(error: Any, doing: str, reason: str) -> ConnectorError:
    from kafka import errors

    text = f"Kafka, {doing}: {reason} ({type(error).__name__})"
    if isinstance(error, errors.AuthorizationError):
        return Lost(f"{text}; allow the user of [kafka] to do this")
    if isinstance(error, errors.BrokerResponseError) and not error.retriable:
        return Refused(text)
    return Retry(text)
