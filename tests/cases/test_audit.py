from __future__ import annotations

import hashlib
import json

import pytest

from cases.store import Desk
from connectors.core import Lost, Refused
from tests.cases.made import PEOPLE, alert, outputs


@pytest.fixture(autouse=True)
def _acted(desk: Desk) -> None:
    """Let the audit have 12 rows: 8 people, 4 actions."""
    desk.project(outputs(alert()), 1)
    for action in ("ack", "unack", "ack"):
        desk.act("a1", action, "operator")
    desk.act("a1", "note", "leader", reason="夜查")


def tamper(desk: Desk, statement: str) -> None:
    """Change the tables as somebody would who owns them and takes the triggers away."""
    with desk._db.write() as tx:
        if tx.conn.dialect.name == "postgresql":
            tx.conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
        else:
            for (name,) in tx.conn.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").all():
                tx.conn.exec_driver_sql(f"DROP TRIGGER {name}")
        tx.conn.exec_driver_sql(statement)


def test_the_chain_holds(desk: Desk) -> None:
    assert desk.audit_verify() == (True, len(PEOPLE) + 4, None)


@pytest.mark.parametrize(
    ("column", "value"),
    [("at", "1"), ("by", "'x'"), ("role", "'x'"), ("what", "'x'"), ("subject", "'x'"), ("body", "'{}'"), ("body", "'{'"),
     ("prev_hash", "'x'"), ("hash", "'x'")],
)  # fmt: skip
@pytest.mark.parametrize("seq", [1, 5, 12])
def test_a_changed_row_is_named(desk: Desk, column: str, value: str, seq: int) -> None:
    tamper(desk, f'UPDATE audit SET "{column}" = {value} WHERE seq = {seq}')
    assert desk.audit_verify()[::2] == (False, seq)


@pytest.mark.parametrize(("seq", "named"), [(1, 1), (5, 5), (12, 12)])
def test_a_removed_row_is_missed_even_at_the_end(desk: Desk, seq: int, named: int) -> None:
    tamper(desk, f"DELETE FROM audit WHERE seq = {seq}")
    assert desk.audit_verify()[::2] == (False, named)


def test_a_row_put_in_is_named(desk: Desk) -> None:
    tamper(desk, "INSERT INTO audit SELECT 13, at, by, role, what, subject, body, hash, prev_hash FROM audit WHERE seq = 12")
    assert desk.audit_verify()[::2] == (False, 13)


@pytest.mark.parametrize("table", ["audit", "alert_actions", "case_events"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET at = 0", "DELETE FROM {}"])
def test_the_database_itself_refuses_to_change_a_ledger(desk: Desk, table: str, verb: str) -> None:
    from tests.cases.made import lead

    desk.project(outputs(lead(seq=9, auto_case=True)), 9)

    def change() -> None:
        with desk._db.write() as tx:
            tx.conn.exec_driver_sql(verb.format(table))

    with pytest.raises(Lost, match="append-only"):
        change()


def test_the_chain_can_be_checked_with_nothing_but_the_standard_library(desk: Desk) -> None:
    with desk._db.read() as tx:
        rows = [dict(row) for row in tx.conn.exec_driver_sql("SELECT * FROM audit ORDER BY seq").mappings()]
    assert len(rows) == len(PEOPLE) + 4
    prev = "0" * 64
    for row in rows:
        signed = {name: row[name] for name in ("seq", "at", "by", "role", "what", "subject")} | {"body": json.loads(row["body"])}
        text = json.dumps(signed, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        prev = hashlib.sha256((prev + text).encode()).hexdigest()
        assert row["hash"] == prev


def test_what_a_person_does_elsewhere_is_written_down_too(desk: Desk) -> None:
    desk.record("admin", "device.adopt", "MN0001", {"site": "S1"})
    (row,) = desk.audit_entries(subject="MN0001")
    assert (row["by"], row["role"], row["what"], row["body"]) == ("admin", "admin", "device.adopt", {"site": "S1"})
    assert desk.audit_entries(after=row["seq"]) == []
    with pytest.raises(Refused):
        desk.record("nobody", "device.adopt", "MN0001", {})


def test_every_kind_of_change_by_a_person_leaves_a_row(desk: Desk) -> None:
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
