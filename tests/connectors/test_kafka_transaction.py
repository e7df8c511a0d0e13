"""A step's transaction on a real broker: all of it or none, and an end to waiting."""

from __future__ import annotations

import time
from threading import Event
from typing import Any

import pytest

pytest.importorskip("confluent_kafka", reason="the distributed runtime is not installed")

from confluent_kafka import Consumer

from connectors.core import Lost
from connectors.kafka_transaction import SLACK_S, Transactions
from tests.real.kafka import Kafka
from tests.streams.kafka_world import everything, make_topics

pytestmark = pytest.mark.servers
TOPIC = "alerts"


def test_a_client_that_forgets_its_time_out_is_left_behind(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """librdkafka does so while the coordinator of the group is away: the worker must end, not hold its partitions unjudged."""
    cluster, asleep = kafka.cluster(), Event()
    make_topics(cluster, 1, only=[TOPIC])
    consumer = Consumer(cluster.librdkafka(group_id=cluster.named("g")))
    transactions = Transactions(cluster, "w", abort_ms=2000)

    def put(value: bytes) -> None:
        transactions.begin()
        transactions.put(TOPIC, 0, "S1", value)

    put(b"whole")
    transactions.commit({(TOPIC, 0): 1}, consumer.consumer_group_metadata())
    put(b"half")

    def sleep(*_: Any) -> None:
        asleep.wait(60)

    monkeypatch.setattr(transactions, "_send_offsets", sleep)
    began = time.monotonic()
    transactions.hand_over({(TOPIC, 0): 2}, consumer.consumer_group_metadata())
    with pytest.raises(Lost, match="no answer in time"):
        transactions.settle()
    assert time.monotonic() - began < 30
    assert time.monotonic() - began > SLACK_S
    asleep.set()
    consumer.close()
    assert [message.value() for message in everything(cluster, TOPIC)] == [b"whole"]
