"""The distributed runtime on a real broker, each figure beside its reference from the same run.

    python -m tests.bench.kafka [--small] [--only rates,latency,restore,peers]

* rates: one worker at 1, 100 and 1,000 readings a message, beside the same pipeline fed from memory (budget: at least 0.8 of it)
  and a bare loop of consumer and decoder; two workers at 1 and 1,000. Medians of three rounds. Budget at 1 reading a message: 100,000 a second.
* latency: reading due → alert before a consumer, at 10,000 readings a second. Budget: p99 1 s.
* restore: a new worker at 100,000 series of state. Budget: 10 s to the first judged reading.
* peers: a plain Faust app and quixstreams with a simpler job, beside the worker with all of its rules.

Results: build/bench/kafka-*.json. `--small` only shows that everything runs. quixstreams comes into a virtual environment of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Self

from confluent_kafka.admin import AdminClient, NewTopic

from connectors.core import ARROW, JSON
from connectors.kafka import Cluster
from streams.plan.load import MINUTE
from streams.topics import CATALOGUE
from tests.bench.kafka_city import PARTITIONS, START, TOPIC, City
from tests.bench.kafka_live import latency
from tests.real.kafka import ORPHAN, Kafka
from tests.streams.kafka_world import Writer

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "bench"
JVM = {"KAFKA_HEAP_OPTS": "-Xms1g -Xmx1g", "KAFKA_OPTS": "-XX:+UseG1GC -Dkafka.log=WARN"}
QUIX = "quixstreams==3.28.1"
PORTION = 50_000
"""Messages that the writer holds at most; its client has room for twice as many."""


class Side:
    """A process that works beside this one and says what it measured, a JSON object a line."""

    def __init__(self, words: list[str]) -> None:
        self.process = subprocess.Popen([*ORPHAN, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    @classmethod
    def of(cls, what: str, cluster: Cluster, city: City, **more: Any) -> Self:
        """Start one of `tests.bench.kafka_sides`."""
        told = {"bootstrap": cluster.bootstrap, "prefix": cluster.prefix, "readings": city.share(), "city": asdict(city), **more}
        return cls([sys.executable, "-m", "tests.bench.kafka_sides", what, json.dumps(told)])

    def said(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args} ended with {self.process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def done(self) -> dict[str, Any]:
        """Let it go, and return what it said when it had ended."""
        self.go()
        found = self.said()
        self.process.wait()
        return found


def topics(broker: Kafka, *, stamped: bool = False) -> Cluster:
    """Make all topics under a prefix of their own; log time is the producer's, or (`stamped`) the broker's."""
    cluster = broker.cluster()
    new = [
        NewTopic(
            cluster.named(topic.name),
            1 if topic.single else PARTITIONS,
            1,
            config=topic.config(replication=1, min_isr=1, stamped=stamped) | ({"retention.ms": "-1"} if topic.days else {}),
        )
        for topic in CATALOGUE.values()
    ]
    admin = AdminClient(cluster.librdkafka())
    for future in admin.create_topics(new).values():
        future.result()
    return cluster


def workers(cluster: Cluster, city: City, count: int) -> list[dict[str, Any]]:
    """Let so many workers judge a city; they have joined before its readings are in the log."""
    sides = [Side.of("worker", cluster, city, workers=count, name=f"w{number}") for number in range(count)]
    for side in sides:
        side.said()
    writer = Writer(cluster, PARTITIONS)
    writer.publish(city.registry(), START - 1)
    log = city.records()
    while portion := list(islice(log, PORTION)):
        writer.put(portion)
    for side in sides:
        side.go()
    found = [side.said() for side in sides]
    for side in sides:
        side.process.wait()
    return found


def alone(what: str, cluster: Cluster, city: City) -> dict[str, Any]:
    side = Side.of(what, cluster, city)
    side.said()
    return side.done()


def per_second(found: list[dict[str, Any]]) -> int:
    spent = max(one["ended"] for one in found) - min(one["begun"] for one in found)
    return round(sum(one["readings"] for one in found) / spent)


def cpu_us(found: list[dict[str, Any]], name: str = "main_cpu") -> float:
    return round(1e6 * sum(one[name] for one in found) / sum(one["readings"] for one in found), 2)


def rates(broker: Kafka, args: argparse.Namespace) -> dict[str, Any]:
    """Compare a worker with memory and with the bare loop, and two workers with one; figures are medians of all rounds."""
    rows = []
    for size, content_type, count in (
        (1, JSON, 1),
        (100, JSON, 1),
        (1000, JSON, 1),
        (1000, ARROW, 1),
        (1, JSON, 2),
        (1000, JSON, 2),
    ):
        city = City(args.series, args.minutes, size, content_type)
        rounds = [rate(broker, city, count) for _ in range(args.rounds)]
        row: dict[str, Any] = {"size": size, "as": content_type, "workers": count, "readings": city.readings}
        row |= {name: median(each[name] for each in rounds) for name in rounds[0]}
        if count == 1:
            row |= {"ratio": round(row["per_second"] / row["memory_per_second"], 2)}
            row |= {"ratios": [round(each["per_second"] / each["memory_per_second"], 2) for each in rounds]}
        print(json.dumps(row), flush=True)
        rows.append(row)
    return {"benchmark": "kafka-rates", "series": args.series, "rows": rows, "budget": {"ratio": 0.8, "per_second_at_1": 100_000}}


def rate(broker: Kafka, city: City, count: int) -> dict[str, float]:
    """Measure once: so many workers, and beside a single one its references."""
    cluster = topics(broker)
    found = workers(cluster, city, count)
    assert sum(one["accepted"] for one in found) == city.readings, found
    row: dict[str, float] = {"per_second": per_second(found), "steps": sum(one["steps"] for one in found)}
    row |= {"main_cpu_us": cpu_us(found), "cpu_us": cpu_us(found, "cpu")}
    if count == 1:
        held, bare = alone("memory", cluster, city), alone("bare", cluster, city)
        row |= {"memory_per_second": per_second([held]), "memory_main_cpu_us": cpu_us([held]), "memory_steps": held["steps"]}
        row |= {"bare_per_second": per_second([bare]), "bare_cpu_us": cpu_us([bare], "cpu")}
        row |= {"stored_bytes_a_reading": round(held["bytes"] / city.readings)}
    return row


def live(broker: Kafka, args: argparse.Namespace) -> dict[str, Any]:
    """Measure from reading to alert."""
    cluster = topics(broker, stamped=True)

    def worker() -> Callable[[], dict[str, Any]]:
        side = Side.of("live", cluster, City(args.rate, 0, 1), name="w0")
        side.said()
        return side.done

    return {"benchmark": "kafka-latency", **latency(cluster, args.rate, args.seconds, worker), "budget": {"p99_ms": 1000}}


def restore(broker: Kafka, args: argparse.Namespace) -> dict[str, Any]:
    """Judge a city, stop, and let a new worker judge one minute more."""
    city = City(args.state_series, args.state_minutes, 1000, ARROW)
    cluster = topics(broker)
    workers(cluster, city, 1)
    Writer(cluster, PARTITIONS).put(replace(city, minutes=1, first=START + args.state_minutes * MINUTE).records())
    started = time.time()
    side = Side.of("restart", cluster, city, name="w0")
    side.said()
    found = side.said()
    side.process.wait()
    seconds = {"seconds": round(found["ended"] - found["begun"], 2), "seconds_of_the_process": round(found["ended"] - started, 2)}
    return {"benchmark": "kafka-restore", "series": found["series"], **seconds, "budget": {"seconds": 10}}


def peers(broker: Kafka, args: argparse.Namespace) -> dict[str, Any]:
    """Run the peers and the worker on the same messages of one reading."""
    city = City(args.series, args.peer_minutes, 1)
    cluster = topics(broker)
    ours = per_second(workers(cluster, city, 1))
    row: dict[str, Any] = {"benchmark": "kafka-peers", "readings": city.readings, "worker_with_all_rules_per_second": ours}
    for name, python, share in (("faust", sys.executable, 4), ("quix", quix(), 1)):
        with tempfile.TemporaryDirectory() as folder:
            few = str(city.readings // share)
            script = str(ROOT / "tests" / "bench" / "kafka_peers.py")
            words = [python, script, name, cluster.bootstrap, cluster.named(TOPIC), few, folder]
            told = subprocess.run([*ORPHAN, *words], check=True, stdout=subprocess.PIPE, text=True, timeout=600).stdout
        found = json.loads(told.splitlines()[-1])  # a library may greet first
        row |= {
            f"{name}_per_second": found["readings_per_second"],
            f"ratio_to_{name}": round(ours / found["readings_per_second"], 1),
        }
    return row


def quix() -> str:
    """Return a Python that has quixstreams, which does not go with the product's confluent-kafka."""
    python = OUT / "quix" / "bin" / "python"
    if not (OUT / "quix" / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", OUT / "quix"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", QUIX], check=True)
        (OUT / "quix" / ".ready").touch()
    return str(python)


PARTS = {"rates": rates, "latency": live, "restore": restore, "peers": peers}
FULL = {
    "series": 16_000,
    "minutes": 60,
    "rounds": 3,
    "rate": 10_000,
    "seconds": 45,
    "state_series": 100_000,
    "state_minutes": 10,
    "peer_minutes": 15,
}
SMALL = {
    "series": 4_000,
    "minutes": 10,
    "rounds": 1,
    "rate": 1_000,
    "seconds": 8,
    "state_series": 8_000,
    "state_minutes": 3,
    "peer_minutes": 3,
}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few seconds of everything: the figures mean nothing")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    for name, value in FULL.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"default {value:,}")
    args = parser.parse_args()
    for name, value in (SMALL if args.small else FULL).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    os.environ.update({name: value for name, value in JVM.items() if name not in os.environ})
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-kafka-") as folder, Kafka(Path(folder)) as broker:
        for part in args.only.split(","):
            report = PARTS[part](broker, args)
            (OUT / f"{report['benchmark']}{'-small' if args.small else ''}.json").write_text(json.dumps(report, indent=1) + "\n")
            print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
