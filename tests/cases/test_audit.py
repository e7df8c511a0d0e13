from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

import pytest

from cases.store import Desk
from connectors.core import Refused
from tests.cases.made import PEOPLE, alert, outputs


@pytest.fixture
def file(desk: Desk, tmp_path: Path) -> Path:
    """The file of a desk whose audit has 12 rows: 8 people, 4 actions."""
    desk.project(outputs(alert()), 1)
    for action in ("ack", "unack", "ack"):
        desk.act("a1", action, "operator")
    desk.act("a1", "note", "leader", reason="夜查")
    return tmp_path / "desk.sqlite"


def tamper(file: Path, statement: str) -> None:
    """Change the file as somebody would who can write it and takes the triggers away."""
    with sqlite3.connect(file) as raw:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        raw.execute(statement)
    raw.close()


def test_the_chain_holds(desk: Desk, file: Path) -> None:
    assert desk.audit_verify() == (True, len(PEOPLE) + 4, None)


@pytest.mark.parametrize(
    ("column", "value"),
    [("at", "1"), ("by", "'x'"), ("role", "'x'"), ("what", "'x'"), ("subject", "'x'"), ("body", "'{}'"), ("body", "'{'"),
     ("prev_hash", "'x'"), ("hash", "'x'")],
)  # fmt: skip
@pytest.mark.parametrize("seq", [1, 5, 12])
def test_a_changed_row_is_named(desk: Desk, file: Path, column: str, value: str, seq: int) -> None:
    tamper(file, f'UPDATE audit SET "{column}" = {value} WHERE seq = {seq}')
    assert desk.audit_verify()[::2] == (False, seq)


@pytest.mark.parametrize(("seq", "named"), [(1, 1), (5, 5), (12, 12)])
def test_a_removed_row_is_missed_even_at_the_end(desk: Desk, file: Path, seq: int, named: int) -> None:
    tamper(file, f"DELETE FROM audit WHERE seq = {seq}")
    assert desk.audit_verify()[::2] == (False, named)


def test_a_row_put_in_is_named(desk: Desk, file: Path) -> None:
    tamper(file, "INSERT INTO audit SELECT 13, at, by, role, what, subject, body, hash, prev_hash FROM audit WHERE seq = 12")
    assert desk.audit_verify()[::2] == (False, 13)


@pytest.mark.parametrize("table", ["audit", "alert_actions", "case_events"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET at = 0", "DELETE FROM {}"])
def test_the_database_itself_refuses_to_change_a_ledger(desk: Desk, file: Path, table: str, verb: str) -> None:
    from tests.cases.made import lead

    desk.project(outputs(lead(seq=9, auto_case=True)), 9)
    raw = sqlite3.connect(file)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw.execute(verb.format(table))
    raw.close()


def test_the_chain_can_be_checked_with_nothing_but_the_standard_library(file: Path) -> None:
    raw = sqlite3.connect(file)
    raw.row_factory = sqlite3.Row
    prev = "0" * 64
    for row in raw.execute("SELECT * FROM audit ORDER BY seq").fetchall():
        signed = {name: row[name] for name in ("seq", "at", "by", "role", "what", "subject")} | {"body": json.loads(row["body"])}
        text = json.dumps(signed, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        prev = hashlib.sha256((prev + text).encode()).hexdigest()
        assert row["hash"] == prev
    raw.close()


def test_what_a_person_does_elsewhere_is_written_down_too(desk: Desk) -> None:
    desk.record("admin", "device.adopt", "MN0001", {"site": "S1"})
    (row,) = desk.audit_entries(subject="MN0001")
    assert (row["by"], row["role"], row["what"], row["body"]) == ("admin", "admin", "device.adopt", {"site": "S1"})
    assert desk.audit_entries(after=row["seq"]) == []
    with pytest.raises(Refused):
        desk.record("nobody", "device.adopt", "MN0001", {})


def test_every_kind_of_change_by_a_person_leaves_a_row(desk: Desk, file: Path) -> None:
    from tests.cases.made import lead

    desk.project(outputs(lead("l1", 2), lead("l2", 3)), 3)
    desk.open_case("l1", "officer")
    desk.dismiss_lead("l2", "officer", "已查")
    desk.move("案-2026-000001", "note", "leader", {"text": "x"})
    key = desk.create_key("采集", None, "admin")["id"]
    desk.revoke_key(key, "admin")
    whats = {row["what"] for row in desk.audit_entries()}
    assert whats == {
        "people.put", "alert.ack", "alert.unack", "alert.note", "case.open", "lead.dismiss", "case.note", "key.create", "key.revoke",
    }  # fmt: skip
    assert desk.audit_verify().ok
