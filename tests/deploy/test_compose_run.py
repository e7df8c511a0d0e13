"""deploy/compose.yaml at work, without Docker: its commands as processes of this machine, from a device's frame to the desk and down.

Left out is Grafana alone, for which there is no package; what it is given is checked in test_compose.py.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from connectors.hj212.commands import build
from tests.conftest import ROOT, need
from tests.deploy.compose_file import find, read, variables_of
from tests.deploy.compose_local import Container, Project
from tests.real.influx import find_influxd
from tests.real.kafka import JVM, SCRIPT, need_kafka

pytestmark = pytest.mark.servers
DEPLOY = ROOT / "deploy"
PATIENCE_S = 90
CHINA = timezone(timedelta(hours=8))
REGISTRY = {
    "sites": "site,name\nS1,示范锅炉\n",
    "points": "site,point,medium,mn\nS1,DA001,gas,MN0000000001\n",
    "limits": "site,point,factor,period,limit,unit,source\nS1,DA001,a21026,hour,50,mg/m3,permit\n",
    "people": "person,name,role\nli,李值班,operator\n",
}
SERVER_USER = "postgres" if os.geteuid() == 0 else None
"""PostgreSQL refuses to run as root."""
POSTGRES = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
OWN = {
    "/opt/offsite/deploy/setup.py": str(DEPLOY / "influxdb" / "setup.py"),
    "/opt/offsite/deploy/relay.py": str(DEPLOY / "compose" / "relay.py"),
}


def made_database(container: Container, environment: dict[str, str]) -> None:
    """Do what the image of PostgreSQL does before the server: make the cluster and the database."""
    data, user = container.folder.parent / "volumes" / "postgres", environment["POSTGRES_USER"]
    environment |= {"PGDATA": str(data)}
    if SERVER_USER:
        shutil.chown(data, SERVER_USER)
    password = ["-U", user, "--pwfile", environment["POSTGRES_PASSWORD_FILE"], "--no-sync"]
    as_server = {"capture_output": True, "user": SERVER_USER, "cwd": "/"}
    initdb, postgres = (str(find(name, *POSTGRES)) for name in ("initdb", "postgres"))
    subprocess.run([initdb, "-D", data, *password, *environment["POSTGRES_INITDB_ARGS"].split()], check=True, **as_server)
    statement = f"CREATE DATABASE {environment['POSTGRES_DB']}\n".encode()
    subprocess.run([postgres, "--single", "-D", data, "postgres"], input=statement, check=True, **as_server)
    with (data / "postgresql.conf").open("a") as settings:
        settings.write(f"unix_socket_directories = '{data}'\n")


def given_volume(container: Container, environment: dict[str, str]) -> None:
    """Do what the image of Mosquitto is built with: its volume belongs to the account that a broker started by root takes on."""
    if os.geteuid() == 0:
        shutil.chown(container.folder.parent / "volumes" / "mosquitto", "mosquitto")


def programs() -> dict[str, list[str]]:
    """Return name in the file → words here; a missing one is told."""
    need_kafka()
    found = {name: find(name, *POSTGRES) for name in ("prometheus", "postgres", "pg_isready", "mosquitto", "curl")}
    for name, path in found.items():
        need(path, name)
    own = {
        "offsite": [str(Path(sys.executable).parent / "offsite")],
        "python": [sys.executable],
        "kafka.sh": ["env", f"KAFKA_OPTS={JVM['KAFKA_OPTS']}", "bash", str(SCRIPT)],
        "influxd": [str(find_influxd())],
    }
    return own | {name: [str(path)] for name, path in found.items()}


@pytest.fixture
def project() -> Iterator[Callable[[str], Project]]:
    """Give what makes a project of an env file; at the end nothing of it is left."""
    need(find_spec("yaml"), "PyYAML")
    made = []
    with tempfile.TemporaryDirectory(prefix="compose", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        folder.chmod(0o711)
        (folder / "registry").mkdir()
        for name, text in REGISTRY.items():
            (folder / "registry" / f"{name}.csv").write_text(text, encoding="utf-8")
        subprocess.run([DEPLOY / "compose" / "secrets.sh", folder / "secrets"], check=True)
        (folder / "secrets").chmod(0o711)  # a mounted secret is reached past its directory

        def of(env: str) -> Project:
            variables = variables_of(DEPLOY / "compose" / env) | {"OFFSITE_REGISTRY": str(folder / "registry")}
            made.append(
                Project(
                    services=read(DEPLOY / "compose.yaml", variables)["services"],
                    base=DEPLOY,
                    folder=folder,
                    secrets=folder / "secrets",
                    programs=programs(),
                    files=OWN,
                    prepare={"postgres": made_database, "mosquitto": given_volume},
                    users={"postgres": SERVER_USER} if SERVER_USER else {},
                    profiles=(*variables["COMPOSE_PROFILES"].split(","), "mqtt"),
                )
            )
            return made[-1]

        yield of
        for one in made:
            one.down()


def hour_frames(now: datetime) -> Iterator[bytes]:
    """Yield three hourly means, six times the limit; the last is of the hour that runs, which is in time at every minute."""
    last = now.astimezone(CHINA).replace(minute=0, second=0, microsecond=0)
    for back in (2, 1, 0):
        at = last - timedelta(hours=back)
        area = f"DataTime={at:%Y%m%d%H%M%S};a21026-Avg=300,a21026-Flag=N"
        qn = f"{now.astimezone(CHINA):%Y%m%d%H%M%S}{back:03d}"
        yield build(st="31", cn="2061", pw="123456", mn="MN0000000001", qn=qn, flag=5, area=area)


def sent(port: int, frames: Iterator[bytes]) -> int:
    """Send frames one after the other as a device does; return how many were acknowledged (9014)."""
    acknowledged = 0
    with closing(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)) as device:
        for frame in frames:
            device.sendall(frame)
            heard = b""
            while not heard.endswith(b"\r\n"):
                heard += device.recv(4096)
            acknowledged += b"CN=9014" in heard
    return acknowledged


def asked(port: int, path: str) -> Any:
    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return json.load(answer)


def until(true: Callable[[], Any], every: float = 0.2) -> Any:
    """Ask again and again; returns the first answer that is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := true()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(every)
    return found


def test_a_frame_over_the_limit_becomes_an_alert_on_the_desk_and_all_ends_in_good_order(
    project: Callable[[str], Project],
) -> None:
    compose = project("one.env")
    compose.up(lambda name: name != "grafana")
    assert "published to 12 partitions" in compose.run("registry")

    desk, gateway = compose.port("desk", 8214), compose.port("gateway", 9212)
    until(lambda: any(one["mn"] == "MN0000000001" for one in asked(desk, "/api/v1/devices")["devices"]))

    def exceeding() -> list[dict[str, Any]]:
        """Send as a device does that repeats itself, and look at the desk."""
        assert sent(gateway, hour_frames(datetime.now(UTC))) == 3
        return [one for one in asked(desk, "/api/v1/alerts")["alerts"] if one["rule"] == "exceed-hour"]

    found = until(exceeding, every=2)
    assert {(one["site"], one["point"], one["factor"]) for one in found} == {("S1", "DA001", "a21026")}
    assert compose.containers["mosquitto"][0].restarts == 0
    assert asked(compose.port("prometheus", 9090), "/api/v1/rules")["data"]["groups"]

    assert compose.down() == []


def test_three_brokers_take_the_topics_with_three_copies(project: Callable[[str], Project]) -> None:
    compose = project("three.env")
    compose.up(lambda name: name.startswith("kafka") or name == "topics")
    [topics] = compose.containers["topics"]
    checked = topics.service | {"command": [*topics.service["command"][:2], "check", *topics.service["command"][3:5]]}
    done = subprocess.run(
        compose.words(topics, checked["command"]), env=compose.environment(topics), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    late = compose.down()
    assert len(late) <= 1, "the last of a quorum cannot leave in good order: Docker ends it after its grace period"
