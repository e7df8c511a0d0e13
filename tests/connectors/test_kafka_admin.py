"""Administration of a real cluster: what it is asked for it tells, what it refuses it refuses with the broker's reason."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from connectors.core import Refused
from connectors.kafka_admin import EARLIEST, Admin, Lag, lag
from tests.real.kafka import Kafka

pytestmark = pytest.mark.servers


@pytest.fixture
def admin(kafka: Kafka) -> Iterator[Admin]:
    with Admin(kafka.cluster()) as made:
        yield made


def send(admin: Admin, topic: str, partition: int, *times: int) -> None:
    """Write a record for each log time, in a transaction."""
    producer = Producer(admin.cluster.librdkafka(transactional_id=secrets.token_hex(4)))
    producer.init_transactions(30)
    producer.begin_transaction()
    for at in times:
        producer.produce(admin.cluster.named(topic), b"v", partition=partition, timestamp=at)
    producer.commit_transaction(30)
    deadline = time.monotonic() + 20
    while admin.offsets([(topic, partition)])[topic, partition] <= len(times) and time.monotonic() < deadline:
        time.sleep(0.02)  # the mark of the transaction follows the answer


def commit(admin: Admin, group: str, topic: str, **offsets: int) -> None:
    """Commit p0=…, p1=… for a group."""
    with closing(Consumer(admin.cluster.librdkafka(group_id=admin.cluster.named(group)))) as consumer:
        places = [TopicPartition(admin.cluster.named(topic), int(name[1:]), at) for name, at in offsets.items()]
        consumer.commit(offsets=places, asynchronous=False)


def test_a_topic_is_made_described_and_configured(admin: Admin) -> None:
    assert admin.brokers == 1
    assert admin.topics(["alerts"]) == {}
    admin.create("alerts", 3, 1, {"retention.ms": "1000000"})
    made = admin.topics(["none", "alerts"])
    assert list(made) == ["alerts"]
    topic = made["alerts"]
    assert (topic.name, topic.replication, topic.config["retention.ms"]) == ("alerts", 1, "1000000")
    assert [(p.number, p.leader, p.replicas, p.in_sync) for p in topic.partitions] == [(n, 1, (1,), (1,)) for n in range(3)]
    admin.configure("alerts", {"max.message.bytes": "2000000"})
    again = admin.topics(["alerts"])["alerts"]
    assert (again.id, again.config["retention.ms"], again.config["max.message.bytes"]) == (topic.id, "1000000", "2000000")


def test_the_broker_says_why_not(admin: Admin) -> None:
    admin.create("alerts", 1, 1, {})
    for refused, why in (
        (lambda: admin.create("alerts", 1, 1, {}), "already exists"),
        (lambda: admin.create("leads", 1, 3, {}), "only 1 broker"),
        (lambda: admin.create("leads", 1, 1, {"retention.ms": "x"}), "Not a number"),
        (lambda: admin.configure("alerts", {"retention.ms": "-7"}), "at least -1"),
        (lambda: admin.configure("none", {"retention.ms": "7"}), "does not exist"),
    ):
        with pytest.raises(Refused, match=why):
            refused()


def test_offsets_and_groups_carry_no_prefix_and_no_other_citys_groups(admin: Admin, kafka: Kafka) -> None:
    admin.create("alerts", 2, 1, {})
    send(admin, "alerts", 1, 5, 6)
    places = [("alerts", 0), ("alerts", 1)]
    assert admin.offsets(places) == {("alerts", 0): 0, ("alerts", 1): 3}
    assert admin.offsets(places, EARLIEST) == {("alerts", 0): 0, ("alerts", 1): 0}
    assert admin.offsets([]) == {}
    assert (admin.groups(), admin.committed("agents")) == ([], {})
    commit(admin, "agents", "alerts", p1=2)
    assert (admin.groups(), admin.committed("agents")) == (["agents"], {("alerts", 1): 2})
    with Admin(kafka.cluster()) as other:
        assert other.groups() == []


def test_lag_tells_the_oldest_unread_record_and_ignores_marks_of_transactions(admin: Admin) -> None:
    admin.create("alerts", 4, 1, {})
    for partition in (0, 1, 2):
        send(admin, "alerts", partition, 1000, 2000, 3000)
    commit(admin, "agents", "alerts", p0=1, p1=3, p2=4, p3=0)
    assert lag(admin, "agents", ["alerts"]) == [
        Lag("agents", "alerts", 0, end=4, committed=1, lag=3, oldest=2000, lost=0),
        Lag("agents", "alerts", 1, end=4, committed=3, lag=0, oldest=None, lost=0),
        Lag("agents", "alerts", 2, end=4, committed=4, lag=0, oldest=None, lost=0),
        Lag("agents", "alerts", 3, end=0, committed=0, lag=0, oldest=None, lost=0),
    ]
    assert lag(admin, "agents", ["leads"]) == []
    assert lag(admin, "nobody", ["alerts"]) == []


def test_lag_reads_what_is_packed_and_passes_over_what_was_aborted(admin: Admin) -> None:
    admin.create("alerts", 2, 1, {})
    name = admin.cluster.named("alerts")
    producer = Producer(admin.cluster.librdkafka(transactional_id=secrets.token_hex(4), compression_type="lz4", linger_ms=100))
    producer.init_transactions(30)
    for partitions, end in (((1,), producer.abort_transaction), ((0,), producer.commit_transaction)):
        producer.begin_transaction()
        for partition in partitions:
            for at in (1000, 2000, 3000):
                producer.produce(name, b"v" * 500, partition=partition, timestamp=at)
        assert producer.flush(20) == 0
        end(30)
    commit(admin, "agents", "alerts", p0=1, p1=0)
    packed, aborted = lag(admin, "agents", ["alerts"])
    assert (packed.lag, packed.oldest) == (packed.end - 1, 2000)
    assert (aborted.end > 0, aborted.lag, aborted.oldest) == (True, 0, None)


def test_records_deleted_before_they_were_read_are_counted(admin: Admin) -> None:
    from kafka import TopicPartition as Place

    admin.create("alerts", 1, 1, {})
    send(admin, "alerts", 0, 1000, 2000, 3000)
    commit(admin, "agents", "alerts", p0=0)
    admin._client.delete_records({Place(admin.cluster.named("alerts"), 0): 2})
    [row] = lag(admin, "agents", ["alerts"])
    assert (row.lost, row.oldest, row.lag) == (2, 3000, 4)
