"""Data directories made of real frames, and the command line driven in this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from connectors.core import HJ212, Record
from connectors.files import lines
from connectors.hj212.header import parse
from connectors.sqlite_log import SqliteLog
from offsite.adoption import adopt
from offsite.cli import main
from offsite.data_dir import now
from offsite.replayer import replay
from streams.commit import Step
from streams.embedded import open_embedded
from streams.plan import load_plan
from streams.records import HELD
from streams.store import StateStore
from tests.cases.made import T0, alert, lead, outputs
from tests.conftest import SHARED, need


@dataclass
class Told:
    """What a command has said."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Offsite = Callable[..., Told]


@pytest.fixture
def offsite(capsys: pytest.CaptureFixture[str]) -> Offsite:
    def run(*args: object) -> Told:
        capsys.readouterr()
        code = main([str(a) for a in args])
        return Told(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def hour() -> list[bytes]:
    """Give the first 300 lines of a real hour."""
    file = SHARED / "data" / "hj212" / "2016-08-24_08.h212.xz"
    need(file.is_file(), "real HJ 212 traffic (data beside the project, see README)")
    return list(islice(lines(file), 300))


@pytest.fixture(scope="session")
def recording(hour: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "hour.h212"
    path.write_bytes(b"\r\n".join([*hour, b"##0010 cut off\x00\xff", b""]))
    return path


@pytest.fixture(scope="session")
def replayed(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("replayed")
    replay([recording], data=data, registry=None, plan=None, progress=False)
    return data


@pytest.fixture
def data(replayed: Path, tmp_path: Path) -> Path:
    """Give a data directory that a replay has filled."""
    return shutil.copytree(replayed, tmp_path / "data")


@pytest.fixture(scope="session")
def stopped(hour: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make what a product leaves behind that nobody has given a registry: all frames are in its log, held, and judged as such."""
    data = tmp_path_factory.mktemp("stopped")
    with closing(SqliteLog(data / "log", now)) as log:
        log.append([Record(HELD, parse(frame[6:]).mn, -1, HJ212, frame) for frame in hour])
        judge = open_embedded(data, log, load_plan(None), durable=False)
        while judge.run_once():
            pass
        judge.kept.flush()
        judge.store.close()
    return data


@pytest.fixture
def held(stopped: Path, tmp_path: Path) -> Path:
    return shutil.copytree(stopped, tmp_path / "held")


@pytest.fixture(scope="session")
def all_adopted(stopped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = shutil.copytree(stopped, tmp_path_factory.mktemp("adopted") / "data")
    adopt(data, None, person=None, plan=None, wait=0)
    return data


@pytest.fixture
def adopted(all_adopted: Path, tmp_path: Path) -> Path:
    """Give what `held` becomes when every device is adopted."""
    return shutil.copytree(all_adopted, tmp_path / "adopted")


@pytest.fixture
def desk_with_leads(tmp_path: Path) -> Path:
    """Give a data directory whose judge has put out two alerts and two leads, which its desk has not seen."""
    data = tmp_path / "leads"
    bodies = [alert("a1", 1), lead("l1", 2), alert("a2", 3, site="S2"), lead("l2", 4, site="S2", alerts=["a2"], at=T0 + 1000)]
    with closing(StateStore(data / "state.sqlite", durable=False)) as store:
        store.commit([Step((), [(kind, site, body) for _, kind, site, body in outputs(*bodies)])])
    return data
