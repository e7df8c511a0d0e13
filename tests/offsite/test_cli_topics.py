"""`offsite topics` against a real broker, and against three of which one dies."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from connectors.kafka import Cluster
from connectors.kafka_admin import Admin
from offsite.cli import topics
from streams.topics import CATALOGUE, DAY
from tests.conftest import ROOT
from tests.real.kafka import PASSWORD, Ensemble, Kafka, need_kafka

pytestmark = pytest.mark.servers
NOW = time.time_ns() // 1_000_000


@dataclass
class Told:
    """What the command has said."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Told]


@pytest.fixture
def cluster(kafka: Kafka) -> Cluster:
    return kafka.cluster()


def config(cluster: Cluster, folder: Path) -> Path:
    """Write the settings that name a cluster."""
    file = folder / "offsite.toml"
    words = {"bootstrap": cluster.bootstrap, "prefix": cluster.prefix, "security": cluster.security, "ca": cluster.ca}
    words |= {"username": cluster.username, "password": f"file:{folder / 'password'}"} if cluster.username else {}
    (folder / "password").write_text(cluster.password + "\n", encoding="utf-8")
    file.write_text("[kafka]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in words.items()), encoding="utf-8")
    return file


def command(capsys: pytest.CaptureFixture[str], file: Path) -> Run:
    parser = argparse.ArgumentParser()
    topics.add(parser)

    def run(*words: str) -> Told:
        capsys.readouterr()
        code = topics.run(parser.parse_args([*words, "--config", str(file)]))
        return Told(code, *capsys.readouterr())

    return run


@pytest.fixture
def offsite(capsys: pytest.CaptureFixture[str], cluster: Cluster, tmp_path: Path) -> Run:
    return command(capsys, config(cluster, tmp_path))


def test_what_is_missing_is_made_once_and_found_well(offsite: Run, cluster: Cluster) -> None:
    missing = offsite("check", "--json")
    assert missing.code == 1
    assert {(f["topic"], f["found"]) for f in missing.rows} == {(name, "missing") for name in CATALOGUE}
    made = offsite("create", "--partitions", "4", "--json")
    assert made.code == 0
    assert {(f["topic"], f["partitions"]) for f in made.rows} == {
        (cluster.named(t.name), 1 if t.single else 4) for t in CATALOGUE.values()
    }
    assert (offsite("create").out, offsite("create").code) == (
        f"nothing to do: {len(CATALOGUE)} topics are as they should be\n",
        0,
    )
    assert (offsite("check").out, offsite("check", "--json").out) == (f"{len(CATALOGUE)} topics are as they should be\n", "")
    with Admin(cluster) as admin:
        found = admin.topics(CATALOGUE)
    assert found["live-state"].config["cleanup.policy"] == "compact"
    assert {int(found[name].config["retention.ms"]) for name, t in CATALOGUE.items() if t.days} == {14 * DAY}
    assert found["context"].config["message.timestamp.type"] == "LogAppendTime"


def test_what_somebody_changed_is_named_and_set_right(offsite: Run, cluster: Cluster) -> None:
    offsite("create", "--partitions", "2")
    with Admin(cluster) as admin:
        admin.configure("history", {"retention.ms": str(DAY)})
        admin.configure("live-state", {"cleanup.policy": "delete"})
        admin.configure("alerts", {"retention.ms": str(90 * DAY)})
    told = offsite("check")
    assert told.code == 1
    remedy = "run `offsite topics create` with the same options; it sets this and leaves the data alone"
    assert told.out.splitlines() == [
        f"broken: retention of history: retention.ms={DAY}, not retention.ms={14 * DAY} → {remedy}",
        f"broken: compaction of live-state: cleanup.policy=delete, not cleanup.policy=compact → {remedy}",
    ]
    done = offsite("create", "--json")
    assert [(f["topic"], f["done"]) for f in done.rows] == [
        (cluster.named("history"), f"retention.ms={DAY} → retention.ms={14 * DAY}"),
        (cluster.named("live-state"), "cleanup.policy=delete → cleanup.policy=compact"),
    ]
    assert offsite("check").code == 0
    with Admin(cluster) as admin:
        assert admin.topics(["alerts"])["alerts"].config["retention.ms"] == str(90 * DAY)


def test_a_changed_number_of_partitions_is_refused_and_nothing_is_made(offsite: Run, cluster: Cluster) -> None:
    with Admin(cluster) as admin:
        for name in ("sensor-readings", "emission-monitoring", "power-usage"):
            admin.create(name, 2 if name == "power-usage" else 3, 1, {})
        for words in (("create",), ("create", "--partitions", "6")):
            told = offsite(*words)
            assert told.code == 1
            assert "sites would move away from their state" in told.out
            assert "power-usage" in told.out
            assert list(admin.topics(CATALOGUE)) == ["sensor-readings", "emission-monitoring", "power-usage"]
        admin.configure("power-usage", {"retention.ms": str(90 * DAY)})
        [finding] = [f for f in offsite("check", "--json").rows if f["check"] == "partitions"]
        assert (finding["topic"], finding["found"], finding["wanted"]) == ("power-usage", "2", "3")


def test_recorded_input_is_stamped_by_its_producer(offsite: Run, cluster: Cluster) -> None:
    offsite("create", "--partitions", "1", "--producer-time")
    with Admin(cluster) as admin:
        assert admin.topics(["context"])["context"].config["message.timestamp.type"] == "CreateTime"
    assert offsite("check", "--producer-time").code == 0
    assert {f["check"] for f in offsite("check", "--json").rows} == {"log time"}


def behind(cluster: Cluster, topic: str, days: float) -> None:
    """Write two records that were made days ago, of which the group `agents` has read one."""
    producer = Producer(cluster.librdkafka())
    for at in (NOW - int(days * DAY) - 1000, NOW - int(days * DAY)):
        producer.produce(cluster.named(topic), b"v", partition=0, timestamp=at)
    assert producer.flush(20) == 0
    with closing(Consumer(cluster.librdkafka(group_id=cluster.named("agents")))) as consumer:
        consumer.commit(offsets=[TopicPartition(cluster.named(topic), 0, 1)], asynchronous=False)


def test_lag_tells_how_old_the_oldest_unread_record_is(offsite: Run, cluster: Cluster) -> None:
    offsite("create", "--partitions", "1")
    assert offsite("lag", "--json").rows == []
    behind(cluster, "history", 1)
    told = offsite("lag", "--json")
    [row] = told.rows
    assert told.code == 0
    assert (row["group"], row["topic"], row["partition"], row["end"], row["committed"], row["lag"]) == (
        "agents",
        "history",
        0,
        2,
        1,
        1,
    )
    assert 86_400 <= row["age_s"] < 86_400 + 3600
    assert offsite("lag").out.split()[:8] == list(topics.LAG)
    assert offsite("check").code == 0
    assert offsite("lag", "--group", "nobody", "--json").rows == []


def test_an_archive_far_behind_is_a_warning_and_its_topic_is_kept_longer(offsite: Run, cluster: Cluster) -> None:
    offsite("create", "--partitions", "1")
    behind(cluster, "history", 8)
    checked = offsite("check", "--json")
    assert checked.code == 0
    [warning] = checked.rows
    assert (warning["grade"], warning["topic"]) == ("warning", "history")
    assert "agents is 8.0 days behind in history-0" in warning["found"]
    assert "lag --extend" in warning["remedy"]
    assert "lag --extend" in offsite("lag").out
    assert offsite("lag", "--extend", "--json").rows[1:] == [{"topic": cluster.named("history"), "kept_days": 17}]
    assert offsite("lag", "--extend", "--json").rows[1:] == []
    assert offsite("check").out == f"{len(CATALOGUE)} topics are as they should be\n"


def test_numbers_that_cannot_be_and_a_cluster_that_is_not_there(
    offsite: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "at most --replication" in offsite("create", "--min-isr", "2").err
    assert "only 1 broker" in offsite("create", "--replication", "3").err
    none = command(capsys, config(Cluster(""), tmp_path))("check")
    assert (none.code, none.err) == (
        1,
        "offsite topics check: kafka.bootstrap: is empty; name some brokers as host:port, separated by commas\n",
    )


def test_through_tls_with_a_password(kafka: Kafka, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cluster = kafka.cluster(security="SASL_SSL")
    run = command(capsys, config(cluster, tmp_path))
    assert run("create", "--partitions", "1").code == 0
    assert run("check").code == 0
    (tmp_path / "password").write_text("wrong", encoding="utf-8")
    told = run("check")
    assert told.code == 1
    assert "lets nobody in" in told.err
    assert PASSWORD not in told.err
    assert "wrong" not in told.err


def alone(file: Path) -> Run:
    """Run the command in a process of its own: kafka-python leaves the sockets of a broker that is away to the end of it."""
    code = "import argparse, sys; from offsite.cli import topics; p = argparse.ArgumentParser(); topics.add(p); "
    code += "sys.exit(topics.run(p.parse_args()))"

    def run(*words: str) -> Told:
        call = [sys.executable, "-c", code, *words, "--config", str(file)]
        done = subprocess.run(call, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
        return Told(done.returncode, done.stdout, done.stderr)

    return run


def test_three_brokers_hold_three_copies_and_one_may_die(tmp_path: Path) -> None:
    need_kafka()
    with Ensemble(tmp_path / "kafka") as brokers:
        cluster = brokers.cluster()
        run = alone(config(cluster, tmp_path))
        assert run("create", "--partitions", "3").code == 0
        with Admin(cluster) as admin:
            alerts = admin.topics(["alerts"])["alerts"]
        assert (alerts.replication, alerts.config["min.insync.replicas"]) == (3, "2")
        brokers.kill(2)
        producer = Producer(cluster.librdkafka(acks="all"))
        producer.produce(cluster.named("alerts"), b"v")
        assert producer.flush(60) == 0
        deadline = time.monotonic() + 60
        while not (told := run("check")).out.startswith("warning") and time.monotonic() < deadline:
            time.sleep(0.2)  # the cluster notices a dead broker by its session
        assert told.code == 0
        assert all("brokers 2 are missing, not all replicas → start the brokers 2" in line for line in told.out.splitlines())
        brokers.start(2)
        while (told := run("check")).out.startswith("warning") and time.monotonic() < deadline:
            time.sleep(0.2)
        assert told.out == f"{len(CATALOGUE)} topics are as they should be\n"
