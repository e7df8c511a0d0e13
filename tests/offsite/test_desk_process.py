"""`offsite desk` on a real PostgreSQL and a real broker: what people do is on the pages, in the database and on the topics."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import orjson
import pytest
from jsonschema import Draft202012Validator

from cases.store import Desk
from connectors.kafka import Cluster
from offsite import kafka_registry
from offsite.data_dir import now
from streams.contracts.outputs import case_event
from streams.records import CONTEXT
from streams.registry_model import Factor, Person, Point, Registry, Site
from streams.topics import CASE_EVENTS
from tests.cases.made import alert, lead, outputs
from tests.conftest import ROOT
from tests.real.kafka import Kafka
from tests.real.postgres import Postgres
from tests.streams.kafka_world import everything, make_topics

pytestmark = pytest.mark.servers
PARTITIONS = 2
REGISTRY = Registry(
    (Site("S1", "示范企业"),),
    (Point("S1", "DA001", "gas", mn="MN0001"),),
    (Factor("S1", "DA001", "a21026"),),
    people=(Person("li", "李值班", "operator"), Person("wang", "王组长", "shift_lead")),
)


@dataclass
class Running:
    """A running desk: its process, its port, and how one asks it."""

    process: subprocess.Popen[str]
    port: int

    def ask(self, path: str, body: dict[str, Any] | None = None, person: str = "li") -> tuple[int, Any]:
        headers = {"content-type": "application/json", "x-offsite-person": person}
        data = None if body is None else json.dumps(body).encode()
        try:
            with urlopen(Request(f"http://127.0.0.1:{self.port}{path}", data, headers), timeout=30) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)


def until(true: Callable[[], Any], seconds: float = 40) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found
    return found


def command(config: Path) -> list[str]:
    return [
        sys.executable,
        "-c",
        "import sys; from offsite.cli import VERBS, main; VERBS.setdefault('desk', ''); sys.exit(main(sys.argv[1:]))",
        "desk",
        "--config",
        str(config),
    ]


@pytest.fixture(scope="module")
def cluster(kafka: Kafka) -> Cluster:
    made = kafka.cluster()
    make_topics(made, PARTITIONS)
    kafka_registry.publish(made, REGISTRY, PARTITIONS)
    return made


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.url()


@pytest.fixture
def config(cluster: Cluster, url: str, tmp_path: Path) -> Path:
    file = tmp_path / "offsite.toml"
    file.write_text(
        f'data = "{tmp_path}/data"\ndesk_port = 0\ndesk_url = "{url}"\n'
        f'[kafka]\nbootstrap = "{cluster.bootstrap}"\nprefix = "{cluster.prefix}"\n'
    )
    return file


@pytest.fixture
def running(config: Path) -> Iterator[Running]:
    process = subprocess.Popen(command(config), stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    made = Running(process, json.loads(process.stdout.readline())["desk"])
    try:
        until(lambda: {"li", "wang"} <= {one["person"] for one in made.ask("/api/v1/people")[1]["people"]})
        yield made
    finally:
        process.terminate()
        code = process.wait(30)
        process.stdout.close()
    assert code == 0


def values(cluster: Cluster, topic: str) -> list[dict[str, Any]]:
    found = everything(cluster, topic)
    assert all(m.key() == b"S1" for m in found if orjson.loads(m.value())["kind"] != "registry")
    return [body for m in found if (body := orjson.loads(m.value()))["kind"] != "registry"]


def test_from_the_judges_output_to_the_topics(running: Running, cluster: Cluster, url: str) -> None:
    with Desk(url, clock=now, migrate=False) as agents:  # they project into the same database
        agents.project(outputs(alert("a1", at=now()), alert("a2", 2, at=now()), lead("l1", 3, at=now(), auto_case=True)))
        agents.note_judged(0, 1_000_000, {"readings.received": 5, "readings.accepted": 5})
        agents.note_judged(1, 2_000_000, {"readings.received": 2, "readings.refused": 2})

    code, found = running.ask("/api/v1/alerts")
    assert (code, {one["id"] for one in found["alerts"]}) == (200, {"a1", "a2"})
    assert found["alerts"][0]["site_name"] == "示范企业"
    assert running.ask("/api/v1/sites/S1")[1]["points"][0]["factors"][0]["name_zh"] == "二氧化硫"
    assert running.ask("/api/v1/alerts/a1/series")[0] == 200
    books = running.ask("/api/v1/books")[1]
    assert (books["readings"]["received"], books["readings"]["refused"], books["cases"]) == (7, 2, 1)
    assert running.ask("/api/v1/summary")[1]["clock"]["judged"] == 1_000_000
    (device,) = running.ask("/api/v1/devices")[1]["devices"]
    assert (device["mn"], device["site"], device["online"]) == ("MN0001", "S1", None)

    assert running.ask("/api/v1/alerts/a1/actions", {"action": "ack"})[0] == 200
    assert running.ask("/api/v1/alerts/a1/actions", {"action": "close", "reason": "false_alarm"})[0] == 200
    assert running.ask("/api/v1/alerts/a1/actions", {"action": "close", "reason": "false_alarm"})[0] == 409
    (verdict,) = until(lambda: values(cluster, CONTEXT))
    assert (verdict["kind"], verdict["body"]["alert"], verdict["body"]["close_reason"]) == ("verdict", "a1", "false_alarm")
    told = until(lambda: len(lines := values(cluster, CASE_EVENTS)) >= 3 and lines)
    assert [(one["kind"], one["action"], one["by"]) for one in told] == [
        ("case", "open", "system"),
        ("alert", "ack", "li"),
        ("alert", "close", "li"),
    ]
    assert [one["seq"] for one in told] == sorted({one["seq"] for one in told})
    for one in told:
        Draft202012Validator(case_event()).validate(one)
    with Desk(url, clock=now, migrate=False) as desk:
        until(lambda: desk.outgoing("context") == desk.outgoing("case-events") == [])


def test_a_database_that_goes_away_and_comes_back(running: Running, cluster: Cluster, postgres: Postgres, url: str) -> None:
    already = len(values(cluster, CASE_EVENTS))
    with Desk(url, clock=now, migrate=False) as agents:
        agents.project(outputs(*(alert(f"b{k}", k, at=now()) for k in range(1, 31))))
    confirmed = [k for k in range(1, 16) if running.ask(f"/api/v1/alerts/b{k}/actions", {"action": "ack"})[0] == 200]
    postgres.stop("immediate")
    _, problem = until(lambda: (found := running.ask("/api/v1/alerts/b16/actions", {"action": "ack"}))[0] == 503 and found)
    assert "not reachable" in problem["detail"]
    assert running.ask("/readyz")[0] == 503
    assert running.ask("/healthz")[0] == 200
    postgres.start()
    until(lambda: running.ask("/readyz")[0] == 200)
    confirmed += [k for k in range(16, 31) if running.ask(f"/api/v1/alerts/b{k}/actions", {"action": "ack"})[0] == 200]
    assert len(confirmed) == 30
    assert running.process.poll() is None
    with Desk(url, clock=now, migrate=False) as desk:
        assert {one["id"] for one in desk.alerts(state="acked")} == {f"b{k}" for k in confirmed}
        until(lambda: desk.outgoing("case-events") == [])
    told = values(cluster, CASE_EVENTS)[already:]
    latest: dict[str, int] = {}
    taken = [one for one in told if one["seq"] > latest.get(one["site"], 0) and not latest.update({one["site"]: one["seq"]})]
    assert [one["subject"] for one in taken] == [f"b{k}" for k in confirmed]


def test_a_desk_waits_for_its_database_and_ends_when_told(config: Path, postgres: Postgres) -> None:
    postgres.stop()
    process = subprocess.Popen(command(config), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stderr is not None
    try:
        assert "not reachable" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()
        postgres.start()


def test_what_needs_a_person_ends_it_with_the_remedy(config: Path, kafka: Kafka, url: str) -> None:
    ended = subprocess.run(
        command(config), capture_output=True, text=True, cwd=ROOT, timeout=60, check=False, env={"OFFSITE_DESK_URL": url + "x"}
    )
    assert (ended.returncode, "check user, password and database name in desk_url" in ended.stderr) == (1, True)
    config.write_text(config.read_text().replace("prefix", "prefix = 'nothing.'\n#"))
    ended = subprocess.run(command(config), capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert (ended.returncode, "offsite topics create" in ended.stderr) == (1, True)
