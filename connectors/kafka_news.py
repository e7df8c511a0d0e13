"""What is written to a topic from now on, in all its partitions: only what was committed is seen, nothing is remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from connectors.core import Lost, Retry
from connectors.kafka import Cluster, translate

LOOK_S = 0.2


def news(cluster: Cluster, topic: str, stopped: Callable[[], bool]) -> Iterator[tuple[str, bytes]]:
    """Yield key and value of every message that is committed to any partition of a topic from now on, until `stopped`. Blocks between.

    A broker that is away is waited for. Raises Lost if the topic is missing or may not be read.
    """
    consumer = Consumer(
        cluster.librdkafka(
            group_id=cluster.named("news"),  # never joined: the partitions are assigned
            enable_auto_commit=False,
            isolation_level="read_committed",
            fetch_wait_max_ms=100,
        )
    )
    name = cluster.named(topic)
    try:
        assigned = False
        while not stopped():
            if not assigned:
                assigned = _assign(consumer, name)
                continue
            for message in consumer.consume(100, LOOK_S):
                error = message.error()
                if error is None:
                    yield (message.key() or b"").decode("utf-8", "replace"), message.value() or b""
                elif not isinstance(failure := translate(error, f"following {topic}"), Retry):
                    raise Lost(f"{failure}; if the topic is missing, make it with `offsite topics create`")
    finally:
        consumer.close()


def _assign(consumer: Consumer, name: str) -> bool:
    """Take all partitions from their ends; False while no broker answers. Raises Lost for a missing topic."""
    try:
        found = consumer.list_topics(name, timeout=LOOK_S * 10).topics[name]
        if found.error is not None:
            raise Lost(f"topic {name} is missing; make it with `offsite topics create`")
        consumer.assign([TopicPartition(name, partition, OFFSET_END) for partition in found.partitions])
    except KafkaException:
        return False
    return True
