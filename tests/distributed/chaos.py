"""The product on three brokers, PostgreSQL and InfluxDB under a steady load, and everything that is done to it meanwhile."""

from __future__ import annotations

import json
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Producer

from connectors.kafka import Cluster, partition_of
from streams import registry as registries
from tests.distributed.chaos_keeper import Keeper
from tests.distributed.chaos_load import JSON_TOPICS, Load, Sent, registry
from tests.distributed.chaos_progress import AGENTS, PARTITIONS, Progress
from tests.distributed.product import Process, Product, Supervised, until
from tests.real.influx import InfluxServer
from tests.real.kafka import Ensemble
from tests.real.postgres import Postgres

SESSION_MS = 6000
DEVICES, PRODUCERS = 40, 4
MOMENT_S = 0.5
"""After it there is something in the log that only a successor can judge."""
BUCKET = "chaos"
PLANTED = Path(__file__).parent / "planted"
MARKED = "w1"
"""The worker in which the judge can be made to fail."""


@dataclass(slots=True)
class Outcome:
    """What a run did: counts, seconds until each fault was made good, and all that is needed to check what it left."""

    cluster: Cluster
    desk_url: str
    archive: str
    influx: InfluxServer
    sent: Sent
    planted: list[str]
    """Reasons of the dead letters that were planted."""
    judge_failed: bool
    restarts: dict[str, int] = field(default_factory=dict)
    recovery: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class World:
    """Everything that runs. Use it in a `with` block. `speed` is that of event time, `linger_s` how long the archive waits for more."""

    def __init__(self, folder: Path, postgres: Postgres, influx: InfluxServer, *, speed: float, linger_s: float) -> None:
        self.folder, self.postgres, self.influx = folder, postgres, influx
        self.keeper = Keeper()
        self.brokers = Ensemble(folder / "kafka")
        self.workers: dict[str, Supervised] = {}
        self.recovery: dict[str, list[float]] = defaultdict(list)
        self.planted: list[str] = []
        self.marker = folder / "fail-once"
        self._speed, self._linger_s = speed, linger_s
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            opening.callback(self.keeper.close)
            opening.callback(self.brokers.kill)
            self.keeper.do(self.brokers.start)
            self.cluster = self.brokers.cluster()
            token = self.folder / "token"
            token.write_text(self.influx.token)
            influx = (
                f'[influx]\nurl = "{self.influx.url}"\norg = "{self.influx.org}"\nbucket = "{BUCKET}"\ntoken = "file:{token}"\n'
            )
            self.desk_url = self.postgres.url()
            self.product = opening.enter_context(Product(self.folder / "product", self.cluster, self.desk_url, influx))
            self._prepare()
            self.progress = Progress(self.cluster)
            opening.callback(self.progress.close)
            self._start(opening)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _prepare(self) -> None:
        registries.save(registry(DEVICES, PRODUCERS), self.folder / "registry")
        for words in (
            ("topics", "create", "--partitions", str(PARTITIONS), "--replication", "3", "--min-isr", "2"),
            ("db", "upgrade"),
            ("registry", "publish", "--registry", str(self.folder / "registry")),
        ):
            done = self.product.command(*words)
            assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"

    def _start(self, opening: ExitStack) -> None:
        self.gateway: Process = self.product.process("gateway", "g1")
        own = {"PYTHONPATH": str(PLANTED), "CHAOS_LINGER_S": str(self._linger_s)}
        self.agents: Supervised = self.product.process("agents", "a1", kind=Supervised, **own)
        self.keeper.do(self.gateway.launch)
        self.keeper.keep(self.agents)
        for name in ("w1", "w2"):
            self.join(name)
        port = self.gateway.ready()["ready"]["hj212"]
        self.load = Load(self.cluster, port, partitions=PARTITIONS, devices=DEVICES, producers=PRODUCERS, speed=self._speed)
        opening.callback(self.load.close)
        self.load.begin()
        until(lambda: self.progress.judged(dict.fromkeys(self.progress.ends(), 1)), 90, "judging of every partition")

    # --- what is done to it

    def join(self, name: str) -> None:
        """Start a worker under a name of its own."""
        own = {"PYTHONPATH": str(PLANTED), "CHAOS_MARKER": str(self.marker)} if name == MARKED else {}
        process = self.product.process("worker", name, "--session-ms", str(SESSION_MS), kind=Supervised, **own)
        self.workers[name] = process
        self.keeper.keep(process)

    def kill_worker(self, name: str) -> None:
        with self.judged_again("SIGKILL of a worker"):
            self.workers[name].send(signal.SIGKILL)

    def replace_worker(self, name: str, by: str) -> None:
        with self.judged_again("SIGTERM of a worker, another in its place"):
            code = self.keeper.leave(self.workers.pop(name))
            assert code == 0, f"{name} ended with {code} at SIGTERM"
            self.join(by)

    def add_worker(self, name: str) -> None:
        with self.judged_again("a worker joins"):
            self.join(name)

    def sleep_worker(self, name: str, seconds: float) -> None:
        """Stop a worker for longer than its session; woken in a step it can't commit and ends, woken between two it joins anew."""
        since = time.monotonic()
        with self.judged_again("SIGSTOP of a worker beyond its session"):
            self.workers[name].send(signal.SIGSTOP)
        time.sleep(max(0.0, since + seconds - time.monotonic()))
        with self.judged_again("SIGCONT of a worker that was replaced"):
            self.workers[name].send(signal.SIGCONT)

    def fail_judge(self) -> None:
        with self.judged_again("an exception in the judge"):
            self.marker.touch()
            until(lambda: not self.marker.exists(), 60, "the planted failure")

    @contextmanager
    def without_broker(self, node: int, seconds: float) -> Iterator[None]:
        """Kill a broker; start it again after so long at least."""
        since = time.monotonic()
        with self.judged_again("SIGKILL of a broker"):
            self.brokers.kill(node)
        yield
        time.sleep(max(0.0, since + seconds - time.monotonic()))
        with self.judged_again("return of a broker"):
            self.keeper.do(lambda: self.brokers.start(node))

    def kill_agents(self) -> None:
        self.agents.send(signal.SIGKILL)
        self.recovery["SIGKILL of the agents"].append(self.progress.caught_up(AGENTS))

    def without_postgres(self, seconds: float) -> AbstractContextManager[None]:
        """Stop PostgreSQL for at least so long."""
        return self._without(self.postgres.stop, self.postgres.start, "PostgreSQL away", seconds, ("agents-desk",))

    def without_influx(self, seconds: float) -> AbstractContextManager[None]:
        """Stop InfluxDB for at least so long."""
        return self._without(self.influx.stop, self.influx.start, "InfluxDB away", seconds, ("agents-influx",))

    @contextmanager
    def _without(
        self, stop: Callable[[], None], start: Callable[[], None], what: str, seconds: float, groups: Iterable[str]
    ) -> Iterator[None]:
        since = time.monotonic()
        stop()
        try:
            yield
            time.sleep(max(0.0, since + seconds - time.monotonic()))
        finally:
            start()
        self.recovery[what].append(self.progress.caught_up(groups))

    def plant_letters(self) -> None:
        """Write two messages to Kafka that can't be judged, as a faulty producer would."""
        producer = Producer(self.cluster.librdkafka(acks="all"))
        right = partition_of("J0", PARTITIONS)
        for reason, body, partition in (("wrong_partition", b"[]", (right + 1) % PARTITIONS), ("bad_json", b'[{"site":', right)):
            producer.produce(
                self.cluster.named(JSON_TOPICS[0]), body, b"J0", partition, headers={"content-type": "application/json"}
            )
            self.planted.append(reason)
        assert producer.flush(20) == 0

    @contextmanager
    def judged_again(self, what: str) -> Iterator[None]:
        """Do something; note how long it took until all that was in the log a moment after it was judged."""
        since = time.monotonic()
        yield
        time.sleep(MOMENT_S)
        ends = self.progress.ends()
        try:
            until(lambda: self.progress.judged(ends), 120)
        except AssertionError as error:
            raise AssertionError(f"not judged 120 s after {what}: {ends}\n{self._stacks()}") from error
        self.recovery[what].append(round(time.monotonic() - since, 2))

    def _stacks(self) -> str:
        """Return what each worker said last, and what it was doing."""
        for process in self.workers.values():
            process.send(signal.SIGCONT)
            process.send(signal.SIGABRT)
        time.sleep(1)
        return "\n".join(f"{name}:\n{process.log()}" for name, process in self.workers.items())

    # --- the end

    def rest(self) -> Outcome:
        """End the load; let everything be judged, kept and shown; stop all processes; return what came of it."""
        began = time.monotonic()
        sent = self.load.finish(120)
        restarts = {process.name: process.restarts for process in [*self.workers.values(), self.agents]}
        until(self.progress.all_judged, 180, "judging of all that was acknowledged")
        judged = time.monotonic() - began
        for process in list(self.workers.values()):
            assert self.keeper.leave(process) == 0, process.log()
        until(self.progress.all_kept, 180, "keeping of all that was judged")
        assert self.keeper.leave(self.agents) == 0, self.agents.log()
        assert self.gateway.end() == 0, self.gateway.log()
        failed = "ZeroDivisionError: planted" in (self.product.folder / f"{MARKED}.log").read_text(errors="replace")
        archive = str(self.product.folder / "archive")
        seconds = {"until_judged": round(judged, 1), "until_kept": round(time.monotonic() - began, 1)}
        return Outcome(
            self.cluster,
            self.desk_url,
            archive,
            self.influx,
            sent,
            self.planted,
            failed,
            restarts,
            dict(self.recovery),
            seconds,
        )


def report(outcome: Outcome, counts: dict[str, Any]) -> str:
    """Return the line for docs/benchmarks.md."""
    told = {"recovery_s": outcome.recovery, "restarts": outcome.restarts, "slowest_answer_s": round(outcome.sent.slowest, 2)}
    return json.dumps({"chaos": counts | told | outcome.seconds}, ensure_ascii=False)
