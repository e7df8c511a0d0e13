"""The desk on a real PostgreSQL: the same tables, the same laws, and writers that wait for one another row by row."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from cases.models import APPEND_ONLY, METADATA
from cases.store import Desk
from connectors.core import Lost, Refused
from tests.cases.made import PEOPLE, Hand, alert, lead, outputs
from tests.conftest import need

pytestmark = pytest.mark.servers


def run(*command: str) -> None:
    """Run one of PostgreSQL's programs; as root it runs as postgres, which PostgreSQL insists on."""
    user = "postgres" if os.geteuid() == 0 else None
    subprocess.run(command, check=True, capture_output=True, user=user, cwd="/", env=os.environ | {"LC_ALL": "C.UTF-8"})


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Give the URL of a throw-away cluster."""
    initdb = shutil.which("initdb") or next(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)
    need(initdb, "PostgreSQL")
    need(find_spec("psycopg"), "psycopg, the driver of PostgreSQL")
    assert initdb is not None
    control = str(Path(initdb).with_name("pg_ctl"))
    with tempfile.TemporaryDirectory(prefix="pg") as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        run(initdb, "-D", f"{folder}/data", "-U", "desk", "-A", "trust", "--no-sync", "-E", "UTF8")
        free.close()
        run(control, "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o", f"-p {port} -h 127.0.0.1 -k {folder} -F", "start")
        yield f"postgresql+psycopg://desk@127.0.0.1:{port}/postgres"
        run(control, "-D", f"{folder}/data", "-m", "immediate", "-w", "stop")


@pytest.fixture
def desk(server: str) -> Iterator[Desk]:
    """Give a desk in a database that is emptied before each test."""
    engine = sa.create_engine(server)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    engine.dispose()
    with Desk(server, clock=Hand()) as made:
        made.put_people(PEOPLE)
        yield made


def test_the_migrations_make_the_models_here_too(desk: Desk) -> None:
    with desk._db.read() as tx:
        context = MigrationContext.configure(tx.conn, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []


def test_from_lead_to_closure(desk: Desk) -> None:
    rows = outputs(lead(auto_case=True), alert(level=1), alert(seq=2, level=4))
    assert desk.project(rows[::-1], 3) == 2
    assert desk.project(rows, 3) == 0
    desk.act("a1", "close", "operator", reason="lead")
    for move, by in (("dispatch", "leader"), ("verify", "officer"), ("close", "leader")):
        words = {"assignee": "县分局", "verdict": "属实", "finding": "查", "conclusion": "完"}
        desk.move("案-2026-000001", move, by, words)
    assert desk.counts()["cases"]["closed"] == 1
    assert [one["id"] for one in desk.alerts(state="closed", active=True, overdue=False)] == ["a1"]
    assert desk.alerts(before="a1") == []
    assert desk.audit_verify()[:2] == (True, len(PEOPLE) + 4)
    assert [one["id"] for one in desk.events_since(0)] == list(range(1, desk.last_event_id() + 1))
    assert len(desk.outgoing()) == 2
    desk.tick()
    grant = desk.check_key(desk.create_key("a", ["S1"])["secret"])
    assert grant is not None
    assert grant.allows("S1")


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("verb", ["UPDATE {} SET at = 0", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_the_database_itself_refuses_to_change_a_ledger(desk: Desk, table: str, verb: str) -> None:
    def change() -> None:
        with desk._db.write() as tx:
            tx.conn.exec_driver_sql(verb.format(table))

    with pytest.raises(Lost, match="append-only"):
        change()


def test_numbers_and_the_audit_under_eight_threads(desk: Desk) -> None:
    keys = [f"l{k}" for k in range(40)]
    desk.project(outputs(*(lead(key, k) for k, key in enumerate(keys, 1))), 40)

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda key: desk.open_case(key, "leader")["number"], [*keys, *keys]))
    assert sorted(set(numbers)) == [f"案-2026-{k:06d}" for k in range(1, 41)]
    assert desk.audit_verify()[:2] == (True, len(PEOPLE) + 40)


def test_of_eight_who_move_at_once_one_does(desk: Desk) -> None:
    desk.project(outputs(lead(auto_case=True)), 1)

    def go(_: int) -> bool:
        try:
            desk.move("案-2026-000001", "dispatch", "leader", {"assignee": "甲"})
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(go, range(8))) == 1


def test_projecting_beside_people_loses_neither(desk: Desk) -> None:
    desk.project(outputs(*(alert(f"a{k}", k) for k in range(1, 21)), *(lead(f"l{k}", k) for k in range(21, 31))), 30)

    def judge(first: int) -> None:
        for step in range(first, 11, 2):
            rows = [alert(f"a{k}", 100 * step + k, observed=float(step)) for k in range(1, 21)]
            desk.project(outputs(*rows, lead(f"m{step}", 100 * step + 50, auto_case=True)), 100 * step)

    def person(k: int) -> None:
        desk.act(f"a{k}", "ack", "operator")
        desk.open_case(f"l{20 + (k + 1) // 2}", "leader")
        desk.tick()

    with ThreadPoolExecutor(6) as pool:
        judging = [pool.submit(judge, first) for first in (1, 2)]
        list(pool.map(person, range(1, 21)))
        for one in judging:
            one.result()
    rows = desk.alerts()
    assert {(one["state"], one["observed"]) for one in rows} == {("acked", 10.0)}
    assert len(desk.cases()) == 20
    assert desk.audit_verify()[:2] == (True, len(PEOPLE) + 30)
