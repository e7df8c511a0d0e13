"""Real Kafka brokers on this machine, started by deploy/kafka/kafka.sh: one for the session, and clusters of three to be broken."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Self

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connectors.kafka import Cluster
from tests.conftest import ROOT, need
from tests.real.certs import Certs, make

SCRIPT = ROOT / "deploy" / "kafka" / "kafka.sh"
USER, PASSWORD = "offsite", "geheim-1"
START_S = 180
"""How long a start may take on a busy machine; one takes about 6 s on an idle one."""
QUICK = {
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.num.partitions": 4,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    "group.consumer.min.session.timeout.ms": 1000,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
    "broker.session.timeout.ms": 4000,
    "broker.heartbeat.interval.ms": 500,
    "num.network.threads": 2,
    "num.io.threads": 4,
    "log.cleaner.dedupe.buffer.size": 8 << 20,
    "log.cleaner.backoff.ms": 1000,
}
"""Small and quick to notice: for tests only."""
ORPHAN = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
"""A broker ends with the thread that started it: a test run that is killed leaves none behind."""
JVM = {
    "KAFKA_HEAP_OPTS": "-Xms128m -Xmx512m",
    "KAFKA_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dkafka.log=WARN",
}
"""Small and soon started; the environment of a benchmark is stronger."""


def pytest_configure(config: pytest.Config) -> None:
    """Let kafka-python read its schemas by a function that Python 3.11 and 3.12 warn of (3.13 does not)."""
    config.addinivalue_line("filterwarnings", "ignore:(read|open)_text is deprecated:DeprecationWarning")


def free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago."""
    with ExitStack() as held:
        sockets = [held.enter_context(closing(socket.socket())) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Node:
    """One broker process with its folder, its settings and its log; it can be ended in every way and started again."""

    def __init__(self, folder: Path, settings: Mapping[str, object], environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._words = [f"{key}={value}" for key, value in settings.items()]
        self._environment = JVM | os.environ | environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns at once. The calling thread has to outlive it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*ORPHAN, "bash", SCRIPT, "start", self.folder, *self._words], env=self._environment, stdout=log, stderr=log
            )

    def send(self, number: signal.Signals) -> None:
        """Send a signal: SIGSTOP, SIGCONT …"""
        assert self.process is not None, "the broker was never started"
        self.process.send_signal(number)

    def end(self, number: signal.Signals) -> None:
        """End it by a signal and wait; nothing happens if it has ended."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)  # a stopped process would not hear SIGTERM
            self.process.send_signal(number)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def log(self) -> str:
        """Return the end of its log."""
        return (self.folder / "broker.log").read_text(encoding="utf-8", errors="replace")[-4000:]


class Ensemble:
    """A KRaft cluster of `size` nodes, each broker and controller; with three: replication 3, two in-sync replicas needed.

    Listeners on each node: plain, TLS with client certificates, and TLS with SCRAM-SHA-512. The folder is the caller's.
    """

    def __init__(self, folder: Path, size: int = 3, *, certs: Certs | None = None, **settings: object) -> None:
        self.folder, self.size = folder, size
        folder.mkdir(parents=True, exist_ok=True)
        if certs is None:
            (folder / "certs").mkdir(exist_ok=True)
            certs = make(folder / "certs")
        self.certs = certs
        self._ports = [free_ports(4) for _ in range(size)]
        users = folder / "users"
        users.write_text(f"{USER}:{PASSWORD}\n", encoding="utf-8")
        environment = {"KAFKA_USERS": str(users), "KAFKA_CLUSTER_ID": f"t{secrets.token_urlsafe(16)[:21]}"}
        named = {key.replace("_", "."): value for key, value in settings.items()}
        self.nodes = [Node(folder / f"node{n + 1}", self._settings(n) | QUICK | named, environment) for n in range(size)]

    def _settings(self, n: int) -> dict[str, object]:
        plain, tls, sasl, controller = self._ports[n]
        voters = ",".join(f"{i + 1}@127.0.0.1:{ports[3]}" for i, ports in enumerate(self._ports))
        copies = min(3, self.size)
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        return {
            "node.id": n + 1,
            "listeners": f"PLAINTEXT://127.0.0.1:{plain},SSL://127.0.0.1:{tls},"
            f"SASL_SSL://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL",
            "controller.quorum.voters": voters,
            "inter.broker.listener.name": "PLAINTEXT",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.certs.server_pem,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.certs.ca,
            "listener.name.ssl.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": scram,
            "default.replication.factor": copies,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": 2 if copies == 3 else 1,
            "min.insync.replicas": 2 if copies == 3 else 1,
        }

    def _bootstrap(self, listener: int) -> str:
        return ",".join(f"127.0.0.1:{ports[listener]}" for ports in self._ports)

    @property
    def bootstrap(self) -> str:
        """The plain listeners of all nodes."""
        return self._bootstrap(0)

    def cluster(self, prefix: str | None = None, security: str = "PLAINTEXT") -> Cluster:
        """Return the cluster for clients, by default with a prefix of its own: PLAINTEXT, SSL (client certificate) or SASL_SSL."""
        prefix = f"t{secrets.token_hex(4)}." if prefix is None else prefix
        ca = str(self.certs.ca)
        if security == "SSL":
            own = {"cert": str(self.certs.client_cert), "key": str(self.certs.client_key)}
            return Cluster(self._bootstrap(1), prefix, security, ca, **own)
        if security == "SASL_SSL":
            return Cluster(self._bootstrap(2), prefix, security, ca, username=USER, password=PASSWORD)
        return Cluster(self.bootstrap, prefix)

    def start(self, node: int | None = None) -> Self:
        """Start a node (1 …), or all; returns once every running node serves."""
        for one in self.nodes if node is None else [self.nodes[node - 1]]:
            one.start()
        self.wait()
        return self

    def kill(self, node: int | None = None) -> None:
        """SIGKILL a node, or all."""
        self._end(node, signal.SIGKILL)

    def stop(self, node: int | None = None) -> None:
        """End a node, or all, in good order."""
        self._end(node, signal.SIGTERM)

    def _end(self, node: int | None, number: signal.Signals) -> None:
        chosen = self.nodes if node is None else [self.nodes[node - 1]]
        if node is None:
            for one in chosen:
                if one.process is not None and not one.ended:
                    one.send(number)
        for one in chosen:
            one.end(number)

    def wait(self) -> None:
        """Return once every running node is known to the cluster and has caught up with it."""
        running = {n + 1 for n, one in enumerate(self.nodes) if one.process is not None and not one.ended}
        deadline = time.monotonic() + START_S
        client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 500})
        while True:
            for n in running:
                if self.nodes[n - 1].ended:
                    pytest.fail(f"broker {n} ended by itself:\n{self.nodes[n - 1].log()}")
            try:
                if running <= set(client.list_topics(timeout=2).brokers):
                    return
            except KafkaException:
                pass
            if time.monotonic() > deadline:
                pytest.fail(f"Kafka does not serve after {START_S} s:\n" + "\n".join(one.log() for one in self.nodes))
            time.sleep(0.1)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


class Kafka(Ensemble):
    """A cluster of one broker."""

    def __init__(self, folder: Path, *, certs: Certs | None = None, **settings: object) -> None:
        super().__init__(folder, 1, certs=certs, **settings)


def need_kafka() -> None:
    """Skip where Kafka can't be had; with CI=1 that is a failure."""
    need(shutil.which("java"), "Java 17 or later")
    need(list((ROOT / "build" / "kafka" / "lib").glob("kafka_2.13-*.jar")) or shutil.which("mvn"), "Maven, which fetches Kafka")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory, certs: Certs) -> Iterator[Kafka]:
    """Give one broker for the whole session; nobody may stop it."""
    need_kafka()
    with Kafka(tmp_path_factory.mktemp("kafka"), certs=certs) as broker:
        yield broker
