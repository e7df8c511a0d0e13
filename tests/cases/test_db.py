from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from cases import db
from cases.store import Desk
from connectors.core import Lost, Refused, Retry
from tests.cases.made import T0, alert, outputs


@pytest.mark.parametrize("desk", ["sqlite"], indirect=True)
def test_a_locked_database_asks_for_patience(desk: Desk, tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "desk.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with desk._db._write.connect() as connection:
        connection.connection.driver_connection.execute("PRAGMA busy_timeout=1")  # the pool hands it out again
    with pytest.raises(Retry, match="busy"):
        desk.project(outputs(alert()), 1)
    assert desk.alerts() == []  # reading goes on beside a writer
    holder.execute("ROLLBACK")
    holder.close()
    assert desk.project(outputs(alert()), 1) == 1


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all/desk.sqlite", "nonsense", "oracle+nothing://x"])
def test_a_database_that_cannot_be_opened_is_lost(url: str) -> None:
    with pytest.raises(Lost, match="cannot be used"):
        Desk(url, clock=lambda: T0)


def test_a_database_without_its_tables_says_what_to_run(tmp_path: Path) -> None:
    with Desk(f"sqlite:///{tmp_path}/x.sqlite", clock=lambda: T0, migrate=False) as desk, pytest.raises(Lost):
        desk.alerts()


def test_a_file_that_is_no_database_is_lost(tmp_path: Path) -> None:
    (tmp_path / "desk.sqlite").write_bytes(b"hello" * 1000)
    with pytest.raises(Lost, match="desk's database"):
        Desk(f"sqlite:///{tmp_path}/desk.sqlite", clock=lambda: T0)


def test_the_file_is_written_ahead_and_synced(tmp_path: Path) -> None:
    with Desk(f"sqlite:///{tmp_path}/desk.sqlite", clock=lambda: T0) as desk, desk._db.read() as tx:
        found = [tx.conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "foreign_keys")]
    assert found == ["wal", 2, 1]


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("INSERT INTO case_numbers VALUES (2026, 1), (2026, 1)", Retry),  # two writers took the same key
        ("INSERT INTO lead_alerts VALUES ('no such lead', 'a1')", Lost),
        ("UPDATE audit SET at = 0", Lost),
    ],
)
def test_a_refused_row_is_named_by_the_reaction_it_demands(desk: Desk, statement: str, kind: type[Exception]) -> None:
    def write() -> None:
        with desk._db.write() as tx:
            tx.conn.exec_driver_sql(statement)

    with pytest.raises(kind, match="writer was faster" if kind is Retry else "refused a row"):
        write()


def test_many_values_are_looked_up_in_pieces(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "CHUNK", 3)
    desk.project(outputs(*(alert(f"a{k}", k) for k in range(1, 11))), 10)
    assert desk.project(outputs(*(alert(f"a{k}", k + 10) for k in range(1, 11))), 20) == 10
    assert len(desk.alerts()) == 10


def test_an_error_of_the_desk_passes_through_and_rolls_back(desk: Desk) -> None:
    def half_done() -> None:
        with desk._db.write() as tx:
            tx.conn.exec_driver_sql("DELETE FROM people")
            raise Refused("no")

    with pytest.raises(Refused, match="no"):
        half_done()
    assert desk.people()
