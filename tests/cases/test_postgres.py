"""What only a real PostgreSQL can show: writers that wait row by row, a server that goes away, and a link that is proved."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from cases import inbox
from cases.database import Database
from cases.migrate import version
from cases.models import APPEND_ONLY, METADATA, case_numbers
from cases.store import Desk
from connectors.core import Lost, Refused, Retry
from tests.cases.made import HOUR, PEOPLE, T0, Hand, alert, dump, lead, outputs
from tests.conftest import ROOT
from tests.real.certs import Certs
from tests.real.postgres import Postgres

pytestmark = pytest.mark.servers


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.emptied()


@pytest.fixture
def desk(url: str) -> Iterator[Desk]:
    with Desk(url, clock=Hand(), migrate=False) as made:
        yield made


def deadlocks(postgres: Postgres) -> int:
    ((count,),) = postgres.ask("SELECT sum(deadlocks) FROM pg_stat_database")
    return int(count)


def test_the_migrations_make_the_models_here_too(desk: Desk) -> None:
    with desk._db.read() as tx:
        context = MigrationContext.configure(tx.conn, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []


def test_desks_that_start_together_upgrade_one_after_the_other(postgres: Postgres) -> None:
    url = postgres.url()
    words = [sys.executable, "-c", "import sys; from cases.migrate import upgrade; upgrade(sys.argv[1])", url]
    assert [process.wait(60) for process in [subprocess.Popen(words, cwd=ROOT) for _ in range(3)]] == [0, 0, 0]
    assert version(url).state == "current"


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_a_ledger_cannot_be_emptied_either(desk: Desk, table: str) -> None:
    def change() -> None:
        with desk._db.write() as tx:
            tx.conn.exec_driver_sql(f"TRUNCATE {table} CASCADE")

    with pytest.raises(Lost, match="append-only"):
        change()


OPENER = """
import sys
from cases.store import Desk
from tests.cases.made import Hand
from concurrent.futures import ThreadPoolExecutor
with Desk(sys.argv[1], clock=Hand(), migrate=False) as desk, ThreadPoolExecutor(4) as pool:
    for number in pool.map(lambda key: desk.open_case(key, "leader")["number"], sys.argv[2:]):
        print(number)
"""


def test_case_numbers_are_unique_among_processes_and_threads(desk: Desk, url: str, postgres: Postgres) -> None:
    keys = [f"l{k:02d}" for k in range(60)]
    desk.project(outputs(*(lead(key, k) for k, key in enumerate(keys, 1))))
    before = deadlocks(postgres)
    shares = [keys[:40], keys[20:], keys[::-1]]  # each lead is opened by at least two of them
    running = [
        subprocess.Popen([sys.executable, "-c", OPENER, url, *share], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for share in shares
    ]
    told = [process.communicate(timeout=120)[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    found: dict[str, set[str]] = {}
    for share, numbers in zip(shares, told, strict=True):
        for key, number in zip(share, numbers, strict=True):
            found.setdefault(key, set()).add(number)
    assert sorted(n for numbers in found.values() for n in numbers) == [f"案-2026-{k:06d}" for k in range(1, 61)]
    assert desk.audit_verify()[:2] == (True, len(PEOPLE) + 60)
    assert deadlocks(postgres) == before


def test_of_eight_who_move_at_once_one_does(desk: Desk) -> None:
    desk.project(outputs(lead(auto_case=True)))

    def go(_: int) -> bool:
        try:
            desk.move("案-2026-000001", "dispatch", "leader", {"assignee": "甲"})
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(go, range(8))) == 1


def versions(rng: random.Random) -> list[dict[str, Any]]:
    """Five versions of 40 alerts and 20 leads, in an order of their own."""
    made = [
        version
        for step in range(5)
        for version in (
            *(alert(f"a{k:02d}", 100 * step + k, at=T0 + step * HOUR, level=1 + (k + step) % 4) for k in range(40)),
            *(lead(f"l{k:02d}", 100 * step + 50 + k, level=1 + (k + step) % 4, auto_case=k % 3 == 0) for k in range(20)),
        )
    ]
    rng.shuffle(made)
    return made


def truth(desk: Desk) -> dict[str, Any]:
    """Return what must not depend on who projected what in which order."""
    tables = dump(desk, without=("desk_events", "outbox", "heads", "case_numbers", "alert_actions", "case_events", "audit"))
    tables["cases"] = sorted((row[0], *row[2:]) for row in tables["cases"])
    return tables


def test_projectors_of_the_same_outputs_at_once_agree_and_never_wait_in_a_circle(
    desk: Desk, url: str, postgres: Postgres
) -> None:
    before = deadlocks(postgres)

    def projector(seed: int) -> None:
        rng = random.Random(seed)
        made = versions(rng)
        while made:
            cut = rng.randint(1, 60)
            desk.project(outputs(*made[:cut]))
            del made[:cut]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(projector, range(4)))
    together = truth(desk)
    numbers = sorted(one["number"] for one in desk.cases(limit=None))
    assert numbers == [f"案-2026-{k:06d}" for k in range(1, 8)]
    assert [one["id"] for one in desk.events_since(0, 100_000)] == list(range(1, desk.last_event_id() + 1))
    assert desk.position() == 0
    assert deadlocks(postgres) == before

    with Desk(postgres.emptied(), clock=Hand(), migrate=False) as alone:
        alone.project(outputs(*versions(random.Random(9))))
        assert truth(alone) == together


def test_people_projectors_and_the_clock_at_once(desk: Desk, postgres: Postgres) -> None:
    before = deadlocks(postgres)
    desk.project(outputs(*(alert(f"a{k}", k) for k in range(1, 21)), *(lead(f"l{k}", k) for k in range(21, 31))))

    def judge(first: int) -> None:
        for step in range(first, 11, 2):
            rows = [alert(f"a{k}", 100 * step + k, observed=float(step)) for k in range(20, 0, -1)]
            worse = [lead(f"l{k}", 100 * step + 50 + k, level=2) for k in range(21, 31)]
            desk.project(outputs(*rows, *worse, lead(f"m{step}", 100 * step + 90, auto_case=True)))

    def person(k: int) -> None:
        desk.act(f"a{k}", "ack", "operator")
        number = desk.open_case(f"l{20 + (k + 1) // 2}", "leader")["number"]
        desk.move(number, "note", "leader", {"text": "看"})
        desk.tick()
        assert desk.audit_verify().ok

    with ThreadPoolExecutor(8) as pool:
        judging = [pool.submit(judge, first) for first in (1, 2)]
        list(pool.map(person, range(1, 21)))
        for one in judging:
            one.result()
    rows = desk.alerts()
    assert {(one["state"], one["observed"]) for one in rows} == {("acked", 10.0)}
    assert sorted(one["number"] for one in desk.cases()) == [f"案-2026-{k:06d}" for k in range(1, 21)]
    assert desk.audit_verify()[:2] == (True, len(PEOPLE) + 50)
    seqs = [one["seq"] for one in desk.outgoing("case-events", 1000)]
    assert seqs == sorted(set(seqs))
    assert deadlocks(postgres) == before


def test_a_row_that_someone_else_is_just_putting_in_is_waited_for(desk: Desk, postgres: Postgres) -> None:
    """Two projections of one new alert: the second waits for the first, and the greater sequence stands whoever is second."""
    entered, done = threading.Event(), []

    def first() -> None:
        with desk._db.write() as tx:
            inbox.project(tx, outputs(alert(seq=7, level=1)))
            entered.set()
            time.sleep(0.2)
        done.append("first")

    def second() -> None:
        entered.wait()
        assert desk.project(outputs(alert(seq=6, level=4))) == 0
        done.append("second")

    with ThreadPoolExecutor(2) as pool:
        for one in [pool.submit(first), pool.submit(second)]:
            one.result()
    assert done == ["first", "second"]
    assert [one["level"] for one in desk.alerts()] == [1]


def test_serialisation_failures_are_repeated(url: str) -> None:
    database = Database(url, clock=Hand())

    def raise_by_one(_: int) -> None:
        def work(tx: Any) -> None:
            tx.conn.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            last = tx.scalar(sa.select(case_numbers.c.last)) or 0
            tx.upsert(case_numbers, [{"year": 2026, "last": last + 1}])

        while True:
            try:
                return database.do(work)
            except Retry:
                time.sleep(0.01)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(raise_by_one, range(20)))
    with database.read() as tx:
        assert tx.scalar(sa.select(case_numbers.c.last)) == 20
    database.close()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_restarts_costs_patience_and_nothing_that_was_confirmed(desk: Desk, postgres: Postgres, mode: str) -> None:
    desk.project(outputs(*(alert(f"a{k}", k) for k in range(1, 401))))
    confirmed: list[str] = []
    refused: list[str] = []
    down, back = threading.Event(), threading.Event()

    def person() -> None:
        for k in range(1, 401):
            while True:
                try:
                    desk.act(f"a{k}", "ack", "operator")
                except Retry as away:
                    refused.append(str(away))
                    time.sleep(0.02)
                except Refused:  # the commit was done before the link broke: the person was told nothing
                    break
                else:
                    confirmed.append(f"a{k}")
                    break
            if k == 20:
                down.set()
            if back.is_set() and len(confirmed) > 60:
                return

    worker = threading.Thread(target=person)
    worker.start()
    assert down.wait(60)
    postgres.stop(mode)
    deadline = time.monotonic() + 60
    while not any("not reachable" in text for text in refused) and time.monotonic() < deadline:
        time.sleep(0.01)
    postgres.start()
    back.set()
    worker.join(60)
    assert not worker.is_alive()
    assert any("not reachable" in text for text in refused)
    acked = {one["id"] for one in desk.alerts(state="acked", limit=None)}
    assert set(confirmed) <= acked
    assert len(confirmed) > 60
    assert desk.audit_verify()[:2] == (True, len(PEOPLE) + len(acked))


def opened(url: str) -> None:
    with Desk(url, clock=Hand(), migrate=False) as desk:
        desk.last_event_id()


def test_a_server_that_is_away_or_wrong_says_which(postgres: Postgres, postgres_tls: Postgres) -> None:
    with pytest.raises(Retry, match="not reachable"):
        opened("postgresql+psycopg://desk@127.0.0.1:1/desk")
    with pytest.raises(Lost, match="database name in desk_url"):
        opened(postgres.address("nothing_here"))
    with pytest.raises(Lost, match="user, password"):
        opened(postgres_tls.address("postgres", "worded:wrong"))
    with pytest.raises(Lost, match="offsite db"):
        opened(postgres.url())  # there, but without tables


def refusal(call: Callable[[], None]) -> str:
    with pytest.raises(Lost) as caught:
        call()
    return str(caught.value)


def test_the_link_is_proved_by_certificates(postgres_tls: Postgres, certs: Certs) -> None:
    trusted = {"sslmode": "verify-full", "sslrootcert": str(certs.ca)}
    url = postgres_tls.desk()
    name = url.rpartition("/")[2]
    opened(postgres_tls.address(name, **trusted))
    opened(postgres_tls.address(name, "worded:word", **trusted))
    told = refusal(lambda: opened(postgres_tls.address(name, **trusted | {"sslrootcert": str(certs.other_ca)})))
    assert "could not be verified" in told
    assert "sslrootcert" in told

    own = {"sslcert": str(certs.client_cert), "sslkey": str(certs.client_key)}
    opened(postgres_tls.address(name, "certified", **trusted, **own))
    assert "certificate" in refusal(lambda: opened(postgres_tls.address(name, "certified", **trusted)))


def test_a_server_without_tls_is_refused_where_tls_is_asked_for(postgres: Postgres, certs: Certs) -> None:
    told = refusal(lambda: opened(postgres.address("postgres", sslmode="verify-full", sslrootcert=str(certs.ca))))
    assert "could not be verified" in told
