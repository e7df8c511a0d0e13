from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, get_args

import pytest

from connectors.core import ARROW
from connectors.hj212.crc import crc16
from connectors.hj212.scan import Reason
from offsite.cli import selftest
from offsite.selftest_words import REMEDIES
from streams.codecs import events, hj212, rows
from streams.codecs.readings import encode_readings
from tests.streams.codecs.reading_samples import batch, good

CLEAN = good(time="2026-03-04T10:00:00+08:00")


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    folder = tmp_path / "registry"
    folder.mkdir()
    (folder / "sites.csv").write_text("site,name\nS1,Works\n", encoding="utf-8")
    (folder / "points.csv").write_text("site,point,medium,mn\nS1,DA001,gas,M1\n", encoding="utf-8")
    (folder / "factors.csv").write_text("site,point,factor,wire_unit,interval_s\nS1,DA001,a21026,mg/m3,60\n", encoding="utf-8")
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    import argparse

    parser = argparse.ArgumentParser()
    selftest.add(parser)
    code = selftest.run(parser.parse_args([*words, "--json"]))
    out, _ = capsys.readouterr()
    return code, json.loads(out) if out else {}


def told(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(one["row"], one["level"], one["reason"], one["field"]) for one in found["findings"]]


def sample(tmp_path: Path, name: str, body: bytes | str | list[Any]) -> str:
    file = tmp_path / name
    file.write_bytes(body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode())
    return str(file)


def test_a_clean_sample_is_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str], registry: Path) -> None:
    code, found = run(capsys, sample(tmp_path, "a.json", [CLEAN]), "--registry", str(registry))
    assert (code, found["ok"], found["counts"]["readings"], found["findings"]) == (0, True, 1, [])


def test_every_fault_is_listed_with_row_field_and_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = [{"value": "12"}, {"time": "2026-03-04T10:00:00"}, {"time": "2999-03-04T10:00:00Z"}, {"site": None}, {"period": "year"}]
    code, found = run(capsys, sample(tmp_path, "a.json", [CLEAN, *(CLEAN | fields for fields in bad)]))
    assert code == 1
    assert told(found) == [
        (1, "fault", "bad_number", "value"),
        (2, "fault", "bad_time", "time"),
        (3, "fault", "future_time", "time"),
        (4, "fault", "missing_field", "site"),
        (5, "fault", "bad_period", "period"),
    ]
    assert found["findings"][1]["found"] == "time '2026-03-04T10:00:00' has no offset"
    assert found["findings"][1]["fix"] == "add +08:00 (or Z for UTC)"
    assert all(one["fix"] for one in found["findings"])
    assert found["summary"]["fault.bad_number"] == 1
    assert found["counts"] == {"readings": 1, "refused": 5}


def test_what_would_be_taken_but_not_as_meant_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], registry: Path
) -> None:
    odd = [
        CLEAN,
        CLEAN | {"site": "S9"},
        CLEAN | {"point": "P9"},
        CLEAN | {"factor": "a9"},
        CLEAN | {"flag": "?", "unit": "ug/m3"},
    ]
    lines = "\n".join(json.dumps(row) for row in [*odd, *odd])
    code, found = run(capsys, sample(tmp_path, "a.ndjson", lines), "--registry", str(registry))
    assert code == 1
    assert [reason for _, level, reason, _ in told(found) if level == "fault"] == []
    assert {(one["reason"], one["found"]) for one in found["findings"]} == {
        ("unknown_site", "S9"),
        ("unknown_point", "S1/P9"),
        ("unknown_factor", "S1/DA001/a9"),
        ("unknown_flag", "2 values of S1/DA001/a21026/hour/avg, here the first"),
        ("unit_differs", "S1/DA001/a21026 is sent in ug/m3, but read in mg/m3"),
    }


def test_an_interval_that_is_not_the_registered_one_is_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], registry: Path
) -> None:
    minutes = [CLEAN | {"period": "realtime", "stat": "rtd", "time": f"2026-03-04T10:{m:02d}:00Z"} for m in range(0, 50, 5)]
    _, found = run(capsys, sample(tmp_path, "a.json", minutes), "--registry", str(registry))
    assert [one["reason"] for one in found["findings"]] == ["interval_differs"]
    assert "every 300 s, registered are 60 s" in found["findings"][0]["found"]


def framed(segment: str) -> bytes:
    return f"##{len(segment):04d}{segment}{crc16(segment.encode()):04X}\r\n".encode()


def test_frames_are_checked_to_the_last_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str], registry: Path) -> None:
    area = "DataTime=20260304100000;a21026-Rtd=12.3,a21026-Flag=N;a21002-Rtd=x"
    one = framed(f"QN=20260304100000000;ST=31;CN=2011;PW=123456;MN=M1;Flag=4;CP=&&{area}&&")
    other = framed("QN=20260304100000000;ST=31;CN=2011;PW=123456;MN=M9;Flag=4;CP=&&DataTime=29990304100000;a21026-Rtd=1&&")
    body = one + b"hello\r\n" + other + one[:-6] + b"0000\r\n"
    _, found = run(capsys, sample(tmp_path, "a.h212", body), "--registry", str(registry))
    assert {(row, level, reason) for row, level, reason, _ in told(found)} == {
        (None, "fault", "noise"),
        (None, "fault", "bad_crc"),
        (0, "fault", "bad_number"),
        (None, "warning", "unknown_mn"),
        (1, "fault", "future_time"),
    }
    assert found["counts"]["frames"] == 2


def test_standard_input_is_what_it_looks_like(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    readings, table = batch([("S1", "P", "f", "hour", "avg", 0, 1, 78)])
    door = {"kind": "door_open", "site": "S1", "start": "2026-03-04T10:00:00Z"}
    for body, counted in (
        (encode_readings(ARROW, readings, table), {"readings": 1}),
        (encode_readings("text/csv", readings, table), {"readings": 1}),
        (json.dumps(CLEAN).encode() + b"\n" + json.dumps(CLEAN).encode(), {"readings": 2}),
        (json.dumps(CLEAN, indent=1).encode(), {"readings": 1}),
        (json.dumps([door]).encode(), {"events": 1}),
        (framed("QN=20260304100000000;ST=31;CN=9015;PW=1;MN=M1;Flag=4;CP=&&&&"), {"frames": 1}),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(body)))
        code, found = run(capsys, "-")
        assert code == 0, found
        assert {name: count for name, count in found["counts"].items() if count} == counted


def test_events_and_hostile_bytes_are_told_not_raised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = run(capsys, sample(tmp_path, "a.json", [{"kind": "ufo", "site": "S1"}]), "--kind", "events")
    assert (code, told(found)) == (1, [(0, "fault", "unknown_kind", "kind")])
    code, found = run(capsys, sample(tmp_path, "b.json", b"\xff\xfe"))
    assert (code, told(found)) == (1, [(None, "fault", "not_utf8", "")])
    code, found = run(capsys, sample(tmp_path, "c.ndjson", b"\n\n"))
    assert (code, told(found)) == (1, [(None, "fault", "empty", "")])


def test_people_read_one_line_a_finding_and_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    selftest.add(parser)
    assert selftest.run(parser.parse_args([sample(tmp_path, "a.json", [CLEAN, CLEAN | {"value": None}])])) == 1
    out = capsys.readouterr().out
    assert "a.json row 1: fault missing_field: value is missing; give the field\n" in out
    assert out.endswith("       1  fault.missing_field\nnot clean: 1 readings, 1 refused\n")


def test_rows_are_counted_through_a_file_of_many_blocks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from connectors import files

    monkeypatch.setattr(files, "CHUNK", 500)
    monkeypatch.setattr(files.bodies, "__kwdefaults__", {"size": 400})
    lines = [json.dumps(CLEAN)] * 20 + [json.dumps(CLEAN | {"value": None})] + [json.dumps(CLEAN)] * 5
    _, found = run(capsys, sample(tmp_path, "a.ndjson", "\n".join(lines)))
    assert told(found) == [(20, "fault", "missing_field", "value")]


def test_wrong_usage_and_missing_files_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys)[0] == 2
    assert run(capsys, "x.json", "--topic", "context")[0] == 2
    assert run(capsys, str(tmp_path / "none.json"))[0] == 1
    assert run(capsys, "--topic", "alerts")[0] == 1


def test_each_reason_has_a_remedy() -> None:
    reasons = {*rows.REASONS, *events.REASONS, *hj212.REASONS, *get_args(Reason)}
    assert reasons <= set(REMEDIES)
