"""deploy/kafka/kafka.sh: a node that formats once, keeps what it was given, hears signals and hides its secrets."""

from __future__ import annotations

import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from connectors.kafka_admin import Admin
from tests.conftest import need
from tests.real.kafka import PASSWORD, SCRIPT, Kafka, Node, need_kafka


def test_wrong_usage_is_told_with_code_2() -> None:
    for words in ((), ("begin",), ("start",)):
        done = subprocess.run(["bash", SCRIPT, *words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert "usage" in done.stderr


def test_without_maven_and_jars_the_remedy_is_told(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for tool in ("bash", "dirname", "mkdir"):
        found = shutil.which(tool)
        need(found, tool)
        (tmp_path / "bin" / tool).symlink_to(str(found))
    done = subprocess.run(
        ["bash", SCRIPT, "fetch"],
        env={"PATH": str(tmp_path / "bin"), "KAFKA_LIB": str(tmp_path / "lib")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"install it, or put the jars into {tmp_path / 'lib'}" in done.stderr


@pytest.mark.servers
def test_a_node_stops_in_good_order_starts_again_with_its_data_and_shows_no_secret(tmp_path: Path) -> None:
    need_kafka()
    with Kafka(tmp_path / "kafka") as broker:
        with Admin(broker.cluster("", "SASL_SSL")) as admin:
            admin.create("kept", 1, 1, {})
            made = admin.topics(["kept"])["kept"].id
        [node] = broker.nodes
        broker.stop()
        assert node.process is not None
        assert node.process.returncode == 128 + signal.SIGTERM
        formatted = (node.folder / "log" / "meta.properties").stat().st_mtime_ns
        broker.start()
        with Admin(broker.cluster("", "SASL_SSL")) as admin:
            assert admin.topics(["kept"])["kept"].id == made
        assert (node.folder / "log" / "meta.properties").stat().st_mtime_ns == formatted
        assert not (node.folder / "format").exists()
        assert stat.S_IMODE((node.folder / "server.properties").stat().st_mode) == 0o600
        assert PASSWORD not in node.log()


@pytest.mark.servers
def test_a_node_whose_settings_cannot_be_ends_with_kafkas_reason(tmp_path: Path) -> None:
    need_kafka()
    node = Node(tmp_path / "node", {"num.io.threads": "many"}, {})
    node.start()
    assert node.process is not None
    assert node.process.wait(60) != 0
    assert "Invalid value many for configuration num.io.threads" in node.log()
    assert not (node.folder / "format").exists()
    assert not (node.folder / "formatted").exists()
