"""Latency of the distributed runtime: from the moment a reading is due at a device to its alert before a consumer.

10,000 readings a second in messages of ten, log time by the broker, one live worker. Now and then a value jumps to ten times its
usual: rule `step` is raised by that one reading. The clock of a reading starts when it was to be sent, so that a stall of the
sender hides nothing; it stops when a read_committed consumer of `alerts` has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import numpy as np
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from connectors.core import JSON
from connectors.kafka import CONTENT_TYPE, Cluster, partition_of
from streams.topics import ALERTS
from tests.bench.kafka_city import FACTORS, PARTITIONS, TOPIC, USUAL, City, as_json
from tests.streams.kafka_world import Writer

WARM = 14
"""Values of each series before the first that is due: `step` looks back on twelve."""
AHEAD_S = 20.0
"""Seconds that the worker has for them."""
CALM, JUMPS = 5, 25
"""Seconds before the first alert, and alerts a second then."""


@dataclass(slots=True)
class Due:
    """One message: when it is to be sent (s), its site and body."""

    at: float
    site: str
    body: bytes


@dataclass(slots=True)
class Watch:
    """Reads alerts beside the sender: site → when its alert of rule `step` was seen (s)."""

    cluster: Cluster
    seen: dict[str, float] = field(default_factory=dict)
    stopped: bool = False

    def run(self) -> None:
        consumer = Consumer(
            self.cluster.librdkafka(
                group_id="watch", enable_auto_commit=False, isolation_level="read_committed", fetch_wait_max_ms=10
            )
        )
        consumer.assign([TopicPartition(self.cluster.named(ALERTS), number, 0) for number in range(PARTITIONS)])
        while not self.stopped:
            for message in consumer.consume(100, 0.01):
                at = time.time()
                if message.error() is None and orjson.loads(message.value())["rule"] == "step":
                    self.seen.setdefault(message.key().decode(), at)
        consumer.close()


def latency(cluster: Cluster, rate: int, seconds: int, worker: Callable[[], Any]) -> dict[str, Any]:
    """Send `rate` readings a second for so many seconds; `worker` starts a live worker and returns what stops it."""
    city = City(rate, 0, len(FACTORS))
    Writer(cluster, PARTITIONS).publish(city.registry(), 0)
    stop = worker()
    start = time.time() + AHEAD_S
    jumped: dict[str, float] = {}
    log = list(messages(city, start, seconds, jumped))
    watch = Watch(cluster)
    thread = Thread(target=watch.run)
    thread.start()
    behind = send(cluster, log)
    deadline = time.time() + 30
    while jumped.keys() - watch.seen.keys() and time.time() < deadline:
        time.sleep(0.05)
    watch.stopped = True
    thread.join()
    judged = stop()["readings"]
    ms = np.array([1000 * (watch.seen[site] - at) for site, at in jumped.items() if site in watch.seen])
    p50, p99, worst = (round(float(q)) for q in np.percentile(ms, [50, 99, 100]))
    alerts = {"alerts": len(jumped), "seen": len(ms), "p50_ms": p50, "p99_ms": p99, "max_ms": worst}
    return {"readings_per_second": rate, "seconds": seconds, "judged": judged, "sender_behind_ms": round(1000 * behind), **alerts}


def messages(city: City, start: float, seconds: int, jumped: dict[str, float]) -> Iterator[Due]:
    """Yield warm values of every series, then one a second; note in `jumped` whose first value jumps and when it is due."""
    keys, sites = city.keys(), city.sites()
    draw = np.random.default_rng(2)
    order = draw.permutation(len(sites)).tolist()
    for second in range(-WARM, seconds):
        for place, site in enumerate(order):
            due = start + second + place / len(order)
            values = (USUAL * draw.normal(1.0, 0.05, len(USUAL))).round(3)
            if 0 <= second - CALM < len(order) // JUMPS and place % (len(order) // JUMPS) == second - CALM:
                values[0] *= 10
                jumped[sites[site]] = due
            rows = slice(site * len(FACTORS), (site + 1) * len(FACTORS))
            yield Due(due if second >= 0 else 0.0, sites[site], as_json(keys[rows], int(due * 1000), values))


def send(cluster: Cluster, log: list[Due]) -> float:
    """Send each message when it is due; return by how much the sender was late at most, s."""
    producer = Producer(cluster.librdkafka(acks="all", linger_ms=5, partitioner="murmur2"))
    name, headers, behind = cluster.named(TOPIC), {CONTENT_TYPE: JSON}, 0.0
    for due in log:
        if (early := due.at - time.time()) > 0.002:
            producer.poll(0)
            time.sleep(early)
        if due.at:
            behind = max(behind, time.time() - due.at)
        producer.produce(name, due.body, due.site, partition_of(due.site, PARTITIONS), headers=headers)
    producer.flush(30)
    return behind
