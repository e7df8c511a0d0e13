"""Kafka out: alerts, leads and case events to the topics of another cluster.

Items enter; messages leave, key = site, partitioned by murmur2 like Java's client, `acks=all`, idempotent producer. The value is the
entry as it is (JSON); headers say `content-type`, `id` (the same however often it is sent), `kind` and `seq`. At least once: around
a crash or a broker that was away an entry may come twice, and consumers upsert by a greater `seq`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

from connectors.core import Clock, ConnectorError, Lost, Retry
from connectors.kafka import CONTENT_TYPE, Cluster, translate
from connectors.outbound_entries import Item
from connectors.outputs import DAY, Common, Delivery, events_of, wants_event
from connectors.table import Secret, Table

TOPICS = {"alert": "alerts", "lead": "leads", "case-event": "case-events"}
"""Kind → topic, before the prefix."""
SECURITY = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
DEFAULTS = Common(backoff=(1.0, 60.0), expire=14 * DAY)


class KafkaOut:
    """One cluster."""

    takes = "events"
    batch, parallel, live_ms = 500, 4, None

    def __init__(self, common: Common, cluster: Cluster, *, timeout: float = 30.0) -> None:
        self.common = common
        self._cluster, self._timeout = cluster, timeout
        self._producer: Any = None
        self._making = Lock()
        self._threads = ThreadPoolExecutor(self.parallel, thread_name_prefix=f"kafka {common.name}")

    def wants(self, kind: str, key: str, body: bytes) -> str | None:
        """Take alerts, leads and case events by kind, site and level."""
        return wants_event(self.common, kind, key, body)

    async def deliver(self, items: Sequence[Item]) -> Delivery:
        """Produce some items of one site and wait until all in-sync replicas have them."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._send, items)

    def _send(self, items: Sequence[Item]) -> Delivery:
        from confluent_kafka import KafkaException

        answers: dict[int, str] = {}
        faults: dict[int, ConnectorError] = {}

        def told(at: int, error: Any, message: Any) -> None:
            if error is None:
                answers[at] = f"{message.topic()}/{message.partition()}@{message.offset()}"
            else:
                faults[at] = translate(error, f"sending to {self._cluster.bootstrap}")

        try:
            with self._making:
                producer = self._made()
        except KafkaException as error:
            return Delivery(fault=Retry(f"Kafka, as it is set: {error.args[0].str()}; correct the settings of this output", 60.0))
        for at, item in enumerate(items):
            try:
                producer.produce(on_delivery=lambda error, message, at=at: told(at, error, message), **self._message(item))
            except (KafkaException, BufferError) as error:
                faults[at] = (
                    translate(error.args[0], "queueing") if isinstance(error, KafkaException) else Retry(f"Kafka: {error}")
                )
                break
        producer.flush(self._timeout + 5)
        done = next((at for at in range(len(items)) if at not in answers), len(items))
        if done == len(items):
            return Delivery([answers[at] for at in range(done)])
        fault = faults.get(done, Retry(f"{self._cluster.bootstrap} did not confirm in {self._timeout:g} s"))
        if isinstance(fault, Lost):
            self._producer = None  # a fenced or broken producer is replaced; the cluster itself may be well
            fault = Retry(str(fault), 5.0)
        return Delivery([answers[at] for at in range(done)], fault)

    def _message(self, item: Item) -> dict[str, Any]:
        headers = {CONTENT_TYPE: item.content_type, "id": item.message_id, "kind": item.kind, "seq": item.ident}
        named = {name: value.encode() for name, value in headers.items()}
        topic = self._cluster.named(TOPICS[item.kind])
        return {"topic": topic, "key": item.key.encode(), "value": item.body, "headers": named}

    def _made(self) -> Any:
        """Return the producer; made when it is first needed, and anew after a fatal error."""
        from confluent_kafka import Producer

        if self._producer is None:
            options = self._cluster.librdkafka(
                enable_idempotence=True,
                acks="all",
                partitioner="murmur2_random",
                linger_ms=5,
                compression_type="zstd",
                message_timeout_ms=int(self._timeout * 1000),
            )
            self._producer = Producer(options | {"log_level": 2})
        return self._producer

    async def close(self) -> None:
        """Wait for no message under way: none was settled, so it is sent again."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._producer = None


def from_table(table: Table, common: Common, _secret: Secret, _clock: Clock) -> KafkaOut:
    """Make a Kafka output of its table. Raises TableFaults."""
    common = events_of(table, common)
    files = {name: str(table.path(name) or "") for name in ("ca", "cert", "key")}
    cluster = Cluster(
        bootstrap=table.text("bootstrap"),
        prefix=table.text("prefix", ""),
        security=table.choice("security", SECURITY, SECURITY[0]),
        mechanism=table.text("mechanism", Cluster("").mechanism),
        username=table.text("username", ""),
        password=table.secret("password").decode(),
        **files,
    )
    if "SASL" in cluster.security and not (cluster.username and cluster.password):
        table.fault("security", "SASL needs username and password, the password as env:NAME or file:PATH")
    timeout = table.number("timeout", 30, 1, 300)
    table.done()
    return KafkaOut(common, cluster, timeout=timeout)
