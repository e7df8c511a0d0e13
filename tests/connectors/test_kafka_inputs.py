"""The worker's consumer: which ends of partitions it tells, and that what it hands out is of partitions that it holds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import pytest

pytest.importorskip("confluent_kafka", reason="the distributed runtime is not installed")

from confluent_kafka import Producer, TopicPartition

from connectors.core import JSON, Record
from connectors.kafka import Cluster
from connectors.kafka_admin import Admin
from connectors.kafka_inputs import Inputs, Polled, _standing
from tests.real.kafka import Kafka

TOPIC, PARTITIONS, EACH = "emission-monitoring", 4, 20


def record(topic: str, partition: int, offset: int) -> Record:
    return Record(topic, "S1", 0, JSON, b"{}", offset, partition)


def test_an_end_that_records_of_the_same_poll_lie_behind_is_not_told() -> None:
    polled = Polled([record("power-usage", 0, 7), record("power-usage", 0, 8)], [("power-usage", 0, 7)])
    assert _standing(polled) == [], "the input goes on: it has to be waited for"


def test_an_end_behind_the_last_record_is_told_and_other_partitions_do_not_matter() -> None:
    ends = [("power-usage", 0, 9), ("power-usage", 1, 0), ("context", 0, 3)]
    polled = Polled([record("power-usage", 0, 8), record("power-usage", 2, 50)], ends)
    assert _standing(polled) == ends


@pytest.fixture
def cluster(kafka: Kafka) -> Cluster:
    made = kafka.cluster()
    with Admin(made) as admin:
        admin.create(TOPIC, PARTITIONS, 1, {})
    return made


class Member:
    """One member of the group, which reads each partition from its beginning when it gets it."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.held: set[int] = set()
        self.seen: dict[int, list[int]] = {}
        self.revoked = 0
        self.inputs = Inputs(
            cluster, [TOPIC], group="workers", instance=name, assigned=self._assigned, revoked=self._revoked, session_ms=6000
        )

    def _assigned(self, partitions: Sequence[int]) -> Mapping[int, Mapping[str, int]]:
        self.held = set(partitions)
        self.seen = {partition: [] for partition in partitions}
        return {partition: {TOPIC: 0} for partition in partitions}

    def _revoked(self) -> None:
        self.held, self.seen, self.revoked = set(), {}, self.revoked + 1

    def poll(self) -> None:
        polled = self.inputs.poll(1000, 0.1)
        for record in polled.records:
            assert record.partition in self.held, f"a record of partition {record.partition}, which is not held: {self.held}"
            self.seen[record.partition].append(record.offset)
        assert {end[1] for end in polled.ends} <= self.held


class Interrupted:
    """A real consumer that loses its partitions between the two calls of one poll: another member joins just then."""

    def __init__(self, real: Any, member: Member, other: list[Member], cluster: Cluster, *, whole: bool) -> None:
        self._real, self._member, self._other, self._cluster, self._whole = real, member, other, cluster, whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def consume(self, limit: int, seconds: float) -> list[Any]:
        if seconds == 0 or self._other:
            return list(self._real.consume(limit, 1.0 if not self._other else seconds))
        self._other.append(Member(self._cluster, "b"))
        found: list[Any] = []
        deadline = time.monotonic() + 30
        while not self._member.revoked or (self._whole and not self._member.held):
            assert time.monotonic() < deadline
            self._other[0].inputs._consumer.consume(1, 0.05)
            found += self._real.consume(limit, 0)
        return found


@pytest.mark.servers
@pytest.mark.parametrize("whole", [True, False], ids=["revoked and assigned", "revoked"])
def test_what_was_read_before_a_revocation_in_the_same_poll_is_not_handed_out(cluster: Cluster, whole: bool) -> None:
    producer = Producer(cluster.librdkafka(acks="all"))
    for number in range(EACH):
        for partition in range(PARTITIONS):
            producer.produce(cluster.named(TOPIC), str(number), b"S", partition)
    assert producer.flush(20) == 0
    first, other = Member(cluster, "a"), list[Member]()
    with closing(first.inputs):
        deadline = time.monotonic() + 30
        while len(first.held) < PARTITIONS:
            first.poll()
            assert time.monotonic() < deadline
        first.seen = {partition: [] for partition in first.held}
        again = [TopicPartition(cluster.named(TOPIC), partition, 0) for partition in first.held]
        first.inputs._consumer.assign(again)  # everything comes once more, while others join
        first.inputs._consumer = Interrupted(first.inputs._consumer, first, other, cluster, whole=whole)  # type: ignore[assignment]
        while not other or not first.held or sum(map(len, first.seen.values())) < EACH * len(first.held):
            first.poll()
            if other:
                other[0].inputs.poll(1000, 0.05)
            assert time.monotonic() < deadline + 30
        with closing(other[0].inputs):
            assert first.held
            assert len(first.held) < PARTITIONS
            assert first.seen == {partition: list(range(EACH)) for partition in first.held}, "each once, and none twice"
