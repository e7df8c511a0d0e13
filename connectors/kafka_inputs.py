"""The judging worker's consumer: co-partitioned input topics in, records and ends of partitions out.

Offsets are never committed here: they travel in the step's transaction. Positions are given at assignment by whoever holds the
state. Aborted records are not seen (read_committed). Raises Retry (a broker is away) or Lost (replaced, refused).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from connectors.core import Record, Retry
from connectors.kafka import Cluster, record_of, translate

Positions = Mapping[int, Mapping[str, int]]
"""Partition → topic → offset of the first record wanted."""


FEW, FEW_BYTES = 1_000, 1 << 20
"""So many records, or bytes, are worth a step of their own; with fewer it pays to wait for more."""


@dataclass(slots=True)
class Polled:
    """What one poll brought: records, and (topic, partition, offset) of every end that was reached."""

    records: list[Record] = field(default_factory=list)
    ends: list[tuple[str, int, int]] = field(default_factory=list)


def _standing(polled: Polled) -> list[tuple[str, int, int]]:
    """Return the ends behind which no record has come meanwhile: an end that was passed is none."""
    last = {(record.topic, record.partition): record.offset for record in polled.records}
    return [end for end in polled.ends if end[2] > last.get(end[:2], -1)]


class Inputs:
    """A member of the consumer group `group`; `instance` is its static membership (KIP-345).

    `assigned(partitions)` returns the positions to read from; `revoked()` is told to drop all memory. Both are called inside `poll`.
    """

    def __init__(
        self,
        cluster: Cluster,
        topics: Sequence[str],
        *,
        group: str,
        instance: str,
        assigned: Callable[[Sequence[int]], Positions],
        revoked: Callable[[], None],
        session_ms: int = 10_000,
    ) -> None:
        self._cluster, self._topics = cluster, topics
        self._assigned, self._revoked = assigned, revoked
        self._failure: Exception | None = None
        self._placed: list[TopicPartition] = []
        self._turned = False
        self._consumer = Consumer(
            cluster.librdkafka(
                group_id=cluster.named(group),
                group_instance_id=instance,
                client_id=instance,
                enable_auto_commit=False,
                enable_partition_eof=True,
                isolation_level="read_committed",
                auto_offset_reset="earliest",
                partition_assignment_strategy="range",
                session_timeout_ms=session_ms,
                heartbeat_interval_ms=max(session_ms // 4, 200),
                fetch_wait_max_ms=50,
                fetch_message_max_bytes=4 << 20,
                queued_max_messages_kbytes=16_384,
                topic_metadata_refresh_interval_ms=30_000,
            )
        )
        names = [cluster.named(topic) for topic in topics]
        self._consumer.subscribe(names, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    def poll(self, limit: int, seconds: float) -> Polled:
        """Return at most `limit` records: those that are here if they are worth a step, else what comes in so many seconds too."""
        try:
            found = self._consumer.consume(limit, 0)
            if len(found) < min(FEW, limit) and sum(map(len, found)) < FEW_BYTES:
                found += self._consumer.consume(limit - len(found), seconds)
        except KafkaException as error:
            raise translate(error.args[0], "reading the inputs") from error
        if self._failure is not None:
            raise self._failure
        polled = Polled()
        for message in found:
            told = message.error()
            if told is None:
                polled.records.append(record_of(message, self._cluster))
            elif told.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's public name of that code
                polled.ends.append(
                    (self._cluster.bare(str(message.topic())), int(message.partition() or 0), int(message.offset() or 0))
                )
            else:
                self._told(told)
        if self._turned:  # the group turned in this call: what came may be of before, and is dropped or fetched again
            self._turned = False
            if self._placed:
                self._consumer.assign(self._placed)
            return Polled()
        if polled.ends:
            polled.ends = _standing(polled)
        return polled

    def hold(self, places: Iterable[tuple[str, int]], *, on: bool) -> None:
        """Fetch no more (`on`), or again, from (topic, partition): what waits in memory is bounded."""
        partitions = [TopicPartition(self._cluster.named(topic), partition) for topic, partition in places]
        if partitions:
            (self._consumer.pause if on else self._consumer.resume)(partitions)

    def seek(self, partition: int, positions: Mapping[str, int]) -> None:
        """Read a partition again from these positions."""
        for topic, offset in positions.items():
            self._consumer.seek(TopicPartition(self._cluster.named(topic), partition, offset))

    def end(self, topic: str, partition: int) -> int:
        """Return the high watermark that the last fetch told, 0 before the first. Asks nobody, from any thread."""
        place = TopicPartition(self._cluster.named(topic), partition)
        return max(0, self._consumer.get_watermark_offsets(place, cached=True)[1])

    def membership(self) -> Any:
        """Return the group metadata that a transaction's offsets are fenced by."""
        return self._consumer.consumer_group_metadata()

    def close(self) -> None:
        """Leave off; a static member's partitions stay its own until its session ends."""
        self._consumer.close()

    def _told(self, error: KafkaError) -> None:
        """Raise what an error event means; a broker that is away comes back, and the client reads on by itself."""
        failure = translate(error, "reading the inputs")
        if not isinstance(failure, Retry):
            raise failure

    def _on_assign(self, consumer: Any, given: list[TopicPartition]) -> None:
        try:
            partitions = sorted({place.partition for place in given})
            positions = self._assigned(partitions) if partitions else {}
            self._turned = True
            self._placed = [
                TopicPartition(self._cluster.named(topic), partition, offset)
                for partition, topics in positions.items()
                for topic, offset in topics.items()
            ]
            consumer.assign(self._placed)
        except Exception as error:  # noqa: BLE001 - the client swallows what a callback raises: `poll` raises it
            self._failure = error

    def _on_revoke(self, consumer: Any, _given: list[TopicPartition]) -> None:
        self._turned, self._placed = True, []
        try:
            self._revoked()
        except Exception as error:  # noqa: BLE001 - as above
            self._failure = error
        consumer.unassign()
