"""Replay: recorded files through the whole pipeline, and books that balance."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from connectors.core import Refused
from offsite.replayer import replay
from streams import registry as registries
from streams.codecs.hj212_encode import encode_frame
from streams.identity import rfc3339
from streams.plan.load import HOUR, MINUTE
from streams.registry_model import Bounds, Limit, Point, Registry, Site
from streams.store import StateStore
from tests.offsite.conftest import Offsite

T0 = 1_791_734_400_000
MN = ("MN1", "MN2")
HEADER = "site,point,factor,time,period,stat,value,flag"


def frames(minutes: int = 200) -> list[bytes]:
    found = []
    for m in range(minutes):
        for k, mn in enumerate(MN):
            found.append(encode_frame(mn, "2011", T0 + m * MINUTE, {"a21026": {"Rtd": 450.0 + (m * 7 + k) % 9, "Flag": "N"}}))
    return found


def as_csv(minutes: int = 200) -> str:
    lines = [
        f"{mn},DA001,a21026,{rfc3339(T0 + m * MINUTE)},realtime,rtd,{450 + (m * 7 + k) % 9},N"
        for m in range(minutes)
        for k, mn in enumerate(MN)
    ]
    return "\n".join([HEADER, *lines]) + "\n"


def books(*files: Path, data: Path | None = None, registry: Path | None = None) -> dict:
    return replay(list(files), data=data, registry=registry, plan=None, progress=False)


def alerts(data: Path) -> list[dict]:
    store = StateStore(data / "state.sqlite", readonly=True)
    last = {body["id"]: body for _, kind, _, body in store.outputs(0, 10_000) if kind == "alert"}
    store.close()
    return sorted(last.values(), key=lambda a: (a["rule"], a["site"]))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "day.h212"
    path.write_bytes(b"".join(frames()) + b"##0010 cut off\r\n")
    return path


def test_the_books_of_a_recording(recording: Path) -> None:
    found = books(recording)
    assert found["frames"] == {"read": 401, "accepted": 400, "rejected": found["frames"]["rejected"]}
    assert sum(found["frames"]["rejected"].values()) == 1
    assert found["readings"] == {"received": 400, "accepted": 400, "duplicate": 0, "revised": 0, "late": 0, "refused": 0}
    assert found["windows"]["hour"] == 4
    assert found["alerts"] == 2
    assert found["seconds"] > 0


def test_a_csv_of_the_same_readings_ends_in_the_same_alerts(recording: Path, tmp_path: Path) -> None:
    table = tmp_path / "day.csv"
    table.write_text(as_csv())
    by_rows, by_frames = tmp_path / "rows", tmp_path / "frames"
    found = books(table, data=by_rows)
    assert found["readings"]["accepted"] == 400
    books(recording, data=by_frames)
    names = ("id", "rule", "site", "opened", "closed", "level", "observed", "limit")
    assert [[a[n] for n in names] for a in alerts(by_rows)] == [[a[n] for n in names] for a in alerts(by_frames)]
    assert [(a["rule"], a["site"], a["level"], a["limit"]) for a in alerts(by_rows)] == [
        ("exceed-hour", mn, 2, 400.0) for mn in MN
    ]


@pytest.mark.parametrize("kind", ["ndjson", "json"])
def test_other_kinds_of_file(tmp_path: Path, kind: str) -> None:
    rows = [dict(zip(HEADER.split(","), line.split(","), strict=True)) for line in as_csv(20).splitlines()[1:]]
    rows = [row | {"value": float(row["value"])} for row in rows]
    path = tmp_path / f"day.{kind}"
    path.write_text(json.dumps(rows) if kind == "json" else "\n".join(map(json.dumps, rows)))
    assert books(path)["readings"]["accepted"] == 40


def test_files_in_their_order_are_one_recording(recording: Path, tmp_path: Path) -> None:
    whole = frames()
    first, second = tmp_path / "1.h212.gz", tmp_path / "2.h212"
    first.write_bytes(gzip.compress(b"".join(whole[:150])))
    second.write_bytes(b"".join(whole[150:]) + b"##0010 cut off\r\n")
    same = ("frames", "readings", "windows", "alerts", "leads", "cases")
    cut, uncut = books(first, second), books(recording)
    assert [cut[n] for n in same] == [uncut[n] for n in same]


def test_a_second_replay_into_the_same_data_is_all_duplicates(recording: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    books(recording, data=data)
    before = alerts(data)
    found = books(recording, data=data)
    assert (found["readings"]["received"], found["readings"]["accepted"], found["readings"]["duplicate"]) == (800, 400, 400)
    assert [(a["id"], a["opened"], a["closed"]) for a in alerts(data)] == [(a["id"], a["opened"], a["closed"]) for a in before]


def test_a_registry_decides_who_is_known_and_what_holds(recording: Path, tmp_path: Path) -> None:
    folder = tmp_path / "registry"
    limit = Limit("S1", "DA005", "a21026", "hour", Bounds(None, 1000.0), "mg/m3", "permit")
    registries.save(Registry((Site("S1"),), (Point("S1", "DA005", "gas", mn="MN1"),), (), (limit,)), folder)
    found = books(recording, data=tmp_path / "data", registry=folder)
    assert found["readings"]["accepted"] == 200
    assert found["alerts"] == 0
    assert found["frames"]["accepted"] == 400


def test_one_device_with_its_clock_in_2040_closes_no_window(tmp_path: Path) -> None:
    whole = frames()
    whole[100:100] = [encode_frame("MN1", "2011", T0 + 14 * 365 * 24 * HOUR, {"a21026": {"Rtd": 1.0, "Flag": "N"}})]
    path = tmp_path / "day.h212"
    path.write_bytes(b"".join(whole))
    found = books(path)["readings"]
    assert (found["accepted"], found["refused"], found["late"]) == (400, 1, 0)


def test_a_file_that_is_none_is_named(tmp_path: Path, offsite: Offsite) -> None:
    with pytest.raises(Refused, match=r"none\.h212"):
        books(tmp_path / "none.h212")
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    with pytest.raises(Refused, match=r"photo\.png"):
        books(tmp_path / "photo.png")
    told = offsite("replay", tmp_path / "none.h212")
    assert told.code == 1
    assert "none.h212" in told.err


def test_an_empty_file_is_an_empty_replay(tmp_path: Path) -> None:
    path = tmp_path / "day.h212"
    path.touch()
    assert books(path)["readings"]["received"] == 0


def test_the_command_prints_the_books(recording: Path, offsite: Offsite) -> None:
    [found] = offsite("replay", recording, "--json").rows
    assert {"frames", "readings", "windows", "alerts", "leads", "cases", "seconds", "readings_per_second"} <= set(found)
    assert "received 400" in offsite("replay", recording).out


def test_nothing_is_kept_without_a_data_directory(recording: Path, tmp_path: Path) -> None:
    before = sorted(p.name for p in tmp_path.iterdir())
    books(recording)
    assert sorted(p.name for p in tmp_path.iterdir()) == before
