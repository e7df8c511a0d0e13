"""The inputs of the settings: every example loads, every fault is named, and data comes through into a real log."""

from __future__ import annotations

import asyncio
import tomllib
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from connectors.accept import Doors
from connectors.core import Lost
from connectors.hj212.frame import strict
from connectors.log_writer import LogWriter
from connectors.sqlite_log import SqliteLog
from connectors.table import TableFaults
from offsite import inputs
from offsite.intake import Intake, decode
from offsite.settings import load_settings
from streams.registry_model import Registry, Site
from tests.conftest import ROOT
from tests.connectors.doors import NOW, Kept, running, until

EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.toml"))
OURS = {
    "mqtt": "mqtt",
    "line-protocol": "influx",
    "drop-folder": "drop-folder",
    "gat1400": "gat1400",
    "hj212-mirror": "hj212-mirror",
}


def test_each_kind_of_input_has_its_example() -> None:
    assert set(OURS.values()) == set(inputs.CATALOGUE)
    assert set(OURS) <= {path.stem for path in EXAMPLES}


@pytest.mark.parametrize("stem", OURS)
def test_the_examples_load(stem: str, tmp_path: Path) -> None:
    tables = tomllib.loads((ROOT / "deploy" / "examples" / f"{stem}.toml").read_text("utf-8"))["inputs"]
    assert {table["kind"] for table in tables} == {OURS[stem]}
    assert inputs.check(tables, tmp_path, lambda _reference: b"a secret") == []


def test_the_examples_are_settings_of_the_product(tmp_path: Path) -> None:
    settings = load_settings(ROOT / "deploy" / "examples" / "hj212-mirror.toml", {"data": str(tmp_path)}, {})
    assert [table["name"] for table in settings.inputs] == ["old-platform", "port-mirror"]


def test_the_faults_of_all_tables_are_named_at_once(tmp_path: Path) -> None:
    tables = [
        {"kind": "carrier-pigeon"},
        {"kind": "hj212-mirror", "port": 1, "host": "h"},
        {"kind": "hj212-mirror", "port": 2, "host": "h"},
        {"kind": "influx", "name": "a/b"},
        {"name": "x"},
    ]
    found = inputs.check(tables, tmp_path)
    assert [fault.partition(":")[0] for fault in found] == [
        "inputs[0].kind",
        "inputs[2].name",
        "inputs[3].name",
        "inputs[4].kind",
    ]
    assert "hj212-mirror" in found[0]


def test_what_an_input_takes_is_in_the_log_and_what_it_refuses_too(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    row = "S1,P1,a34004,2026-11-25T03:40:00+08:00,minute"
    (folder / "a.csv").write_text(f"site,point,factor,time,period,value\n{row},1.5\n{row},bad\n")

    async def run() -> list[tuple[str, str]]:
        log = SqliteLog(tmp_path / "log", lambda: NOW)
        writer = LogWriter(log)
        intake = Intake(writer, lambda: Registry((Site("S1", "One"),)))
        doors = Doors(intake.rows, decode, intake.frame, intake.bad, strict, lambda: NOW, tmp_path / "inputs")
        tables = [{"kind": "drop-folder", "folder": str(folder), "stable_s": 0, "poll_s": 0.05}, {"kind": "influx"}]
        made = inputs.build(tables, doors)
        await running(inputs.run_inputs(made), lambda: until((folder / "done" / "a.csv.faults.ndjson").exists))
        await writer.close()
        records = log.read(0, 10)
        log.close()
        books = inputs.counted(made)
        assert books["drop-folder"]["rows"] == {"accepted": 1, "rejected": 1}
        return [(record.topic, record.key) for record in records]

    assert asyncio.run(run())[0] == ("emission-monitoring", "S1")


def test_an_input_that_is_lost_ends_them_all(tmp_path: Path) -> None:
    kept = Kept(tmp_path)

    async def gone(*_: object) -> None:
        raise Lost("the log is gone")

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("site,point,factor,time,period,value\nS1,P,a,2026-11-25T03:40:00+08:00,minute,1\n")
    tables = [
        {"kind": "drop-folder", "folder": str(tmp_path / "in"), "stable_s": 0},
        {"kind": "hj212-mirror", "mode": "listen", "port": 0},
    ]
    with pytest.raises(Lost, match="log is gone"):
        asyncio.run(inputs.run_inputs(inputs.build(tables, replace(kept.doors, accept=gone))))


def test_each_input_has_its_own_way_in(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    came: list[str] = []

    async def accept(name: str, *_: object) -> None:
        came.append(name)

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("site,point,factor,time,period,value\nS1,P,a,2026-11-25T03:40:00+08:00,minute,1\n")
    tables = [{"kind": "drop-folder", "name": "export", "folder": str(tmp_path / "in"), "stable_s": 0, "poll_s": 0.05}]
    made = inputs.build(tables, kept.doors, lambda name: partial(accept, name))
    asyncio.run(running(inputs.run_inputs(made), lambda: until(lambda: came)))
    assert came == ["export"]


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableFaults, match="twice"):
        inputs.build([{"kind": "influx"}, {"kind": "influx"}], Kept(tmp_path).doors)
