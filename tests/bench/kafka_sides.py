"""The processes of the Kafka benchmarks: a worker, the same pipeline fed from memory, the bare loop of consumer and decoder.

Each is told what to do by one JSON object on its command line, says `ready`, waits for a line, works, and prints what it measured.
Seconds are from the word to go to the last reading judged and committed; `main_cpu` is what the judging thread itself used.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from itertools import chain, groupby
from operator import attrgetter
from threading import Thread
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from confluent_kafka import Consumer, TopicPartition

from connectors.core import ARROW, Record
from connectors.kafka import Cluster, partition_of
from connectors.process import calm_collector
from streams import registry as registries
from streams.changelog import Restored, messages
from streams.commit import Step, run_step
from streams.partition import Partition
from streams.plan import load_plan
from streams.records import registry_record
from streams.topics import INPUTS
from streams.worker import LIMIT, POLL, KafkaLinks, Setting, Worker, _messages
from tests.bench.kafka_city import PARTITIONS, START, TOPIC, City

BARE = 2_000
"""Messages that the bare loop asks for: with more its client waits for them, instead of fetching while they are decoded."""


def say(**told: Any) -> None:
    print(json.dumps(told), flush=True)


def wait_for_go() -> None:
    say(ready=True)
    sys.stdin.readline()


def measured(work: Callable[[], int]) -> dict[str, float]:
    """Run the work, which returns how many readings it did; return what it took."""
    begun, cpu, main_cpu = time.time(), time.process_time(), time.thread_time()
    readings = work()
    used = {"cpu": time.process_time() - cpu, "main_cpu": time.thread_time() - main_cpu}
    return {"readings": readings, "begun": begun, "ended": time.time(), **used}


def made_worker(told: dict[str, Any], clock: Callable[[], int] = lambda: 0) -> Worker:
    setting = Setting(told["name"])
    calm_collector()
    return Worker(KafkaLinks(Cluster(told["bootstrap"], told["prefix"]), setting), load_plan(), setting, clock=clock)


def received(made: Worker) -> int:
    return sum(part.books().get("readings.received", 0) for part in made.parts.values())


def worker(told: dict[str, Any]) -> None:
    """Judge what the partitions of one worker out of `workers` get; nothing is fetched before the word to go."""
    made = made_worker(told)
    while len(made.parts) != PARTITIONS // told["workers"] or not all(part.merge.idle for part in made.parts.values()):
        made.run_once()
    places = [(topic, number) for number in made.parts for topic in INPUTS]
    made._inputs.hold(places, on=True)
    wait_for_go()
    made._inputs.hold(places, on=False)
    wanted = sum(told["readings"][number] for number in made.parts)
    steps = 0

    def work() -> int:
        nonlocal steps
        while received(made) < wanted:
            steps += made.run_once() > 0
        return wanted

    found = measured(work)
    accepted = sum(part.books()["readings.accepted"] for part in made.parts.values())
    made.close()
    say(**found, steps=steps, accepted=accepted)


def live(told: dict[str, Any]) -> None:
    """Run as `offsite worker` does until a line comes."""
    made = made_worker(told, lambda: time.time_ns() // 1_000_000)
    while len(made.parts) != PARTITIONS:
        made.run_once()
    say(ready=True)
    stopped: list[str] = []
    Thread(target=lambda: stopped.append(sys.stdin.readline()), daemon=True).start()
    made.run(lambda: bool(stopped))
    judged = received(made)
    made.close()
    say(readings=judged)


def restart(told: dict[str, Any]) -> None:
    """Restore everything and judge the first reading that waits."""
    say(ready=True)
    begun, made = time.time(), made_worker(told)
    while not made.run_once():
        pass
    series = sum(len(part.engine.state.table) for part in made.parts.values())
    say(begun=begun, ended=time.time(), series=series)
    made.close()


class Nowhere:
    """A store that writes a step nowhere: everything is encoded as for the log, and dropped."""

    def __init__(self) -> None:
        self.steps = self.bytes = 0

    def commit(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self.steps += 1
            self.bytes += sum(len(value) for _topic, _key, value, _headers in _messages(step))
            self.bytes += sum(len(value or b"") for _name, value in messages(step.chunks))


def memory(told: dict[str, Any]) -> None:
    """Judge the same records in the same portions, from a list."""
    city = City(**told["city"])
    plan, ids = load_plan(), dict.fromkeys(INPUTS, "memory")
    parts = {
        number: Partition(number, Restored(), plan, ids=ids, partitions=PARTITIONS, clock=lambda: 0, seconds=lambda: 0.0)
        for number in range(PARTITIONS)
    }
    log = list(placed(city))
    calm_collector()
    wait_for_go()
    store = Nowhere()

    def work() -> int:
        for at in range(0, len(log), POLL):
            for number, run in groupby(log[at : at + POLL], key=attrgetter("partition")):
                parts[number].put(list(run))
            for part in parts.values():
                for topic in INPUTS:
                    part.merge.end(topic)
            while run_step(parts.values(), store, LIMIT):
                pass
        return sum(part.books()["readings.received"] for part in parts.values())

    say(**measured(work), steps=store.steps, bytes=store.bytes)


def placed(city: City) -> Iterable[Record]:
    """Yield the registry and the records with the partitions and offsets that Kafka would give them."""
    registry, ends = city.registry(), [0] * PARTITIONS
    for number in range(PARTITIONS):
        part = registries.part_of(registry, lambda site, n=number: partition_of(site, PARTITIONS) == n)
        told = registry_record(part, START - 1)
        yield Record(told.topic, "", told.arrived, told.content_type, told.body, 0, number)
    for r in city.records():
        number = partition_of(r.key, PARTITIONS)
        yield Record(r.topic, r.key, r.arrived, r.content_type, r.body, ends[number], number)
        ends[number] += 1


def bare(told: dict[str, Any]) -> None:
    """Consume and decode to numpy columns, without meaning."""
    cluster = Cluster(told["bootstrap"], told["prefix"])
    consumer = Consumer(cluster.librdkafka(group_id="bare", enable_auto_commit=False, queued_max_messages_kbytes=16_384))
    wanted, decode = sum(told["readings"]), from_arrow if told["city"]["content_type"] == ARROW else from_json
    wait_for_go()
    consumer.assign([TopicPartition(cluster.named(TOPIC), number, 0) for number in range(PARTITIONS)])

    def work() -> int:
        count = 0
        while count < wanted:
            count += decode([message.value() for message in consumer.consume(BARE, 0.05) if message.error() is None])
        return count

    found = measured(work)
    consumer.close()
    say(**found)


def from_json(bodies: list[bytes]) -> int:
    found = map(orjson.loads, bodies)
    rows = list(chain.from_iterable(one if isinstance(one, list) else (one,) for one in found))
    return len(np.array([row["value"] for row in rows], np.float64))


def from_arrow(bodies: list[bytes]) -> int:
    tables = [pa.ipc.open_stream(body).read_all() for body in bodies]
    return sum(len(np.asarray(table["value"])) for table in tables)


SIDES = {"worker": worker, "live": live, "restart": restart, "memory": memory, "bare": bare}

if __name__ == "__main__":
    SIDES[sys.argv[1]](json.loads(sys.argv[2]))
