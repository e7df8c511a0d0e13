from __future__ import annotations

from pathlib import Path

from connectors.hj212.header import parse
from streams.registry import load
from tests.offsite.conftest import Offsite


def test_a_draft_names_every_device_its_medium_and_its_factors(
    offsite: Offsite, recording: Path, hour: list[bytes], tmp_path: Path
) -> None:
    out = tmp_path / "city"
    told = offsite("registry", "infer", recording, "--out", out, "--json")
    draft = load(out)
    assert told.code == 0
    assert told.rows[0] == {
        "ok": True,
        "sites": len(draft.sites),
        "points": len(draft.points),
        "factors": len(draft.factors),
    } | dict.fromkeys(("limits", "equipment", "people", "districts"), 0)
    assert {p.mn for p in draft.points} == {parse(frame[6:]).mn for frame in hour}
    assert {(p.medium, p.point) for p in draft.points} == {("gas", "DA001"), ("water", "DW001")}
    cod = [f for f in draft.factors if f.factor == "w01018"]
    assert {f.wire_unit for f in cod} == {"mg/L"}
    assert any(f.interval_s for f in cod)
    assert all(f.interval_s is None or f.interval_s > 0 for f in cod)


def test_a_draft_serves_a_replay_with_the_same_books(offsite: Offsite, recording: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "city"
    offsite("registry", "infer", recording, "--out", out)
    told = offsite("replay", recording, "--registry", out, "--data", tmp_path / "again", "--json")
    assert told.rows[0]["readings"] == offsite("doctor", "--books", "--json", "--data", data).rows[0]["readings"]
    shown = offsite("registry", "show", "--data", tmp_path / "again", "--json").rows[0]
    assert len(shown["points"]) == len(load(out).points)
    assert shown == offsite("registry", "show", out, "--json").rows[0]
    table = offsite("registry", "show", out).out.splitlines()
    assert table[0].split() == ["site", "name", "district", "point", "medium", "mn", "factors", "limits"]
    assert len(table) == 1 + len(shown["points"])


def test_a_draft_of_rows_tells_the_medium_by_the_code(offsite: Offsite, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    head = "site,point,factor,time,period,stat,value\n"
    rows = "".join(f"S1,DW001,w01018,2026-03-04T{hour:02d}:00:00+08:00,hour,avg,12\n" for hour in (8, 9, 10))
    file.write_text(head + rows + "S1,DA001,a21026,2026-03-04T08:00:00+08:00,hour,avg,3\n")
    offsite("registry", "infer", file, "--out", tmp_path / "city")
    draft = load(tmp_path / "city")
    assert [(p.point, p.medium, p.mn) for p in draft.points] == [("DA001", "gas", ""), ("DW001", "water", "")]
    assert [(f.factor, f.interval_s) for f in draft.factors] == [("a21026", None), ("w01018", 3600.0)]


def test_a_draft_never_overwrites_a_registry(offsite: Offsite, recording: Path, tmp_path: Path) -> None:
    (tmp_path / "sites.csv").write_text("site\nS1\n")
    told = offsite("registry", "infer", recording, "--out", tmp_path)
    assert told.code == 1
    assert "does not overwrite" in told.err
    assert (tmp_path / "sites.csv").read_text() == "site\nS1\n"


def test_a_check_lists_all_faults_at_once(offsite: Offsite, tmp_path: Path) -> None:
    (tmp_path / "sites.csv").write_text("site,lon\nS1,400\n")
    (tmp_path / "points.csv").write_text("site,point,medium\nS1,DA001,smoke\n")
    told = offsite("registry", "check", tmp_path)
    assert told.code == 1
    assert "sites.csv:2" in told.err
    assert "points.csv:2" in told.err
    asked = offsite("registry", "check", tmp_path, "--json")
    assert (asked.code, asked.rows[0]["ok"]) == (1, False)
    assert len(asked.rows[0]["faults"]) >= 2


def test_a_file_that_is_not_there_is_told(offsite: Offsite, tmp_path: Path) -> None:
    for what in (
        ("registry", "check", tmp_path / "no"),
        ("registry", "show", tmp_path / "no.json"),
        ("registry", "infer", tmp_path / "no.h212", "--out", tmp_path),
    ):
        told = offsite(*what)
        assert told.code == 1
        assert str(tmp_path / "no") in told.err
