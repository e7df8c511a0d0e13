"""What a cluster says of its topics: the id that a topic keeps for life, and its partitions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from connectors.core import Lost
from connectors.kafka import Cluster, translate


class Known(NamedTuple):
    """One topic: Kafka's id of it, and how many partitions it has."""

    id: str
    partitions: int


def describe(cluster: Cluster, topics: Iterable[str], *, seconds: float = 20.0) -> dict[str, Known]:
    """Return name → id and partitions of the topics. Raises Retry (no broker answers) or Lost (a topic is missing)."""
    names = {cluster.named(topic): topic for topic in topics}
    admin = AdminClient(cluster.librdkafka())
    asked = admin.describe_topics(TopicCollection(list(names)), request_timeout=seconds)
    found = {}
    for name, future in asked.items():
        try:
            told = future.result()
        except KafkaException as error:
            failure = translate(error.args[0], f"asking about topic {name}")
            if isinstance(failure, Lost):
                raise Lost(f"{failure}; make the topics with `offsite topics create`") from error
            raise failure from error
        found[names[name]] = Known(str(told.topic_id), len(told.partitions))
    return found
