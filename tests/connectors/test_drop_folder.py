"""Files dropped into a folder: taken once, in order, over kill -9 and full disks; what was refused lies beside them."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from connectors.core import Retry
from connectors.drop_folder import DropFolder
from connectors.inputs import from_table
from connectors.table import TableFaults
from offsite.settings import secret
from tests.conftest import ROOT
from tests.connectors.doors import Kept, running, until

HEADER = "site,point,factor,time,period,value"
TIME = "2026-11-25T03:40:00+08:00"
FRAME = b"##0130QN=20261125034036928;ST=31;CN=2011;PW=123456;MN=LD130124000122;Flag=5;CP=&&DataTime=20261125034036;a21026-Rtd=12.3,a21026-Flag=N&&D081\r\n"


def csv(*values: object) -> str:
    return "\n".join([HEADER, *(f"S1,P1,a34004,{TIME},minute,{value}" for value in values)]) + "\n"


def made(kept: Kept, folder: Path, **more: object) -> DropFolder:
    values = {"kind": "drop-folder", "folder": str(folder), "stable_s": 0, "poll_s": 0.05, **more}
    found = from_table(values, "inputs[0]", kept.doors, secret)
    assert isinstance(found, DropFolder)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "state")


def names(folder: Path) -> dict[str, list[str]]:
    places = {"": folder, "done": folder / "done", "refused": folder / "refused"}
    return {k: sorted(p.name for p in v.glob("*") if p.is_file() and p.name[0] != ".") for k, v in places.items() if v.exists()}


def faults(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_files_of_every_kind_are_taken_in_the_order_of_their_names(kept: Kept, folder: Path) -> None:
    table = pa.table(
        {"site": ["S1"], "point": ["P1"], "factor": ["a34004"], "time": [TIME], "period": ["minute"], "value": [2.0]}
    )
    parquet.write_table(table, folder / "b.parquet")
    (folder / "a.csv").write_text(csv(1))
    row = {"site": "S1", "point": "P1", "factor": "a34004", "time": TIME, "period": "minute", "value": 3}
    (folder / "c.ndjson.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    (folder / "d.json").write_text(json.dumps([{**row, "value": 4}]))
    (folder / "e.h212").write_bytes(FRAME + b"noise in between\r\n" + FRAME)
    (folder / "f.csv.part").write_text("still being written")
    (folder / ".hidden.csv").write_text("not for us")
    assert asyncio.run(made(kept, folder).once()) == 5
    assert [value for _, value in kept.values()] == [1, 2, 3, 4]
    assert [(mn, source) for _, mn, source in kept.frames] == [("LD130124000122", "file:e.h212")] * 2
    assert [(reason, raw.strip()) for reason, raw, _ in kept.chunks] == [("noise", b"noise in between")]
    done = ["a.csv", "b.parquet", "c.ndjson.gz", "d.json", "e.h212", "e.h212.faults.ndjson"]
    assert names(folder) == {"": ["f.csv.part"], "done": done, "refused": []}


def test_refused_rows_lie_beside_the_file_under_their_own_numbers(kept: Kept, folder: Path) -> None:
    (folder / "a.csv").write_text(csv(*range(40_000), "x", *range(40_000), "", 9))
    drop = made(kept, folder)
    asyncio.run(drop.once())
    found = faults(folder / "done" / "a.csv.faults.ndjson")
    assert [(fault["row"], fault["reason"]) for fault in found] == [(40_000, "bad_number"), (80_001, "missing_field")]
    assert drop.counters.rows == {"accepted": 80_001, "rejected": 2}
    assert drop.counters.messages > 3


def test_useless_and_damaged_files_are_refused_with_their_reason(kept: Kept, folder: Path) -> None:
    (folder / "a.csv").write_text("no,such,columns\n1,2,3\n")
    (folder / "b.csv.gz").write_bytes(gzip.compress(csv(*range(60_000)).encode(), 0)[:2_500_000])
    (folder / "c.xyz").write_text("?")
    asyncio.run(made(kept, folder).once())
    assert names(folder)["refused"] == [n for name in ("a.csv", "b.csv.gz", "c.xyz") for n in (name, f"{name}.faults.ndjson")]
    assert [fault["reason"] for fault in faults(folder / "refused" / "b.csv.gz.faults.ndjson")] == ["damaged"]
    assert len(kept.values()) > 1_000  # what came before the damage is kept


def test_a_file_of_the_same_name_is_another_file(kept: Kept, folder: Path) -> None:
    drop = made(kept, folder)
    for value in (1, 2):
        (folder / "a.csv").write_text(csv(value))
        asyncio.run(drop.once())
    assert names(folder)["done"] == ["a.csv", "a.csv.1"]
    assert [value for _, value in kept.values()] == [1, 2]


def test_a_file_that_still_grows_is_left_alone(kept: Kept, folder: Path) -> None:
    drop = made(kept, folder, stable_s=0.2)
    (folder / "a.csv").write_text(csv(1))

    async def play() -> None:
        assert await drop.once() == 0
        await asyncio.sleep(0.15)
        (folder / "a.csv").write_text(csv(1, 2))
        assert await drop.once() == 0
        await asyncio.sleep(0.15)
        assert await drop.once() == 0
        await asyncio.sleep(0.1)
        assert await drop.once() == 1

    asyncio.run(play())
    assert [value for _, value in kept.values()] == [1, 2]


def test_a_full_disk_is_waited_for(kept: Kept, folder: Path) -> None:
    kept.errors = [Retry("disk full", 0.01), Retry("disk full", 0.01)]
    (folder / "a.csv").write_text(csv(1, 2))
    drop = made(kept, folder)
    asyncio.run(running(drop.run(), lambda: until(lambda: names(folder).get("done") == ["a.csv"])))
    assert ([value for _, value in kept.values()], drop.counters.retries) == ([1, 2], 2)


def test_two_processes_do_not_share_a_folder(kept: Kept, folder: Path) -> None:
    first, second = made(kept, folder), made(kept, folder, name="second")

    async def both() -> None:
        await asyncio.gather(first.run(), second.run())

    asyncio.run(running(both(), lambda: until(lambda: {first.counters.state, second.counters.state} == {"watching", "away"})))
    assert "another process" in first.counters.fault + second.counters.fault


PROGRAM = """
import asyncio, json, os, signal, sys
from pathlib import Path
from tests.connectors.doors import Kept
from connectors.inputs import from_table
folder, state, log, die_at = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
class OnDisk(Kept):
    calls = 0
    async def accept(self, kind, batches, refused):
        self.batches = list(batches)
        with open(log, "ab") as file:
            file.write(json.dumps([value for _, value in self.values()]).encode() + b"\\n")
            file.flush()
            os.fsync(file.fileno())
        self.calls += 1
        if die_at == f"durable:{self.calls}":
            os.kill(os.getpid(), signal.SIGKILL)
replace = Path.replace
def replacing(self, target):
    found = replace(self, target)
    if die_at == f"moved:{Path(target).name}":
        os.kill(os.getpid(), signal.SIGKILL)
    return found
Path.replace = replacing
kept = OnDisk(state)
table = {"kind": "drop-folder", "folder": str(folder), "stable_s": 0}
asyncio.run(from_table(table, "x", kept.doors, None).once())
"""


@pytest.mark.faults
def test_kill_9_loses_nothing_and_offers_at_most_one_chunk_twice(folder: Path, tmp_path: Path) -> None:
    """The process is killed at every interesting instant in turn, and started again each time."""
    wanted = list(range(30_000))
    (folder / "a.csv").write_text(csv(*wanted[:25_000], "bad", *wanted[25_000:]))
    log, state = tmp_path / "log", tmp_path / "state"
    instants = ["durable:1", "moved:drop-folder.json", "durable:1", "moved:a.csv.faults.ndjson", "moved:a.csv", "never"]
    codes = []
    for instant in instants:
        command = [sys.executable, "-c", PROGRAM, str(folder), str(state), str(log), instant]
        codes.append(subprocess.run(command, cwd=ROOT, timeout=60, check=False, env=os.environ).returncode)
    assert codes == [-9] * 5 + [0]
    chunks = [json.loads(line) for line in log.read_text().splitlines()]
    counted = Counter(value for chunk in chunks for value in chunk)
    assert sorted(counted) == wanted
    killed = codes.count(-9)
    assert sum(counted.values()) - len(wanted) <= killed * max(map(len, chunks))
    assert names(folder)["done"] == ["a.csv", "a.csv.faults.ndjson"]
    assert [(fault["row"], fault["reason"]) for fault in faults(folder / "done" / "a.csv.faults.ndjson")] == [
        (25_000, "bad_number")
    ]


def test_every_fault_of_the_settings_is_named(kept: Kept) -> None:
    values = {"kind": "drop-folder", "folder": "/nowhere/at/all", "stable_s": -1, "zone": "8", "encoding": "big5", "columns": 1}
    with pytest.raises(TableFaults) as caught:
        from_table(values, "inputs[1]", kept.doors, secret)
    assert {f.partition(":")[0] for f in caught.value.faults} == {f"inputs[1].{key}" for key in values if key != "kind"}
