"""A log on a real broker: topics of its own, records by partition, and a worker that judges them to the end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.core import Lost, Record
from connectors.kafka import CONTENT_TYPE, Cluster, partition_of
from connectors.kafka_topics import describe
from streams import registry as registries
from streams.cross_site import Stage, Summary
from streams.plan.load import Plan
from streams.records import CONTEXT, answer_record, registry_record
from streams.registry_model import Registry
from streams.topics import CATALOGUE, INPUTS, SUMMARIES
from streams.worker import KafkaLinks, Setting, Worker


def make_topics(
    cluster: Cluster, partitions: int, *, replication: int = 1, min_isr: int = 1, only: Sequence[str] = tuple(CATALOGUE)
) -> None:
    """Make topics; log time is the producer's."""
    new = [
        NewTopic(
            cluster.named(topic.name),
            1 if topic.single else partitions,
            replication,
            config=topic.config(replication=replication, min_isr=min_isr, stamped=False)
            | ({} if topic.days is None else {"retention.ms": "-1"}),
        )
        for topic in (CATALOGUE[name] for name in only)
    ]
    admin = AdminClient(cluster.librdkafka())
    for future in admin.create_topics(new).values():
        future.result()
    deadline = time.monotonic() + 30
    while True:
        try:  # every broker learns of them a moment later
            describe(cluster, only)
        except Lost:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


class Writer:
    """Puts records into the log, each stamped with its own `arrived`; what has no key goes to every partition."""

    def __init__(self, cluster: Cluster, partitions: int) -> None:
        self.cluster, self.partitions = cluster, partitions
        self._producer = Producer(cluster.librdkafka(acks="all", linger_ms=5, partitioner="murmur2", message_max_bytes=16 << 20))
        self._failed: list[Any] = []

    def put(self, records: Iterable[Record]) -> None:
        """Write records and wait until they are durable."""
        for record in records:
            all_of_them = range(self.partitions)
            for partition in [partition_of(record.key, self.partitions)] if record.key else all_of_them:
                self._put(record, partition)
        assert self._producer.flush(30) == 0
        assert not self._failed, self._failed

    def _put(self, record: Record, partition: int) -> None:
        self._producer.produce(
            self.cluster.named(record.topic),
            record.body,
            record.key or None,
            partition,
            lambda error, _: self._failed.append(error) if error else None,
            timestamp=record.arrived,
            headers={CONTENT_TYPE: record.content_type.encode()},
        )
        self._producer.poll(0)

    def publish(self, registry: Registry, at: int) -> None:
        """Let a registry hold: to each partition its own sites."""
        for partition in range(self.partitions):
            part = registries.part_of(registry, lambda site, p=partition: partition_of(site, self.partitions) == p)
            self._put(registry_record(part, at), partition)
        assert self._producer.flush(30) == 0


def everything(cluster: Cluster, topic: str, *, isolation: str = "read_committed") -> list[Any]:
    """Return all messages of a topic as they stand now."""
    consumer = Consumer(
        cluster.librdkafka(group_id="look", enable_auto_commit=False, enable_partition_eof=True, isolation_level=isolation)
    )
    name = cluster.named(topic)
    parts = sorted(consumer.list_topics(name, timeout=10).topics[name].partitions)
    consumer.assign([TopicPartition(name, part, 0) for part in parts])
    found, open_ = [], set(parts)
    deadline = time.monotonic() + 30
    while open_ and time.monotonic() < deadline:
        for message in consumer.consume(1000, 0.2):
            if message.error() is None:
                found.append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                open_.discard(message.partition())
    consumer.close()
    assert not open_, f"{topic} was not read to its end"
    return found


def judge_all(cluster: Cluster, plan: Plan, *, infer: bool, seconds: float = 60.0) -> dict[str, int]:
    """Run one worker until every partition is judged to its end; return the books of all partitions together."""
    stage = CrossSite(cluster, plan)
    setting = Setting("w1", infer=infer, pause=0.01)
    worker = Worker(KafkaLinks(cluster, setting), plan, setting, clock=lambda: 0)
    deadline = time.monotonic() + seconds
    try:
        while not worker.parts or not all(part.merge.idle for part in worker.parts.values()):
            worker.run_once()
            stage.look()
            assert time.monotonic() < deadline, {n: part.engine.state.tick for n, part in worker.parts.items()}
        books: dict[str, int] = {}
        for part in worker.parts.values():
            for name, count in part.books().items():
                books[name] = books.get(name, 0) + count
        return books
    finally:
        worker.close()


class CrossSite:
    """The cross-site stage beside a worker, in the same thread."""

    def __init__(self, cluster: Cluster, plan: Plan) -> None:
        name = cluster.named("emission-monitoring")
        self.cluster = cluster
        self._producer = Producer(cluster.librdkafka(acks="all"))
        partitions = len(self._producer.list_topics(name, timeout=10).topics[name].partitions)
        self._stage = Stage(partitions, plan.cross_site)
        self._consumer = Consumer(
            cluster.librdkafka(group_id="stage", enable_auto_commit=False, isolation_level="read_committed")
        )
        self._consumer.assign([TopicPartition(cluster.named(SUMMARIES), 0, 0)])

    def look(self) -> None:
        """Answer what has been asked."""
        for message in self._consumer.consume(100, 0):
            body = orjson.loads(message.value())
            self._stage.put(body["partition"], Summary.from_json(body), time.monotonic())
        for partition, tick, excused in self._stage.answers(time.monotonic()):
            record = answer_record(tick, excused)
            self._producer.produce(
                self.cluster.named(CONTEXT), record.body, None, partition, headers={CONTENT_TYPE: record.content_type.encode()}
            )
        self._producer.flush(10)


def outputs_of(cluster: Cluster) -> list[tuple[str, str, dict[str, Any]]]:
    """Return what the workers put out: (kind, site, body)."""
    return [
        (kind, message.key().decode(), orjson.loads(message.value()))
        for topic, kind in (("alerts", "alert"), ("leads", "lead"))
        for message in everything(cluster, topic)
    ]


__all__: Sequence[str] = ("INPUTS", "CrossSite", "Writer", "everything", "judge_all", "make_topics", "outputs_of")
