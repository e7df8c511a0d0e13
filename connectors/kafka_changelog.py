"""Reading a compacted partition back: everything that was committed before the call, in order.

The high watermark is asked for first, transactions that are open included, and reading goes on until it is passed: what a
worker that was replaced had committed in its last moment is waited for, up to the time-out of its transaction.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from connectors.core import Retry
from connectors.kafka import Cluster, translate

POLL = 5_000


Headers = list[tuple[str, bytes | None]]


def read_back(cluster: Cluster, topic: str, partition: int, *, seconds: float = 60.0) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield (key, value or None) of a partition up to its high watermark. Raises Retry if that is not reached in time."""
    yield from ((message.key() or b"", message.value()) for message in _messages(cluster, topic, partition, seconds))


def read_all(cluster: Cluster, topic: str, partition: int, *, seconds: float = 60.0) -> Iterator[tuple[bytes, bytes, Headers]]:
    """Yield (key, value, headers) in the same way."""
    for message in _messages(cluster, topic, partition, seconds):
        yield message.key() or b"", message.value() or b"", list(message.headers() or ())


def _messages(cluster: Cluster, topic: str, partition: int, seconds: float) -> Iterator[Any]:
    place = TopicPartition(cluster.named(topic), partition, OFFSET_BEGINNING)
    high = high_watermark(cluster, topic, partition)
    consumer = _consumer(cluster, "read_committed")
    until = time.monotonic() + seconds
    position = 0
    try:
        consumer.assign([place])
        while position < high:
            if time.monotonic() > until:
                raise Retry(
                    f"{topic}[{partition}] was read back to {position} of {high} in {seconds:g} s; a transaction may be open"
                )
            for message in consumer.consume(POLL, 0.2):
                error = message.error()
                if error is None:
                    position = int(message.offset() or 0) + 1
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's public name of that code
                    position = max(position, int(message.offset() or 0))
                elif not isinstance(failure := translate(error, f"reading {topic} back"), Retry):
                    raise failure
    finally:
        consumer.close()


def high_watermark(cluster: Cluster, topic: str, partition: int) -> int:
    """Return the offset that the next message will get, messages of open transactions counted."""
    consumer = _consumer(cluster, "read_uncommitted")
    try:
        _, high = consumer.get_watermark_offsets(TopicPartition(cluster.named(topic), partition), timeout=20)
    except KafkaException as error:
        raise translate(error.args[0], f"asking for the end of {topic}[{partition}]") from error
    else:
        return int(high)
    finally:
        consumer.close()


def _consumer(cluster: Cluster, isolation: str) -> Consumer:
    return Consumer(
        cluster.librdkafka(
            group_id=cluster.named("restore"),
            enable_auto_commit=False,
            enable_partition_eof=True,
            isolation_level=isolation,
            auto_offset_reset="error",
            fetch_wait_max_ms=50,
            fetch_message_max_bytes=8 << 20,
            queued_max_messages_kbytes=131_072,
        )
    )
