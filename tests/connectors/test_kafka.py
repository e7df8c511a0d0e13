"""Names, partitions, credentials and errors that all Kafka clients share, against a real broker with TLS and SASL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import aiokafka
import faust
import pytest
from confluent_kafka import Consumer, KafkaError, Producer
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaProducer
from kafka.partitioner.default import murmur2 as murmur2_of_kafka_python

from connectors.core import Lost, Record, Refused, Retry
from connectors.kafka import MASK, Cluster, murmur2, partition_of, reach, record_of, translate
from connectors.kafka_admin import Admin
from tests.real.kafka import Kafka

servers = pytest.mark.servers
SECURITIES = ("PLAINTEXT", "SSL", "SASL_SSL")
SITES = [f"S{n:04d}" for n in range(200)] + ["城南污水处理厂", "a", "1300 00", "é" * 40, "31.00000000"]
PARTITIONS = 7


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_gives_what_kafkas_java_client_gives(key: bytes, hashed: int) -> None:
    assert murmur2(key) == hashed & MASK


@given(st.binary(max_size=70))
def test_murmur2_is_the_same_function_everywhere(key: bytes) -> None:
    assert murmur2(key) == murmur2_of_kafka_python(key) & MASK


def test_names_carry_the_prefix() -> None:
    cluster = Cluster("b:1", "city.")
    assert (cluster.named("alerts"), cluster.bare("city.alerts"), cluster.bare("alerts")) == ("city.alerts", "alerts", "alerts")


def test_a_client_is_told_nothing_that_was_not_given() -> None:
    assert Cluster("b:1").librdkafka(acks="all") == {"bootstrap.servers": "b:1", "security.protocol": "PLAINTEXT", "acks": "all"}
    assert Cluster("b:1,c:2").kafka_python() == {"bootstrap_servers": ["b:1", "c:2"], "security_protocol": "PLAINTEXT"}
    assert Cluster("b:1").aiokafka() == {"bootstrap_servers": "b:1", "security_protocol": "PLAINTEXT"}
    assert Cluster("b:1,c:2").faust() == {"broker": "kafka://b:1;kafka://c:2"}
    assert Cluster("b:1").tls() is None


def test_certificates_that_cannot_be_read_are_named(tmp_path: Any) -> None:
    with pytest.raises(Lost, match=r"none\.pem.*give PEM files"):
        Cluster("b:1", security="SSL", ca=str(tmp_path / "none.pem")).tls()


@pytest.mark.parametrize(
    ("error", "reaction"),
    [
        (KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), Refused),
        (KafkaError(KafkaError.INVALID_RECORD), Refused),
        (KafkaError(KafkaError._FENCED), Lost),
        (KafkaError(KafkaError._TRANSPORT, fatal=True), Lost),
        (KafkaError(KafkaError._STATE, txn_requires_abort=True), Lost),
        (KafkaError(KafkaError.INVALID_PRODUCER_EPOCH, retriable=True), Lost),
        (KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), Lost),
        (KafkaError(KafkaError._ALL_BROKERS_DOWN), Retry),
        (KafkaError(KafkaError.NOT_ENOUGH_REPLICAS), Retry),
        (KafkaError(KafkaError.LEADER_NOT_AVAILABLE, retriable=True), Retry),
    ],
)
def test_an_error_becomes_the_reaction_it_demands(error: KafkaError, reaction: type[Exception]) -> None:
    told = translate(error, "writing to alerts")
    assert type(told) is reaction
    assert "writing to alerts" in str(told)
    assert error.name() in str(told)


@pytest.fixture(scope="module")
def topic(kafka: Kafka) -> Iterator[Cluster]:
    """Give a cluster that has a topic `keyed` of seven partitions."""
    cluster = kafka.cluster()
    with Admin(cluster) as admin:
        admin.create("keyed", PARTITIONS, 1, {})
    return cluster


@servers
@pytest.mark.parametrize("partitioner", ["murmur2", "murmur2_random"])
def test_librdkafka_chooses_the_partition_that_we_expect(topic: Cluster, partitioner: str) -> None:
    found: dict[str, int] = {}
    producer = Producer(topic.librdkafka(partitioner=partitioner, linger_ms=1))
    for site in SITES:
        producer.produce(
            topic.named("keyed"), b"", site.encode(), on_delivery=lambda _, m: found.update({m.key().decode(): m.partition()})
        )
    assert producer.flush(20) == 0
    assert found == {site: partition_of(site, PARTITIONS) for site in SITES}
    assert set(found.values()) == set(range(PARTITIONS))


@servers
def test_kafka_python_chooses_it_too(topic: Cluster) -> None:
    with closing(KafkaProducer(**topic.kafka_python())) as producer:
        sent = [producer.send(topic.named("keyed"), b"", site.encode()) for site in SITES]
        assert [one.get(20).partition for one in sent] == [partition_of(site, PARTITIONS) for site in SITES]


@servers
@pytest.mark.parametrize("security", SECURITIES)
def test_confluent_kafka_and_kafka_python_get_in(kafka: Kafka, security: str) -> None:
    cluster = kafka.cluster(security=security)
    assert reach(cluster, 10) == 1
    with Admin(cluster) as admin:
        admin.create("t", 1, 1, {})
    producer = Producer(cluster.librdkafka(acks="all"))
    producer.produce(cluster.named("t"), b"1", "城南".encode(), headers=[("content-type", b"text/csv")], timestamp=77)
    producer.produce(cluster.named("t"), None, b"\xff", timestamp=78)
    assert producer.flush(20) == 0
    with closing(Consumer(cluster.librdkafka(group_id=cluster.named("g"), auto_offset_reset="earliest"))) as consumer:
        consumer.subscribe([cluster.named("t")])
        found = [record_of(message, cluster) for message in consumer.consume(2, 20)]
    assert found == [
        Record("t", "城南", 77, "text/csv", b"1", 0),
        Record("t", "", 78, "application/json", b"", 1),  # a key that is no UTF-8 is refused by the gate
    ]


@servers
@pytest.mark.parametrize("security", SECURITIES)
def test_aiokafka_and_faust_get_in_and_choose_the_same_partition(kafka: Kafka, security: str) -> None:
    cluster = kafka.cluster(security=security)
    with Admin(cluster) as admin:
        admin.create("t", PARTITIONS, 1, {})

    async def send() -> list[int]:
        producer = aiokafka.AIOKafkaProducer(**cluster.aiokafka())
        async with producer:
            plain = await producer.send_and_wait(cluster.named("t"), b"", "城南".encode())
        app = faust.App(cluster.named("agents"), **cluster.faust(), topic_disable_leader=True)
        through = app.producer
        await through.start()
        told = await through.send_and_wait(cluster.named("t"), "城南".encode(), b"", None, None, None)
        await through.stop()
        return [plain.partition, told.partition]

    assert asyncio.run(send()) == [partition_of("城南", PARTITIONS)] * 2


@servers
def test_who_may_not_come_in_is_told_at_once_why(kafka: Kafka) -> None:
    tls, sasl = kafka.cluster(security="SSL"), kafka.cluster(security="SASL_SSL")
    for wrong, why in (
        (replace(sasl, password="wrong"), "Authentication failed.*check ca, cert, key, username and password"),
        (replace(sasl, mechanism="PLAIN"), "Unsupported SASL mechanism"),
        (replace(sasl, ca=str(kafka.certs.other_ca)), "certificate verify failed"),
        (replace(tls, ca="/no/such/ca.pem"), "correct the table"),
    ):
        with pytest.raises(Lost, match=why):
            Admin(wrong, 20)


@servers
def test_who_finds_no_broker_may_try_again(kafka: Kafka) -> None:
    bare = replace(kafka.cluster(security="SSL"), cert="", key="")
    for wrong, why in (
        (Cluster("127.0.0.1:1"), "Connection refused.*start it, or correct"),
        (bare, "certificate"),
        (replace(kafka.cluster(), security="SSL"), "PLAINTEXT broker listener"),
    ):
        with pytest.raises(Retry, match=why):
            reach(wrong, 1)
