"""The judging worker on a real broker: what it refuses, how it gives way, and that time passes when nothing comes."""

from __future__ import annotations

import time
from dataclasses import replace

import orjson
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from connectors.core import HJ212, JSON, Lost, Record
from connectors.kafka import Cluster
from connectors.kafka_changelog import read_back
from offsite import kafka_registry
from streams.changelog import restored
from streams.codecs.hj212_encode import encode_frame
from streams.engine import Engine
from streams.plan import load_plan
from streams.plan.load import MINUTE, Plan
from streams.records import CONTEXT, tick_of
from streams.registry_model import Point, Registry, Site
from streams.topics import DEAD_LETTERS, INPUTS, LIVE_STATE
from streams.worker import KafkaLinks, Setting, Worker
from tests.real.kafka import Kafka
from tests.streams.kafka_world import Writer, everything, make_topics

pytestmark = pytest.mark.servers
PARTITIONS = 2
PLAN = load_plan()
T0 = 1_790_000_000_000 // MINUTE * MINUTE
REGISTRY = Registry((Site("S1", "一"), Site("S2", "二")), tuple(Point(f"S{n}", "DA001", "gas", mn=f"MN{n:022d}") for n in (1, 2)))


@pytest.fixture
def cluster(kafka: Kafka) -> Cluster:
    made = kafka.cluster()
    make_topics(made, PARTITIONS)
    writer = Writer(made, PARTITIONS)
    writer.publish(REGISTRY, T0 - 1)
    writer.put(frames(0, 5))
    return made


def frames(first: int, last: int) -> list[Record]:
    return [
        Record("emission-monitoring", f"S{n}", T0 + minute * MINUTE + 500, HJ212, frame(n, minute))
        for minute in range(first, last)
        for n in (1, 2)
    ]


def frame(n: int, minute: int) -> bytes:
    return encode_frame(
        f"MN{n:022d}", "2051", T0 + minute * MINUTE - MINUTE, {"a21026": {"Avg": 50.0 + minute, "Flag": "N"}}
    ).strip()


def work(cluster: Cluster, *, name: str = "w1", plan: Plan = PLAN, now: int = 0, session_ms: int = 10_000) -> Worker:
    setting = Setting(name, pause=0.02, session_ms=session_ms)
    return Worker(KafkaLinks(cluster, setting), plan, setting, clock=lambda: now)


def to_the_end(worker: Worker, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not worker.parts or not all(part.merge.idle for part in worker.parts.values()):
        worker.run_once()
        assert time.monotonic() < deadline


def books(worker: Worker, name: str) -> int:
    return sum(part.books().get(name, 0) for part in worker.parts.values())


def run_until_lost(worker: Worker, seconds: float = 60) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            worker.run_once()
        except Lost as lost:
            return str(lost)
    pytest.fail("it goes on")


def judged(cluster: Cluster) -> None:
    worker = work(cluster)
    to_the_end(worker)
    assert books(worker, "frames.accepted") == 10
    worker.close()


def test_a_restart_takes_up_where_the_last_step_left_off(cluster: Cluster) -> None:
    judged(cluster)
    Writer(cluster, PARTITIONS).put(frames(5, 9))
    again = work(cluster)
    to_the_end(again)
    assert books(again, "frames.accepted") == 18
    assert books(again, "readings.accepted") == 18
    again.close()


def test_a_topic_that_was_made_again_is_refused_not_skipped(cluster: Cluster) -> None:
    judged(cluster)
    admin = AdminClient(cluster.librdkafka())
    name = cluster.named("power-usage")
    admin.delete_topics([name])[name].result()
    deadline = time.monotonic() + 30
    while name in admin.list_topics(timeout=5).topics:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    make_topics(cluster, PARTITIONS, only=["power-usage"])
    said = run_until_lost(work(cluster))
    assert "power-usage was deleted and made again" in said
    assert "offsite topics check" in said


def test_another_number_of_partitions_is_refused(cluster: Cluster) -> None:
    judged(cluster)
    admin = AdminClient(cluster.librdkafka())
    for future in admin.create_partitions([NewPartitions(cluster.named("context"), 3)]).values():
        future.result()
    with pytest.raises(Lost, match="same number of partitions"):
        work(cluster)
    rest = [NewPartitions(cluster.named(topic), 3) for topic in (*INPUTS[:-1], LIVE_STATE)]
    for future in admin.create_partitions(rest).values():
        future.result()
    assert "the inputs have 3 partitions, the state was made with 2" in run_until_lost(work(cluster))


def test_a_plan_holds_from_its_record_on_and_only_for_workers_that_have_it(cluster: Cluster) -> None:
    judged(cluster)
    other = replace(PLAN, hash="0123456789abcdef")
    assert "publish the new one first" in run_until_lost(work(cluster, plan=other))
    kafka_registry.publish_plan(cluster, other.hash, PARTITIONS)
    Writer(cluster, PARTITIONS).put([replace(r, arrived=int(time.time() * 1000) + 60_000) for r in frames(5, 6)])
    assert "is judged by plan 0123456789abcdef" in run_until_lost(work(cluster))
    new = work(cluster, plan=other)
    to_the_end(new)
    assert books(new, "frames.accepted") == 12
    new.close()


def test_a_worker_of_the_same_name_takes_over_and_the_one_before_can_commit_nothing(cluster: Cluster) -> None:
    first = work(cluster)
    to_the_end(first)
    second = work(cluster)
    Writer(cluster, PARTITIONS).put(frames(5, 7))
    to_the_end(second)
    assert "fenced" in run_until_lost(first).lower()
    assert books(second, "frames.accepted") == 14
    second.close()


def test_a_record_on_which_the_judge_fails_becomes_a_letter_and_nothing_behind_it_waits(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = frame(1, 2)
    decode = Engine._decode_run

    def touchy(self: Engine, kind: str, group: list[Record]):
        if any(record.body == poison for record in group):
            raise ZeroDivisionError("a bug of ours")
        yield from decode(self, kind, group)

    monkeypatch.setattr(Engine, "_decode_run", touchy)
    worker = work(cluster)
    to_the_end(worker)
    assert books(worker, "frames.accepted") == 9
    assert books(worker, "records.set_aside") == 1
    worker.close()
    [letter] = everything(cluster, DEAD_LETTERS)
    assert letter.value() == poison
    assert dict(letter.headers())["reason"] == b"judge_failed"
    assert dict(letter.headers())["detail"] == b"ZeroDivisionError: a bug of ours"


def test_time_passes_when_nothing_comes_and_every_tick_is_in_the_log(cluster: Cluster) -> None:
    worker = work(cluster, now=T0 + 6 * MINUTE + 5)
    to_the_end(worker)
    deadline = time.monotonic() + 30
    while min(part.engine.state.tick for part in worker.parts.values()) < T0 + 6 * MINUTE:
        worker.run_once()
        assert time.monotonic() < deadline
    to_the_end(worker)
    worker.close()
    for partition in range(PARTITIONS):
        mine = [m for m in everything(cluster, CONTEXT) if m.partition() == partition]
        ticks = [now for m in mine if (now := tick_of(Record(CONTEXT, "", 0, JSON, m.value())))]
        assert ticks == [T0 + k * MINUTE for k in (0, 1, 2, 3, 4, 6)]
        assert all(set(orjson.loads(m.value())["ends"]) == set(INPUTS) for m in mine if b'"tick"' in m.value())


def test_state_and_position_are_one(cluster: Cluster) -> None:
    judged(cluster)
    for partition in range(PARTITIONS):
        found = restored(read_back(cluster, LIVE_STATE, partition))
        assert found.position is not None
        ends = [m for m in everything(cluster, "emission-monitoring") if m.partition() == partition]
        assert found.position.offsets()["emission-monitoring"] == len(ends)
