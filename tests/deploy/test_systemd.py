"""deploy/systemd: units that systemd itself accepts, hardened, restarted for ever, with commands that the product understands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from offsite.cli import parse
from offsite.settings import Settings, load_settings
from tests.conftest import ROOT, need
from tests.deploy.compose_file import find

FOLDER = ROOT / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
PROCESSES = [unit for unit in UNITS if unit.stem != "offsite-setup"]
EXPOSURE = 20
"""Tenths of systemd's exposure level, 0 to 100, that a unit may have at most; without hardening it is 96."""


def read(unit: Path) -> dict[str, dict[str, str]]:
    """Return section → key → value of a unit file; the values of a repeated key are joined by newlines."""
    sections: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in unit.read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            section = sections.setdefault(found[1], {})
        elif line and not line.startswith("#"):
            key, value = line.split("=", 1)
            section[key] = f"{section[key]}\n{value}" if key in section else value
    return sections


def analyze() -> str:
    found = find("systemd-analyze")
    need(found, "systemd-analyze")
    return str(found)


def environment(unit: Path) -> dict[str, str]:
    words = shlex.split(read(unit)["Service"]["Environment"])
    return dict(word.split("=", 1) for word in words)


@pytest.fixture
def installed(tmp_path: Path) -> list[Path]:
    """Give the units with a program that is there; systemd looks whether it is."""
    program = Path(sys.executable).parent / "offsite"
    for unit in [*UNITS, FOLDER / "offsite.target"]:
        text = unit.read_text(encoding="utf-8").replace("/opt/offsite/bin/offsite", str(program))
        (tmp_path / unit.name.replace("@.", "@1.")).write_text(text, encoding="utf-8")
    return sorted(tmp_path.iterdir())


def test_there_is_a_unit_for_every_process() -> None:
    assert [unit.stem for unit in PROCESSES] == ["offsite-agents", "offsite-desk", "offsite-gateway", "offsite-worker@"]


def test_systemd_accepts_the_units(installed: list[Path]) -> None:
    done = subprocess.run([analyze(), "verify", "--man=no", *installed], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_finds_the_units_closed(installed: list[Path]) -> None:
    for unit in installed:
        if unit.suffix == ".service":
            words = [analyze(), "security", "--no-pager", "--offline=true", f"--threshold={EXPOSURE}", unit]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout[-200:]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_commands_and_variables_are_the_products(unit: Path, tmp_path: Path) -> None:
    for line in read(unit)["Service"]["ExecStart"].splitlines():
        program, *words = shlex.split(line)
        assert program == "/opt/offsite/bin/offsite"
        assert parse(words).verb == words[0]
    known = {f"OFFSITE_{name.upper()}" for name in Settings.__dataclass_fields__} | {"OFFSITE_LOG_FORMAT"}
    assert set(environment(unit)) <= known
    file = tmp_path / "offsite.toml"
    text = (FOLDER / "offsite.toml").read_text(encoding="utf-8").replace("/etc/offsite/secrets", str(tmp_path))
    file.write_text(text, encoding="utf-8")
    for name in ("desk_password", "influx_token"):
        (tmp_path / name).write_text("word")
    given = {key: value.replace("%i", "3").replace("%H", "host") for key, value in environment(unit).items()}
    settings = load_settings(file, {}, given)
    if unit.stem == "offsite-worker@":
        assert (settings.instance, settings.metrics_port) == ("host-3", 9473)


@pytest.mark.parametrize("unit", PROCESSES, ids=lambda unit: unit.stem)
def test_a_process_is_restarted_for_ever_and_stopped_in_good_order(unit: Path) -> None:
    parsed = read(unit)
    assert parsed["Service"]["Restart"] == "always"
    assert parsed["Unit"]["StartLimitIntervalSec"] == "0"
    assert parsed["Service"]["KillSignal"] == "SIGTERM"
    assert parsed["Unit"]["PartOf"] == parsed["Install"]["WantedBy"] == "offsite.target"
    assert parsed["Service"]["User"] == "offsite"


def test_processes_of_one_machine_have_ports_of_their_own() -> None:
    ports = [environment(unit)["OFFSITE_METRICS_PORT"] for unit in PROCESSES]
    assert len(set(ports)) == len(ports)


def test_the_account_and_the_directories_are_those_of_the_units() -> None:
    assert re.search(r"^u offsite ", (FOLDER / "offsite.sysusers.conf").read_text(), re.MULTILINE)
    made = re.findall(r"^d (\S+)", (FOLDER / "offsite.tmpfiles.conf").read_text(), re.MULTILINE)
    assert made == ["/etc/offsite", "/etc/offsite/secrets", "/var/lib/offsite"]
    for tool, file in (("systemd-sysusers", "offsite.sysusers.conf"), ("systemd-tmpfiles", "offsite.tmpfiles.conf")):
        found = find(tool)
        need(found, tool)
        more = ["--dry-run"] if tool == "systemd-sysusers" else ["--create", "--prefix=/nowhere"]
        done = subprocess.run([str(found), *more, FOLDER / file], capture_output=True, text=True, check=False)
        assert "Unknown" not in done.stderr, done.stderr
        assert "Failed to parse" not in done.stderr, done.stderr
