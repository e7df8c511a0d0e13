"""One Kafka transaction a step: what a step puts out, its state and its input offsets, all of it or none (promise 2).

A worker that was replaced can't commit: its transactional id is fenced by its successor of the same name, and its offsets by the
group's generation. Whatever goes wrong here ends in Lost: the process ends, and its memory with it. A step is committed in the
background, while the next one is judged.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from threading import Thread
from typing import Any

from confluent_kafka import KafkaException, Producer, TopicPartition

from connectors.core import ConnectorError, Lost
from connectors.kafka import Cluster, translate

Headers = Mapping[str, str | bytes | None]
JOIN_S = 60.0
"""How long joining may take: what an earlier one of the name left open is ended first."""
PATIENCE = 1.5
"""How long a step may take, in time-outs of its transaction: after one the brokers abort it, and waiting on is in vain."""
SLACK_S = 2.0
"""How much longer than its time-out a commit may take."""


class Transactions:
    """The transactional producer of one worker. Opening it fences every earlier one of the same `name`."""

    def __init__(self, cluster: Cluster, name: str, *, abort_ms: int = 10_000) -> None:
        self._cluster = cluster
        self._failed: ConnectorError | None = None
        self._ended: queue.SimpleQueue[Exception | None] | None = None
        self._patience = PATIENCE * abort_ms / 1000
        self._until = time.monotonic() + JOIN_S
        self._producer = Producer(
            cluster.librdkafka(
                transactional_id=cluster.named(name),
                client_id=name,
                transaction_timeout_ms=abort_ms,
                message_timeout_ms=abort_ms,
                enable_idempotence=True,
                acks="all",
                compression_type="lz4",
                linger_ms=2,
                batch_size=1 << 20,
                message_max_bytes=17 << 20,
                queue_buffering_max_kbytes=512 << 10,
                queue_buffering_max_messages=2_000_000,
                partitioner="murmur2",
                delivery_report_only_error=True,
            )
        )
        self._doing("joining", self._producer.init_transactions)

    def begin(self) -> None:
        """Open a transaction, once the last one is settled. Raises Lost."""
        self.settle()
        self._until = time.monotonic() + self._patience
        self._doing("opening a transaction", lambda _: self._producer.begin_transaction())

    def put(self, topic: str, partition: int, key: str | bytes, value: bytes | None, headers: Headers | None = None) -> None:
        """Add one message."""
        name = self._cluster.named(topic)
        pairs = list(headers.items()) if headers else None
        while True:
            try:
                self._producer.produce(name, value, key, partition, on_delivery=self._delivered, headers=pairs)
            except BufferError:
                self._producer.poll(0.05)
            except KafkaException as error:
                raise Lost(str(translate(error.args[0], f"writing to {topic}"))) from error
            else:
                return

    def commit(self, offsets: Mapping[tuple[str, int], int], membership: Any) -> None:
        """Commit with the input offsets, (topic, partition) → next offset; returns once it is durable. Raises Lost."""
        self.hand_over(offsets, membership)
        self.settle()

    def hand_over(self, offsets: Mapping[tuple[str, int], int], membership: Any) -> None:
        """Commit in the background: `settle` says what became of it."""
        places = [TopicPartition(self._cluster.named(topic), part, offset) for (topic, part), offset in offsets.items()]
        self._ended = queue.SimpleQueue()
        Thread(target=self._committed, args=(self._ended, places, membership), name="commit", daemon=True).start()

    def settle(self) -> None:
        """Return once what was handed over is durable. Raises Lost if it is not, and never will be.

        The thread is left behind where it does not return: librdkafka forgets the time-out of the offsets' request while the
        group's coordinator is away (its issue 5456), and the worker would hold its partitions for minutes without judging them.
        """
        if self._ended is None:
            return
        try:
            failed = self._ended.get(timeout=max(0.0, self._until - time.monotonic()) + SLACK_S)
        except queue.Empty:
            raise Lost("Kafka, committing a step: no answer in time; the worker ends and restores") from None
        self._ended = None
        if failed is not None:
            raise failed

    def _committed(self, ended: queue.SimpleQueue[Exception | None], places: list[TopicPartition], membership: Any) -> None:
        try:
            if places:
                self._doing("the offsets", lambda left: self._send_offsets(places, membership, left))
            self._doing("committing a step", self._producer.commit_transaction)
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            ended.put(error)
        else:
            ended.put(None if self._failed is None else Lost(str(self._failed)))

    def _send_offsets(self, places: list[TopicPartition], membership: Any, seconds: float) -> None:
        self._producer.send_offsets_to_transaction(places, membership, seconds)

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None and self._failed is None:
            self._failed = translate(error, "delivering a step")

    def _doing(self, what: str, call: Callable[[float], Any]) -> None:
        """Call with the seconds that are left, again while the client says that only the wait was too short. Raises Lost."""
        while True:
            try:
                call(max(1.0, self._until - time.monotonic()))
            except KafkaException as error:
                fault = error.args[0]
                if not fault.retriable() or fault.txn_requires_abort() or fault.fatal():
                    raise Lost(f"{translate(fault, what)}; the step is not committed, the worker ends and restores") from error
                if time.monotonic() >= self._until:
                    raise Lost(f"{translate(fault, what)}: no answer in time; the worker ends and restores") from error
                time.sleep(0.05)
            else:
                return
