"""deploy/compose.yaml as written: health, limits, secrets, versions, and commands that the product understands. Nothing is started."""

from __future__ import annotations

import re
import socket
import stat
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from offsite.cli import parse
from offsite.settings import Settings, load_settings
from tests.conftest import ROOT, need
from tests.deploy.compose_file import active, find, interpolated, read, seconds, variables_of
from tests.deploy.compose_local import EQUIVALENT

FILE = ROOT / "deploy" / "compose.yaml"
FOLDER = ROOT / "deploy" / "compose"
ENVIRONMENTS = sorted(FOLDER.glob("*.env"))
BESIDES = {"OFFSITE_LOG_FORMAT"}
"""Variables of the command line itself."""
CHECKERS = {"bash", "curl", "pg_isready", *EQUIVALENT}


@pytest.fixture(scope="module", params=ENVIRONMENTS, ids=lambda file: file.stem)
def variables(request: pytest.FixtureRequest) -> dict[str, str]:
    return variables_of(request.param)


@pytest.fixture(scope="module")
def compose(variables: dict[str, str]) -> dict[str, Any]:
    need(find_spec("yaml"), "PyYAML")
    return read(FILE, variables)


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    return dict(compose["services"])


def long_running(services: dict[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in services.items() if one["restart"] == "unless-stopped"}


def words(node: Any) -> Iterator[str]:
    """Yield every text of a tree."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from words(key)
            yield from words(value)
    elif isinstance(node, list):
        for value in node:
            yield from words(value)
    else:
        yield str(node)


def test_there_is_what_the_product_needs(services: dict[str, Any], variables: dict[str, str]) -> None:
    order = active(services, variables["COMPOSE_PROFILES"].split(","))
    assert {"postgres", "influxdb", "topics", "db", "gateway", "worker", "agents", "desk", "prometheus", "grafana"} <= set(order)
    brokers = [name for name in order if name.startswith("kafka")]
    assert len(brokers) == {"one": 1, "three": 3}[variables["COMPOSE_PROFILES"]]
    for broker in brokers:
        assert order.index(broker) < order.index("topics") < order.index("worker")
    assert "mosquitto" not in order
    assert "mosquitto" in active(services, [*variables["COMPOSE_PROFILES"].split(","), "mqtt"])


def test_every_long_running_service_has_health_check_limits_and_bounded_logs(services: dict[str, Any]) -> None:
    for name, one in long_running(services).items():
        check = one["healthcheck"]
        assert check["test"][0] == "CMD", name
        assert check["test"][1] in CHECKERS, f"{name}: the test of the whole cannot run {check['test'][1]}"
        assert all(seconds(check[key]) > 0 for key in ("interval", "timeout", "start_period")), name
        assert set(one["deploy"]["resources"]["limits"]) == {"cpus", "memory"}, name
        assert one["logging"]["options"]["max-size"], name
        assert "no-new-privileges:true" in one["security_opt"], name
    for name, one in services.items():
        assert name in long_running(services) or re.fullmatch(r"on-failure:\d+", one["restart"]), name


def test_offsite_runs_without_rights_on_a_root_it_cannot_change(services: dict[str, Any]) -> None:
    own = {name: one for name, one in services.items() if one["image"].startswith("offsite:")}
    assert len(own) >= 7
    for name, one in own.items():
        assert (one["user"], one["read_only"], one["cap_drop"]) == ("10001:10001", True, ["ALL"]), name
    assert [name for name, one in services.items() if one.get("privileged") or one.get("network_mode") == "host"] == []


def test_no_secret_stands_in_the_file(compose: dict[str, Any]) -> None:
    for name, one in compose["services"].items():
        for key, value in one.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|SECRET|USERS|_KEY", key):
                assert key.endswith("FILE"), f"{name}.{key}"
                assert value.startswith("/run/secrets/"), f"{name}.{key}"
        for secret in one.get("secrets", []):
            assert set(compose["secrets"][secret]) == {"file"}, f"{name}.{secret}"
        used = {found for text in words(one) for found in re.findall(r"/run/secrets/(\w+)", text)}
        assert used <= set(one.get("secrets", [])), name
        assert not any(re.search(r"://[^/@\s]*:[^/@\s]*@", text) for text in words(one)), name


def test_the_settings_name_only_secrets_that_their_services_have(services: dict[str, Any]) -> None:
    text = (FOLDER / "offsite.toml").read_text(encoding="utf-8")
    used = {f[1] for line in text.splitlines() if (f := re.search(r"^\w.*file:/run/secrets/(\w+)", line))}
    for name, one in services.items():
        if any(volume.endswith("/etc/offsite/offsite.toml:ro") for volume in one.get("volumes", [])):
            assert used <= set(one["secrets"]), name


def test_every_image_is_pinned_and_ours_have_our_versions(services: dict[str, Any]) -> None:
    images = {one["image"] for one in services.values()}
    for image in images:
        assert re.search(r":v?\d+\.\d+(\.\d+)?[\w.-]*$", image), image
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    kafka = re.search(r"<kafka.version>(.+)<", (ROOT / "deploy" / "kafka" / "pom.xml").read_text(encoding="utf-8"))
    influx = re.search(r"^version=v(.+)$", (ROOT / "deploy" / "influxdb" / "build-influxd.sh").read_text(), re.MULTILINE)
    assert kafka
    assert influx
    assert {f"offsite:{version}", f"offsite-kafka:{kafka[1]}", f"influxdb:{influx[1]}"} <= images
    for dockerfile in (ROOT / "deploy" / "Dockerfile", ROOT / "deploy" / "kafka" / "Dockerfile"):
        text = dockerfile.read_text(encoding="utf-8")
        for source in re.findall(r"^(?:FROM |ARG PYTHON=)(\S+)", text, re.MULTILINE):
            assert source == "${PYTHON}" or re.search(r":\d+\.\d+\.\d+", source), source
        assert not re.search("amd64|x86_64|aarch64", text.partition("FROM")[2])


def test_every_command_of_offsite_parses(services: dict[str, Any]) -> None:
    commands = {name: one["command"] for name, one in services.items() if one.get("command", [""])[0] == "offsite"}
    assert {command[1] for command in commands.values()} == {"topics", "db", "registry", "gateway", "worker", "agents", "desk"}
    for name, command in commands.items():
        assert parse(command[1:]).verb == command[1], name


def test_every_variable_of_offsite_is_a_setting(services: dict[str, Any]) -> None:
    known = {f"OFFSITE_{f.name.upper()}" for f in fields(Settings)} | BESIDES
    used = {key for one in services.values() for key in one.get("environment", {}) if key.startswith("OFFSITE_")}
    assert sorted(used - known) == []


def test_the_settings_load_in_every_service(services: dict[str, Any], tmp_path: Path) -> None:
    subprocess.run([FOLDER / "secrets.sh", tmp_path / "secrets"], check=True)
    file = tmp_path / "offsite.toml"
    file.write_text((FOLDER / "offsite.toml").read_text(encoding="utf-8").replace("/run/secrets", str(tmp_path / "secrets")))
    for name, one in services.items():
        if one.get("command", [""])[0] == "offsite":
            settings = load_settings(file, {}, {key: str(value) for key, value in one.get("environment", {}).items()})
            assert settings.cluster().bootstrap == "kafka:9092", name
            assert settings.desk_database().startswith("postgresql+psycopg://offsite:"), name


def test_ports_are_published_to_loopback_unless_told_otherwise(services: dict[str, Any]) -> None:
    published = {port for one in services.values() for port in one.get("ports", [])}
    assert all(port.startswith("127.0.0.1:") for port in published)
    opened = read(FILE, {"OFFSITE_BIND": "0.0.0.0"})["services"]
    assert {n for n, one in opened.items() if any(p.startswith("0.0.0.0") for p in one.get("ports", []))} == {"gateway"}


def test_what_is_mounted_is_there(compose: dict[str, Any]) -> None:
    for name, one in compose["services"].items():
        for volume in one.get("volumes", []):
            source = volume.split(":")[0]
            present = (FILE.parent / source).exists() if source[0] in "./" else source in compose["volumes"]
            assert present, f"{name}: {source}"


def test_secrets_are_drawn_once_and_lie_in_a_closed_directory(tmp_path: Path, compose: dict[str, Any]) -> None:
    folder = tmp_path / "secrets"
    subprocess.run([FOLDER / "secrets.sh", folder], check=True)
    first = {file.name: file.read_text() for file in folder.iterdir()}
    assert set(first) == set(compose["secrets"])
    subprocess.run([FOLDER / "secrets.sh", folder], check=True)
    assert {file.name: file.read_text() for file in folder.iterdir()} == first
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len({first[name] for name in first if name != "mqtt_users"}) == 4
    assert all(re.fullmatch(r"[\w-]{43}", first[name]) for name in first if name != "mqtt_users")


def test_the_images_copy_what_there_is() -> None:
    kept = [line[1:] for line in (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]
    assert [path for path in kept if not (ROOT / path).exists()] == []
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    named = re.findall(r"deploy/[\w/.]+\.py", text)
    assert named
    for path in named:
        assert (ROOT / path).is_file(), path
        assert any(path.startswith(one) for one in kept), path
    used = re.findall(r"/opt/offsite/deploy/([\w.]+)", FILE.read_text(encoding="utf-8"))
    assert set(used) == {
        Path(path).name for line in re.findall(r"^COPY deploy/.*", text, re.MULTILINE) for path in line.split()[1:-1]
    }


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    promtool = find("promtool")
    need(promtool, "promtool (Debian package prometheus)")
    for source in (FOLDER / "prometheus.yml", ROOT / "deploy" / "prometheus" / "alerts.yml"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    done = subprocess.run(
        [str(promtool), "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_variable_without_value_and_default_is_an_error() -> None:
    assert interpolated("${A:-1}:${B:-}", {"A": "2"}) == "2:"
    with pytest.raises(ValueError, match=r"\$\{A\}"):
        interpolated("${A}", {})


def test_the_relay_passes_bytes_on_in_both_directions_and_ends_in_good_order() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as far:
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            here = free.getsockname()[1]
        words = [sys.executable, FOLDER / "relay.py", f"127.0.0.1:{here}", f"127.0.0.1:{far.getsockname()[1]}"]
        with subprocess.Popen(words) as relay:
            try:
                echo = threading.Thread(target=_echo, args=[far])
                echo.start()
                with closing(_connected(here)) as near:
                    sent = bytes(range(256)) * 4096
                    near.sendall(sent)
                    near.shutdown(socket.SHUT_WR)
                    heard = b"".join(iter(lambda: near.recv(1 << 16), b""))
                echo.join()
                assert heard == sent[::-1]
            finally:
                relay.terminate()
            assert relay.wait(10) == 0


def _connected(port: int) -> socket.socket:
    for _ in range(500):
        near = socket.socket()
        if near.connect_ex(("127.0.0.1", port)) == 0:
            return near
        near.close()
        threading.Event().wait(0.02)
    raise AssertionError("the relay does not listen")


def _echo(far: socket.socket) -> None:
    """Read all that one caller says and answer it backwards."""
    caller = far.accept()[0]
    with closing(caller):
        caller.sendall(b"".join(iter(lambda: caller.recv(1 << 16), b""))[::-1])
