"""Kafka out against a real broker: keyed and partitioned like Java's client, in order for each site, and through an outage."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from connectors.core import JSON
from connectors.kafka import Cluster, partition_of
from connectors.outbound import Queue
from connectors.outbound_entries import Entry
from connectors.outbound_worker import Worker
from connectors.outputs import from_table
from connectors.table import TableFaults
from tests.connectors.outbound_process import wall

pytestmark = pytest.mark.servers
SITES = [f"城{n}厂" for n in range(20)]
PARTITIONS = 6


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    made = Queue(f"sqlite:///{tmp_path}/outbound.sqlite")
    yield made
    made.close()


@pytest.fixture
def cluster(kafka: Any) -> Cluster:
    from confluent_kafka.admin import AdminClient, NewTopic

    found: Cluster = kafka.cluster()
    admin = AdminClient(found.librdkafka())
    topics = [NewTopic(found.named(name), PARTITIONS, 1) for name in ("alerts", "leads", "case-events")]
    for done in admin.create_topics(topics).values():
        done.result(30)
    return found


def table(cluster: Cluster, **more: Any) -> dict[str, Any]:
    return {"kind": "kafka", "name": "city", "bootstrap": cluster.bootstrap, "prefix": cluster.prefix, **more}


def secret(reference: str) -> bytes:
    raise ValueError(f"{reference!r} names no secret")


def entries(kind: str, count: int) -> list[Entry]:
    numbered = [(n, site) for n in range(1, count + 1) for site in SITES]
    return [
        Entry(kind, site, n, JSON, json.dumps({"id": f"{kind}-{site}-{n}", "seq": n, "level": 1}).encode(), wall())
        for n, site in numbered
    ]


async def send(queue: Queue, settings: dict[str, Any], until: Any) -> None:
    task = asyncio.create_task(
        Worker(queue, from_table(settings, "outputs[0]", secret, wall), wall, owner="me", chance=Random(3)).run()
    )
    async with asyncio.timeout(60):
        while not until(queue.books()["city"]):
            await asyncio.sleep(0.05)
            assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def consumed(cluster: Cluster, topic: str, count: int) -> list[Any]:
    from confluent_kafka import Consumer

    consumer = Consumer(cluster.librdkafka(group_id=cluster.named("reader"), auto_offset_reset="earliest"))
    consumer.subscribe([cluster.named(topic)])
    found: list[Any] = []
    while len(found) < count:
        batch = consumer.consume(count, 20)
        assert batch, f"{len(found)} of {count} came"
        found += [message for message in batch if message.error() is None]
    consumer.close()
    return found


def test_keys_order_headers_and_partitions(queue: Queue, cluster: Cluster) -> None:
    for kind in ("alert", "lead", "case-event"):
        queue.put("city", entries(kind, 5))
    asyncio.run(send(queue, table(cluster), lambda book: not book["waiting"]))
    assert queue.books()["city"]["sent"] == 3 * 5 * len(SITES)
    for kind, topic in (("alert", "alerts"), ("lead", "leads"), ("case-event", "case-events")):
        messages = consumed(cluster, topic, 5 * len(SITES))
        order = defaultdict(list)
        for message in messages:
            site, headers = message.key().decode(), {name: value.decode() for name, value in message.headers()}
            assert message.partition() == partition_of(site, PARTITIONS)
            said = json.loads(message.value())
            assert headers == {"content-type": JSON, "kind": kind, "seq": str(said["seq"]), "id": headers["id"]}
            order[site].append(said["seq"])
        assert order == {site: [1, 2, 3, 4, 5] for site in SITES}
        assert len({dict(message.headers())["id"] for message in messages}) == len(messages)
    assert queue.log("city", limit=1)[0]["answer"].startswith(f"{cluster.named('alerts')}/")


def test_a_cluster_that_is_away_is_tried_again_and_its_error_is_shown(queue: Queue, cluster: Cluster) -> None:
    queue.put("city", entries("alert", 1))
    away = table(cluster, bootstrap="127.0.0.1:1", timeout=1)
    asyncio.run(send(queue, away, lambda book: bool(book["fault"])))
    assert "127.0.0.1:1" in queue.books()["city"]["fault"]
    assert queue.books()["city"]["sent"] == 0
    queue.again("city")
    asyncio.run(send(queue, table(cluster), lambda book: not book["waiting"]))
    assert len(consumed(cluster, "alerts", len(SITES))) == len(SITES)


def test_what_is_too_large_is_refused_and_holds_up_nothing(queue: Queue, cluster: Cluster) -> None:
    large = Entry("alert", "S1", 1, JSON, b'"' + b"x" * 2_000_000 + b'"', wall())
    queue.put("city", [large, Entry("alert", "S1", 2, JSON, b"{}", wall())])
    asyncio.run(send(queue, table(cluster), lambda book: not book["waiting"]))
    assert [row["state"] for row in queue.log("city")] == ["refused", "sent"]
    assert "MSG_SIZE_TOO_LARGE" in queue.log("city")[0]["answer"]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"bootstrap": "", "security": "TLS"}, r"bootstrap: .*; outputs\[0\].security: 'TLS' is not one of"),
        ({"bootstrap": "b:1", "security": "SASL_SSL"}, "SASL needs username and password"),
        ({"bootstrap": "b:1", "password": "env:X"}, "password: 'env:X' names no secret"),
        ({"bootstrap": "b:1", "ca": "/no/such.pem"}, "ca: /no/such.pem does not exist"),
    ],
)
def test_every_fault_of_a_table_is_named(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(TableFaults, match=fault):
        from_table({"kind": "kafka", "name": "c", **given}, "outputs[0]", secret, wall)
