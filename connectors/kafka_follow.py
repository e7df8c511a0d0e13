"""The newest message of a compacted topic of one partition, and each newer one as it comes: only what was committed is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from connectors.core import Retry
from connectors.kafka import Cluster, translate
from connectors.kafka_topics import describe

LOOK_S = 0.2
ASK_S = 3.0


def newest(cluster: Cluster, topic: str, stopped: Callable[[], bool]) -> Iterator[bytes | None]:
    """Yield the last value (None if there is none), then the last again whenever there are newer ones, until `stopped`.

    A broker that is away is waited for. Raises Lost if the topic is missing or may not be read.
    """
    _found(cluster, topic, stopped)
    consumer = Consumer(
        cluster.librdkafka(
            group_id=cluster.named("follow"),  # never joined: the partition is assigned
            enable_auto_commit=False,
            enable_partition_eof=True,
            isolation_level="read_committed",
            fetch_message_max_bytes=16 << 20,
        )
    )
    latest: bytes | None = None
    told = False
    try:
        consumer.assign([TopicPartition(cluster.named(topic), 0, OFFSET_BEGINNING)])
        while not stopped():
            for message in consumer.consume(100, LOOK_S):
                error = message.error()
                if error is None:
                    latest = message.value()
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's public name of that code
                    if latest is not None or not told:
                        yield latest
                    latest, told = None, True
                elif not isinstance(failure := translate(error, f"following {topic}"), Retry):
                    raise failure
    finally:
        consumer.close()


def _found(cluster: Cluster, topic: str, stopped: Callable[[], bool]) -> None:
    """Wait until a broker answers. Raises Lost if it knows no such topic: a consumer would wait for one for ever."""
    while not stopped():
        try:
            describe(cluster, [topic], seconds=ASK_S)
        except Retry:
            continue
        return
