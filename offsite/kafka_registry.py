"""The registry of the distributed runtime: published whole or not at all, and followed by gateways, agents and desks.

Publishing is one Kafka transaction: the whole registry goes to `registry` (compacted, its last message holds), and to each partition
of `context` goes a record with the sites that are judged there, which holds from its place in the log on. Persons stay out of `context`.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from connectors.core import JSON, Lost, Refused, Retry
from connectors.kafka import CONTENT_TYPE, Cluster, partition_of
from connectors.kafka_follow import newest
from connectors.kafka_topics import describe
from connectors.kafka_transaction import Transactions
from streams import registry as registries
from streams.records import CONTEXT, plan_record, registry_record
from streams.registry_model import Registry
from streams.topics import CATALOGUE, REGISTRY

NAME = "registry"


def publish(cluster: Cluster, registry: Registry, partitions: int) -> None:
    """Let a registry hold everywhere. Raises Refused if it is too large for a message, Lost if Kafka did not take all of it."""

    def part(partition: int) -> Registry:
        return registries.part_of(registry, lambda site: partition_of(site, partitions) == partition)

    whole = registries.to_json(registry).encode()
    records = [(CONTEXT, p, registry_record(part(p), -1).body) for p in range(partitions)]
    for topic, _, body in [*records, (REGISTRY, 0, whole)]:
        if len(body) > CATALOGUE[topic].max_bytes:
            raise Refused(
                f"the registry takes {len(body)} bytes in a message of {topic}, which may have {CATALOGUE[topic].max_bytes}: "
                "leave out sites without devices, or columns that nobody reads"
            )
    try:
        transaction = Transactions(cluster, NAME)
        transaction.begin()
        for topic, p, body in records:
            transaction.put(topic, p, "", body, {CONTENT_TYPE: JSON})
        transaction.put(REGISTRY, 0, NAME, whole, {CONTENT_TYPE: JSON})
        transaction.commit({}, None)
    except Lost as error:
        raise Lost(f"the registry was not published, the one before still holds: {error}") from error


def publish_plan(cluster: Cluster, plan: str, partitions: int) -> None:
    """Let the plan of this hash hold in every partition from here on. Raises Lost if Kafka did not take all of it."""
    transaction = Transactions(cluster, NAME)
    transaction.begin()
    for partition in range(partitions):
        transaction.put(CONTEXT, partition, "", plan_record(plan).body, {CONTENT_TYPE: JSON})
    transaction.commit({}, None)


def partitions_of(cluster: Cluster) -> int:
    """Return the number of partitions of `context`. Raises Retry (no broker answers) or Lost (the topic is missing)."""
    return describe(cluster, [CONTEXT])[CONTEXT].partitions


def current(cluster: Cluster, seconds: float = 30.0) -> Registry | None:
    """Return the registry in force, None before the first. Raises Retry (no broker answers in time) or Lost (no such topic)."""
    until = monotonic() + seconds
    for text in newest(cluster, REGISTRY, lambda: monotonic() > until):
        return None if text is None else registries.from_json(text.decode())
    raise Retry(f"Kafka at {cluster.bootstrap} did not tell the registry in {seconds:g} s; see that the brokers run")


def follow(cluster: Cluster, on_registry: Callable[[Registry], None], stopped: Callable[[], bool]) -> None:
    """Call `on_registry` with the registry in force and with each that replaces it, until `stopped`. Blocks: give it a thread.

    Before the first was published it is called with an empty one.
    """
    for text in newest(cluster, REGISTRY, stopped):
        on_registry(Registry() if text is None else registries.from_json(text.decode()))
