"""Bugs that were met in use, each as the smallest thing that showed it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import orjson
import pytest

from connectors.core import HJ212, JSON, Record, Refused
from connectors.memory import MemoryLog
from offsite import registered
from offsite.intake import decode
from offsite.replayer import replay
from offsite.settings import RUN_FILE
from offsite.supervisor import withdraw
from streams.codecs.hj212 import encode_frame
from streams.leads import Window, forget, weigh
from streams.plan import load_plan
from streams.plan.load import HOUR, MINUTE
from streams.records import CONTEXT, HELD

PLAN = load_plan()
T0 = 1_795_392_000_000 // HOUR * HOUR
DAY = 24 * HOUR


def alert(name: str, family: str, *, active: bool, rule: str) -> dict[str, object]:
    return {
        "id": name, "rule": rule, "family": family, "point": "DA001", "factor": "a21026", "level": 2, "score": 1.5, "active": active,
    }  # fmt: skip


def test_an_event_that_speaks_of_adoption_is_no_adoption() -> None:
    log = MemoryLog(lambda: T0)
    frame = encode_frame("MN1", "2011", T0, {"a21026": {"Rtd": 1.0}}, qn_ms=T0).strip()
    word = orjson.dumps({"kind": "mark", "site": "S1", "body": {"adopted": True}})
    log.append([Record(HELD, "MN1", T0, HJ212, frame), Record(CONTEXT, "S1", T0, JSON, word)])
    assert [record.key for record in registered.held(log)] == ["MN1"]


def test_a_lead_outlives_its_window_while_an_alert_of_it_is_open() -> None:
    windows: list[Window] = []
    for name, family, rule in (("A", "limits", "exceed-hour"), ("B", "statistics", "constant")):
        made = list(weigh(PLAN, windows, "S1", alert(name, family, active=True, rule=rule), T0))
    assert len(made) == 1
    forget(windows, T0 + 3 * DAY, DAY)
    closed = [
        *weigh(PLAN, windows, "S1", alert("A", "limits", active=False, rule="exceed-hour"), T0),
        *weigh(PLAN, windows, "S1", alert("B", "statistics", active=False, rule="constant"), T0),
    ]
    assert closed == []
    assert [w.id for w in windows] == [made[0]["id"]]
    forget(windows, T0 + 3 * DAY, DAY)
    assert windows == []
    assert list(weigh(PLAN, windows, "S1", alert("A", "limits", active=False, rule="exceed-hour"), T0)) == []
    assert windows == []


def test_a_replay_keeps_out_of_a_products_directory(tmp_path: Path) -> None:
    (tmp_path / "data" / "log").mkdir(parents=True)
    file = tmp_path / "a.ndjson"
    file.write_text("{}\n")
    with pytest.raises(Refused, match="belongs to `offsite run`"):
        replay([file], data=tmp_path / "data", registry=None, plan=None, progress=False)


def test_the_note_of_another_product_stays(tmp_path: Path) -> None:
    note = tmp_path / RUN_FILE
    note.write_text(json.dumps({"pid": 1}))
    withdraw(tmp_path)
    assert note.exists()


def recording(path: Path) -> Path:
    minutes = np.arange(0, 300, 2)
    frames = [
        encode_frame(
            mn, "2011", T0 + int(m) * MINUTE, {"a21026": {"Rtd": 20.0 + int(m) % 7, "Flag": "N"}}, qn_ms=T0 + int(m) * MINUTE
        )
        for m in minutes
        for mn in ("MN1", "MN2")
    ]
    path.write_bytes(b"".join(frames))
    return path


def test_a_damaged_file_does_not_take_the_good_ones_with_it(tmp_path: Path) -> None:
    good = recording(tmp_path / "good.h212")
    bad = tmp_path / "bad.h212.xz"
    bad.write_bytes(b"\xfd7zXZ\x00 and then nothing")
    books = replay([bad, good], data=None, registry=None, plan=None, progress=False)
    assert books["frames"]["accepted"] == 300
    assert "bad.h212.xz" in books["damaged"][0]


def test_the_same_recording_again_is_all_duplicates_and_raises_nothing(tmp_path: Path) -> None:
    file = recording(tmp_path / "a.h212")
    once = replay([file], data=tmp_path / "data", registry=None, plan=None, progress=False)
    twice = replay([file], data=tmp_path / "data", registry=None, plan=None, progress=False)
    assert twice["readings"]["duplicate"] == once["readings"]["received"]
    assert twice["alerts"] == once["alerts"]


def test_an_empty_body_is_refused_whole() -> None:
    with pytest.raises(Refused, match="holds no readings"):
        decode("application/x-ndjson", b"", "readings")
