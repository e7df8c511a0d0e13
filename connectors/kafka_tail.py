"""The newest messages of a topic, read without joining a group: nothing is committed and nobody is disturbed.

Enters: a cluster and a topic. Leaves: records with what else the message said. Raises Refused (no such topic) or Lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

from connectors.core import Record, Refused
from connectors.kafka import CONTENT_TYPE, Cluster, record_of, translate

TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A message: its record, whether it named its content type, and how many partitions the topic has."""

    record: Record
    typed: bool
    partitions: int


def newest(cluster: Cluster, topic: str, count: int, seconds: float, *, clock: Callable[[], float]) -> list[Seen]:
    """Return the newest `count` messages, oldest first; if there are fewer, wait for more at most `seconds` by `clock`."""
    consumer = Consumer(
        cluster.librdkafka(group_id=cluster.named("selftest"), enable_auto_commit=False, isolation_level="read_committed")
    )
    try:
        ends = _ends(consumer, cluster.named(topic))
        consumer.assign(
            [TopicPartition(cluster.named(topic), part, max(low, high - count)) for part, (low, high) in ends.items()]
        )
        waiting = {part: high for part, (low, high) in ends.items() if high > low}
        found: list[Seen] = []
        deadline = clock() + seconds
        while waiting or (len(found) < count and clock() < deadline):
            for message in consumer.consume(count, min(0.2, seconds) if not waiting else TIMEOUT):
                if message.error():
                    raise translate(message.error(), f"reading {topic}")
                typed = CONTENT_TYPE in dict(message.headers() or ())
                found.append(Seen(record_of(message, cluster), typed, len(ends)))
            reached = {place.partition: place.offset for place in consumer.position(consumer.assignment())}
            waiting = {part: high for part, high in waiting.items() if reached[part] < high}
        return sorted(found, key=lambda seen: (seen.record.arrived, seen.record.offset))[-count:]
    except KafkaException as error:
        raise translate(error.args[0], f"reading {topic}") from error
    finally:
        consumer.close()


def _ends(consumer: Consumer, name: str) -> dict[int, tuple[int, int]]:
    """Return partition → (first, next) offset."""
    found = consumer.list_topics(name, TIMEOUT).topics[name]
    if found.error is not None:
        raise Refused(f"topic {name}: {found.error.str()}; see `offsite topics create`")
    return {part: consumer.get_watermark_offsets(TopicPartition(name, part), TIMEOUT) for part in found.partitions}
