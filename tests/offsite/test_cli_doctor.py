from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from offsite.replayer import replay
from tests.offsite.conftest import Offsite


def told(offsite: Offsite, data: Path) -> tuple[int, dict[str, list[str]]]:
    """Run the doctor; return its code and what is not ok, by check."""
    said = offsite("doctor", "--data", data, "--json")
    bad: dict[str, list[str]] = {}
    for row in said.rows:
        if row["grade"] != "ok" and row["check"] not in {"ports", "disk"}:  # these two are of the machine the tests run on
            assert row["remedy"]
            bad.setdefault(row["check"], []).append(f"{row['grade']}: {row['detail']}")
    return said.code, bad


def test_the_books_of_the_stores_are_those_of_the_replay(offsite: Offsite, recording: Path, tmp_path: Path) -> None:
    found = replay([recording], data=tmp_path / "d", registry=None, plan=None, progress=False)
    books = offsite("doctor", "--books", "--json", "--data", tmp_path / "d").rows
    assert books == [{name: value for name, value in found.items() if name not in {"seconds", "readings_per_second"}}]
    assert "received" in offsite("doctor", "--books", "--data", tmp_path / "d").out


def test_a_sound_directory_has_no_finding(offsite: Offsite, adopted: Path, data: Path) -> None:
    for one in (adopted, data):
        assert told(offsite, one)[1] == {}
        assert "sound" in offsite("doctor", "--data", one).out


def lose_log(data: Path) -> None:
    for path in (data / "log").iterdir():
        path.unlink()


def begin_log_later(data: Path) -> None:
    with closing(sqlite3.connect(next((data / "log").glob("*.sqlite")))) as db, db:
        db.execute('DELETE FROM log WHERE "offset" < 100')
    with closing(sqlite3.connect(data / "state.sqlite")) as db, db:
        db.execute("UPDATE meta SET value = 50 WHERE name = 'position'")


def cut_state(data: Path) -> None:
    (data / "state.sqlite").write_bytes((data / "state.sqlite").read_bytes()[:5000])


def scribble_desk(data: Path) -> None:
    (data / "desk.sqlite").write_bytes(b"not a database" * 1000)


def drop_table(data: Path) -> None:
    with closing(sqlite3.connect(data / "state.sqlite")) as db, db:
        db.execute("DROP TABLE dead_letters")


def unbalance(data: Path) -> None:
    with closing(sqlite3.connect(data / "state.sqlite")) as db, db:
        body = orjson.loads(db.execute("SELECT body FROM chunks WHERE kind = 'misc'").fetchone()[0])
        body["books"]["readings.received"] = body["books"].get("readings.received", 0) + 1
        db.execute("UPDATE chunks SET body = ? WHERE kind = 'misc'", (orjson.dumps(body),))


def other_schema(data: Path) -> None:
    with closing(sqlite3.connect(data / "desk.sqlite")) as db, db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    (data / "run.json").write_text('{"pid": 1}')  # a running product is not upgraded by a reader


def bad_registry(data: Path) -> None:
    (data / "registry.json").write_text('{"sites": [{"lon": "east"}]}')


@pytest.mark.parametrize(
    ("damage", "check", "words"),
    [
        (lose_log, "positions", "but the log ends at 0"),
        (begin_log_later, "positions", "but the log begins at 100"),
        (cut_state, "files", "state.sqlite"),
        (scribble_desk, "files", "desk.sqlite"),
        (drop_table, "files", "has no table dead_letters"),
        (unbalance, "books", "received 1"),
        (other_schema, "schema", "is at 9999"),
        (bad_registry, "registry", "lon"),
    ],
)
def test_what_is_broken_is_found_with_its_remedy(
    offsite: Offsite, held: Path, damage: Callable[[Path], None], check: str, words: str
) -> None:
    assert offsite("key", "list", "--data", held).code == 0  # makes the desk
    damage(held)
    code, bad = told(offsite, held)
    assert code == 1
    assert any(line.startswith("broken") and words in line for line in bad[check])


def test_a_taken_port_is_a_warning(offsite: Offsite, data: Path, tmp_path: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (tmp_path / "o.toml").write_text(f"desk_port = {port}\nhj212_port = -1\nhttp_port = -1\n")
        said = offsite("doctor", "--data", data, "--config", tmp_path / "o.toml", "--json")
    rows = [row for row in said.rows if row["check"] == "ports"]
    assert [(row["grade"], str(port) in row["detail"]) for row in rows] == [("warning", True)]


def test_without_a_data_directory_the_machine_is_looked_at(
    offsite: Offsite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert {row["check"] for row in offsite("doctor", "--json").rows} == {"disk", "plan", "ports"}
    assert offsite("doctor", "--books").code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_plan_with_faults_is_broken(offsite: Offsite, data: Path, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("[time]\nnonsense = 1\n")
    said = offsite("doctor", "--data", data, "--plan", tmp_path / "p.toml", "--json")
    assert said.code == 1
    assert any(row["check"] == "plan" and "time.nonsense" in row["detail"] for row in said.rows)


def test_check_config_lists_everything_at_once(offsite: Offsite, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text("[time]\nnonsense = 1\n")
    (tmp_path / "city").mkdir()
    (tmp_path / "city" / "sites.csv").write_text("site,lon\nS1,400\n")
    (tmp_path / "o.toml").write_text(
        f"""hj212_port = 70000
colour = "red"
plan = "{tmp_path}/plan.toml"
registry = "{tmp_path}/city"
[dialects.MN1]
crc = "sha"
taste = "sour"
"""
    )
    said = offsite("check-config", tmp_path / "o.toml")
    assert said.code == 1
    for words in (
        "hj212_port",
        "colour",
        "time.nonsense",
        "sites.csv:2",
        "dialects.MN1.crc: 'sha' is not one of hj212",
        "dialects.MN1.taste",
    ):
        assert words in said.err
    assert offsite("check-config", tmp_path / "o.toml", "--json").rows[0]["ok"] is False


def test_check_config_reads_secrets_and_certificates(offsite: Offsite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT", "123")
    (tmp_path / "c.pem").write_text("no certificate")
    (tmp_path / "o.toml").write_text(
        f'tls_port = 9213\ntls_cert = "{tmp_path}/c.pem"\ntls_key = "{tmp_path}/c.pem"\n[sm4_keys]\nMN1 = "env:SHORT"\n'
    )
    said = offsite("check-config", tmp_path / "o.toml")
    assert said.code == 1
    assert "tls_cert" in said.err
    assert "sm4_keys.MN1: env:SHORT has 3 bytes" in said.err


def test_check_config_is_content_with_the_defaults(offsite: Offsite) -> None:
    said = offsite("check-config")
    assert said.code == 0
    assert "no fault" in said.out
    assert offsite("check-config", "--json").rows == [{"ok": True, "faults": []}]


def test_check_config_tells_a_file_that_is_not_there(offsite: Offsite, tmp_path: Path) -> None:
    said = offsite("check-config", tmp_path / "no.toml")
    assert said.code == 1
    assert "no.toml" in said.err
