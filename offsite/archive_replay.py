"""Replaying an archive: its frames go back into the input topics of a new prefix or cluster, as they once came.

Each record keeps its topic, partition, key, content type, bytes and log time; offsets are new. Workers then judge the same log
again, so alerts, leads and their ids come out as they were (promise 3). The input topics must be empty and let producers stamp
log time (`offsite topics create --producer-time`), and have as many partitions as the archive was written with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from connectors.core import ConnectorError, Record, Refused, Retry
from connectors.kafka import CONTENT_TYPE, Cluster, translate
from connectors.kafka_admin import Admin
from streams.topics import INPUTS

WAIT_S = 60.0
EVERY = 10_000
Told = Callable[[int], object]
"""How many records are on their way: progress."""


def replay(recorded: Iterable[tuple[int, int, Record]], cluster: Cluster, told: Told) -> int:
    """Write the records; return how many, once all of them are durable. Raises Refused, Retry or Lost."""
    partitions = _ready(cluster)
    out = _Out(cluster)
    for partition, of, record in recorded:
        if of != partitions:
            raise Refused(f"the archive was written with {of} partitions, the topics have {partitions}: make them with {of}")
        out.put(partition, record)
        if out.sent % EVERY == 0:
            told(out.sent)
    out.finish()
    told(out.sent)
    return out.sent


def _ready(cluster: Cluster) -> int:
    """Return the number of partitions of the inputs. Raises Refused if they are not made for a replay."""
    with Admin(cluster) as admin:
        found = admin.topics(INPUTS)
        missing = [name for name in INPUTS if name not in found]
        if missing:
            raise Refused(f"there is no topic {', '.join(missing)}; make them with `offsite topics create --producer-time`")
        for name, state in found.items():
            if state.config["message.timestamp.type"] != "CreateTime":
                raise Refused(f"{name} stamps log time anew; run `offsite topics create --producer-time` before the replay")
        ends = admin.offsets([(name, one.number) for name, state in found.items() for one in state.partitions])
        if any(ends.values()):
            raise Refused("the input topics hold records already; replay into a new prefix (`kafka.prefix`) or cluster")
    return len(found[INPUTS[0]].partitions)


class _Out:
    """An idempotent producer that keeps order; the first failure ends the replay."""

    def __init__(self, cluster: Cluster) -> None:
        from confluent_kafka import Producer

        self._cluster = cluster
        self._failed: ConnectorError | None = None
        self.sent = 0
        self._producer = Producer(
            cluster.librdkafka(
                enable_idempotence=True, acks="all", compression_type="lz4", linger_ms=20, message_max_bytes=17 << 20
            )
        )

    def put(self, partition: int, record: Record) -> None:
        while True:
            try:
                self._producer.produce(
                    self._cluster.named(record.topic),
                    record.body,
                    record.key or None,
                    partition,
                    self._delivered,
                    timestamp=record.arrived,
                    headers={CONTENT_TYPE: record.content_type},
                )
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)
        self._check()
        self.sent += 1

    def finish(self) -> None:
        if self._producer.flush(WAIT_S):
            raise Retry(f"Kafka did not take all records within {WAIT_S:.0f} s; replay into a new prefix again")
        self._check()

    def _check(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None and self._failed is None:
            self._failed = translate(error, "replaying the archive")
