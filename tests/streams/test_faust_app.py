"""The agents on a real broker: what they see, in which order, and when they acknowledge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from connectors.core import Retry
from connectors.kafka import Cluster
from streams.faust_app import CRASHED, Message, Sink, app_of, serve
from tests.real.kafka import Kafka
from tests.streams.kafka_world import make_topics

pytestmark = [
    pytest.mark.servers,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Faust's and aiokafka's own
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
PARTITIONS = 2


@pytest.fixture
def cluster(kafka: Kafka) -> Cluster:
    made = kafka.cluster()
    make_topics(made, PARTITIONS)
    return made


def put(cluster: Cluster, first: int, last: int, *, commit: bool = True) -> None:
    """Write alerts numbered [first, last) in one transaction, one partition after the other."""
    producer = Producer(cluster.librdkafka(transactional_id=cluster.named("test"), transaction_timeout_ms=5000))
    producer.init_transactions(10)
    producer.begin_transaction()
    for number in range(first, last):
        producer.produce(
            cluster.named("alerts"), str(number), f"S{number % PARTITIONS}", number % PARTITIONS, headers={"n": b"1"}
        )
    if commit:
        producer.commit_transaction(10)
    else:
        producer.flush(10)
        producer.abort_transaction(10)


def committed(cluster: Cluster, group: str) -> int:
    """Return the sum of a group's committed offsets."""
    consumer = Consumer(cluster.librdkafka(group_id=cluster.named(group)))
    places = consumer.committed([TopicPartition(cluster.named("alerts"), p) for p in range(PARTITIONS)], timeout=10)
    consumer.close()
    return sum(max(place.offset, 0) for place in places)


def run(
    cluster: Cluster, sink: Sink, until: Callable[[], bool], *, ended: list[int] | None = None, seconds: float = 60.0
) -> None:
    """Run an agent until something has come true."""

    async def live() -> None:
        stopped = asyncio.Event()
        serving = asyncio.ensure_future(serve([app_of(cluster, sink, end=([] if ended is None else ended).append)], stopped))
        deadline = time.monotonic() + seconds
        try:
            while not until():
                assert time.monotonic() < deadline, "it did not come true"
                assert not serving.done(), serving.result()
                await asyncio.sleep(0.05)
        finally:
            stopped.set()
            await serving

    asyncio.run(live())


def test_only_committed_messages_in_order_a_partition_and_acknowledged_when_done(cluster: Cluster) -> None:
    put(cluster, 0, 20)
    put(cluster, 20, 30, commit=False)
    put(cluster, 30, 40)
    seen: list[Message] = []

    async def take(messages: Sequence[Message]) -> None:
        seen.extend(messages)

    run(cluster, Sink("desk", ("alerts",), take), lambda: len(seen) >= 30 and committed(cluster, "agents-desk") > 30)
    assert sorted(int(m.value) for m in seen) == [*range(20), *range(30, 40)], "an aborted step is not seen"
    for partition in range(PARTITIONS):
        mine = [int(m.value) for m in seen if m.partition == partition]
        assert mine == sorted(mine)
    assert seen[0].headers == {"n": b"1"}
    assert seen[0].topic == "alerts"


def test_many_small_transactions_are_acknowledged_together(cluster: Cluster) -> None:
    producer = Producer(cluster.librdkafka(transactional_id=cluster.named("test"), transaction_timeout_ms=5000))
    producer.init_transactions(10)
    for number in range(80):
        producer.begin_transaction()
        for partition in range(PARTITIONS):
            producer.produce(cluster.named("alerts"), str(number), b"S", partition)
        producer.commit_transaction(10)
    seen: list[str] = []

    async def take(messages: Sequence[Message]) -> None:
        seen.extend(m.value.decode() for m in messages)

    due = PARTITIONS * (2 * 80 - 1)  # a message and a marker each, but for the last marker
    run(cluster, Sink("desk", ("alerts",), take), lambda: committed(cluster, "agents-desk") >= due, seconds=40)
    assert len(seen) == PARTITIONS * 80


def test_it_leaves_no_folder_behind(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(cluster, 0, 2)
    seen: list[Message] = []

    async def take(messages: Sequence[Message]) -> None:
        seen.extend(messages)

    run(cluster, Sink("desk", ("alerts",), take), lambda: bool(seen))
    assert not list(tmp_path.iterdir())


def test_a_sink_that_must_wait_is_called_again_with_the_same_messages_and_nothing_is_acknowledged_before(
    cluster: Cluster,
) -> None:
    put(cluster, 0, 10)
    calls: list[list[int]] = []
    before: list[int] = []

    async def take(messages: Sequence[Message]) -> None:
        calls.append([int(m.value) for m in messages])
        if len(calls) < 4:
            before.append(committed(cluster, "agents-desk"))
            raise Retry("the database is away", after=0.01)

    run(cluster, Sink("desk", ("alerts",), take), lambda: committed(cluster, "agents-desk") > 0)
    assert calls[0] == calls[1] == calls[2] == calls[3]
    assert before == [0, 0, 0]


def test_a_sink_that_fails_ends_the_process_and_its_messages_come_again(cluster: Cluster) -> None:
    put(cluster, 0, 10)
    ended: list[int] = []

    async def fail(messages: Sequence[Message]) -> None:
        raise ZeroDivisionError(len(messages))

    run(cluster, Sink("desk", ("alerts",), fail), lambda: bool(ended), ended=ended)
    assert ended == [CRASHED]
    assert committed(cluster, "agents-desk") == 0
    seen: list[int] = []

    async def take(messages: Sequence[Message]) -> None:
        seen.extend(int(m.value) for m in messages)

    run(cluster, Sink("desk", ("alerts",), take), lambda: len(seen) >= 10)
    assert sorted(seen) == list(range(10))


def test_a_stop_in_the_middle_of_a_wait_acknowledges_nothing(cluster: Cluster) -> None:
    put(cluster, 0, 10)
    called: list[int] = []

    async def wait(messages: Sequence[Message]) -> None:
        called.append(len(messages))
        raise Retry("the database is away", after=30)

    run(cluster, Sink("desk", ("alerts",), wait), lambda: bool(called))
    assert committed(cluster, "agents-desk") == 0
