from __future__ import annotations

import base64
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offsite.cli import VERBS
from offsite.cli.show import COLUMNS, _readable
from tests.offsite.conftest import Offsite

ALERT = {"id", "rule", "site", "point", "factor", "level", "state", "opened", "updated", "closed", "observed", "expected"}
ALERT |= {"limit", "unit", "reason_zh", "reason_en", "plan"}
LEAD = {"id", "type", "site", "window", "alerts", "families", "probability", "grade", "missing", "clause"}


def is_ascending(rows: list[dict[str, Any]], column: str) -> bool:
    times = [datetime.fromisoformat(row[column]) for row in rows]
    return times == sorted(times) and all(t.utcoffset() is not None for t in times)


def books(offsite: Offsite, data: Path) -> dict[str, Any]:
    return offsite("doctor", "--books", "--json", "--data", data).rows[0]


@pytest.mark.parametrize("what", COLUMNS)
def test_every_kind_is_shown_as_a_table_and_as_json(offsite: Offsite, data: Path, what: str) -> None:
    table, rows = offsite("show", what, "--data", data), offsite("show", what, "--data", data, "--json")
    assert (table.code, rows.code) == (0, 0)
    assert table.out.split("\n")[0].split() == list(COLUMNS[what])
    assert len(table.out.splitlines()) == 1 + len(rows.rows)


def test_readings_are_all_there_oldest_first_with_their_fates(offsite: Offsite, data: Path) -> None:
    rows = offsite("show", "readings", "--data", data, "--json").rows
    counts = books(offsite, data)["readings"]
    assert len(rows) == counts["received"] > 1000
    assert {fate: sum(r["fate"] == fate for r in rows) for fate in ("accepted", "duplicate", "revised")} == {
        fate: counts[fate] for fate in ("accepted", "duplicate", "revised")
    }
    assert is_ascending(rows, "time")


def test_alerts_hold_what_the_design_promises(offsite: Offsite, data: Path) -> None:
    rows = offsite("show", "alerts", "--data", data, "--json").rows
    assert len(rows) == books(offsite, data)["alerts"] > 0
    assert all(row.keys() >= ALERT for row in rows)
    assert is_ascending(rows, "opened")


def test_leads_hold_what_the_design_promises(offsite: Offsite, desk_with_leads: Path) -> None:
    rows = offsite("show", "leads", "--data", desk_with_leads, "--json").rows
    assert [row["id"] for row in rows] == ["l1", "l2"]
    assert all(row.keys() >= LEAD for row in rows)


def test_a_site_and_the_newest_rows_can_be_chosen(offsite: Offsite, data: Path) -> None:
    rows = offsite("show", "readings", "--data", data, "--json").rows
    site = rows[-1]["site"]
    own = offsite("show", "readings", "--data", data, "--json", "--site", site).rows
    assert 0 < len(own) < len(rows)
    assert sorted(map(repr, own)) == sorted(repr(row) for row in rows if row["site"] == site)
    alerts = offsite("show", "alerts", "--data", data, "--json").rows
    assert offsite("show", "alerts", "--data", data, "--json", "--limit", 2).rows == alerts[-2:] != alerts


def test_rejects_are_readable_and_exact(offsite: Offsite, data: Path) -> None:
    rows = offsite("show", "rejects", "--data", data, "--json").rows
    assert len(rows) == sum(books(offsite, data)["frames"]["rejected"].values()) > 0
    cut = next(row for row in rows if "cut off" in row["raw"])
    assert cut["raw"] == r"##0010 cut off\x00\xff\r\n"
    assert base64.b64decode(cut["raw_base64"]) == b"##0010 cut off\x00\xff\r\n"
    assert cut["site"] is None


def test_frames_are_what_was_received(offsite: Offsite, held: Path, hour: list[bytes]) -> None:
    rows = offsite("show", "frames", "--data", held, "--json").rows
    assert [base64.b64decode(row["body_base64"]) for row in rows] == hour
    assert rows[0]["body"] == hour[0].decode()


def test_outputs_that_the_desk_has_not_seen_are_brought_to_it_first(offsite: Offsite, data: Path) -> None:
    before = offsite("show", "alerts", "--data", data, "--json").rows
    (data / "desk.sqlite").unlink()
    assert [row["id"] for row in offsite("show", "alerts", "--data", data, "--json").rows] == [row["id"] for row in before]


def test_what_is_no_data_directory_is_told_with_the_remedy(offsite: Offsite, tmp_path: Path) -> None:
    told = offsite("show", "alerts", "--data", tmp_path)
    assert told.code == 1
    assert f"{tmp_path} is no data directory" in told.err
    assert "offsite run" in told.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help_with_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    from offsite.cli import main

    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    assert f"offsite {verb}" in capsys.readouterr().out.split("examples:")[1]


@given(st.binary(max_size=60))
def test_bytes_are_shown_on_one_line_and_exactly(raw: bytes) -> None:
    row = _readable({"raw": raw}, "raw")
    assert row["raw"].isprintable()
    assert base64.b64decode(row["raw_base64"]) == raw
    assert orjson.loads(orjson.dumps(row)) == row
