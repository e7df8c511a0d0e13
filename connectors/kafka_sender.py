"""Messages out to Kafka, one page after the other: `send` returns once every in-sync replica has them (acks=all), in order a key.

At least once: after a Retry some of the page may be there already, and the page is sent again. The partition is Kafka's own choice by
the key (murmur2). A producer that broke for good is replaced by a new one at the next call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaException, Producer

from connectors import trace
from connectors.core import ConnectorError, Lost, Record, Refused, Retry
from connectors.kafka import CONTENT_TYPE, Cluster, translate

Headers = Mapping[str, str | bytes | None]


class Sender:
    """One producer. Not thread-safe: one caller at a time. `seconds` is how long Kafka may take over a page."""

    def __init__(self, cluster: Cluster, name: str, *, seconds: float = 10.0) -> None:
        self._cluster, self._name, self._seconds = cluster, name, seconds
        self._producer: Producer | None = None
        self._failed: list[ConnectorError] = []

    def send(self, records: Sequence[Record], partition: int | None = None) -> None:
        """Make records durable under their topic and key, in `partition` if one is given.

        Raises Retry (send the page again) or Refused (a record is too large).
        """
        self.send_messages(((record, {}) for record in records), partition)

    def send_messages(self, messages: Iterable[tuple[Record, Headers]], partition: int | None = None) -> None:
        """Make records durable in the same way, each with headers beside its content type."""
        self._failed.clear()
        producer = self._producer = self._producer or self._made()
        try:
            for record, more in messages:
                producer.produce(
                    self._cluster.named(record.topic),
                    record.body,
                    record.key.encode(),
                    partition=-1 if partition is None else partition,
                    on_delivery=self._told,
                    headers={CONTENT_TYPE: record.content_type, **dict(trace.headers()), **more},
                )
            left = producer.flush(self._seconds + 2)
        except BufferError as error:
            raise Retry(f"Kafka, writing as {self._name}: too much waits for the broker; send less at once") from error
        except KafkaException as error:
            self._failed.append(translate(error.args[0], f"writing as {self._name}"))
            left = 0
        if left:
            raise Retry(f"Kafka, writing as {self._name}: no answer in {self._seconds:g} s; see that the brokers run")
        if self._failed:
            raise self._reaction(self._failed[0])

    def _reaction(self, failed: ConnectorError) -> ConnectorError:
        """Return what the caller is told; a producer that is lost is dropped, and that is a Retry."""
        if isinstance(failed, Lost):
            self._producer = None
        if isinstance(failed, Refused):
            return failed
        return Retry(f"{failed}; see that the brokers run, and make missing topics with `offsite topics create`", 2.0)

    def _told(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failed.append(translate(error, f"writing as {self._name}"))

    def _made(self) -> Producer:
        return Producer(
            self._cluster.librdkafka(
                client_id=self._name,
                enable_idempotence=True,
                acks="all",
                partitioner="murmur2",
                compression_type="lz4",
                message_timeout_ms=round(self._seconds * 1000),
                message_max_bytes=16 << 20,
                linger_ms=2,
            )
        )
