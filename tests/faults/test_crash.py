"""SIGKILL on real processes: nothing acknowledged is lost, nothing exists twice, and the log alone decides what comes out.

Real and made-up frames go over TCP to `offsite run`, which is killed at KILLS random moments (whole, the judge alone, the I/O
process alone), started again, and sent whatever got no 9014. Then a clean judge and a fresh desk read the same log in other steps.

    KILLS=50 CRASH_SEED=7 python -m pytest tests/faults/test_crash.py
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cases.store import Desk
from connectors.core import HJ212, Record
from connectors.hj212.header import parse
from connectors.memory import MemoryLog
from connectors.sqlite_log import SqliteLog
from offsite.city.clock import SharedClock
from streams import registry as registries
from streams.embedded import open_embedded
from streams.engine import Engine
from streams.history import READINGS, History
from streams.plan import load_plan
from streams.plan.load import HOUR
from streams.records import registry_record
from streams.store import StateStore
from tests.faults.world.product import Product, deliver, until
from tests.faults.world.traffic import BEGIN, HOURS, Batch, batches, registry

pytestmark = pytest.mark.faults

KILLS = int(os.environ.get("KILLS", "10"))
SEED = int(os.environ.get("CRASH_SEED", str(time.time_ns() % 100_000)))
FATES = ("accepted", "duplicate", "revised", "late", "refused")
REAL, MADE = 10, 5
RESENDS = 20
END = BEGIN + (HOURS + 3) * HOUR


@pytest.fixture
def traffic(shared_data: Path) -> list[Batch]:
    return batches(shared_data, REAL, MADE)


def test_kill_nine_at_random_moments(tmp_path: Path, traffic: list[Batch]) -> None:
    print(f"replay with KILLS={KILLS} CRASH_SEED={SEED}")
    registries.save(registry(traffic), tmp_path / "registry")
    data = tmp_path / "data"
    resent = crash_through(tmp_path, data, traffic, Random(SEED))
    with SqliteLogs(data / "log") as log:
        records = list(log)
    exactly_once(records, traffic, resent)
    same_as_clean(data, tmp_path / "clean", records)
    books_of_an_undisturbed_run(data, traffic)


def crash_through(folder: Path, data: Path, traffic: list[Batch], rng: Random) -> int:
    """Send all traffic through a product that is killed now and then; return how many frames were sent more than once."""
    kills = Counter(rng.randrange(len(traffic)) for _ in range(KILLS))
    resent = 0
    with SharedClock(folder / "clock") as clock:
        clock.set(traffic[0].now)
        options = (folder / "stderr.txt", "--registry", str(folder / "registry"), "--clock", str(folder / "clock"))
        product = Product(data, *options)
        try:
            port = product.ready()
            for number, batch in enumerate(traffic):
                clock.set(batch.now)
                left = list(batch.frames)
                for _ in range(kills[number]):
                    what = rng.choice(["all", "all", "judge", "io"])
                    left = deliver(port, left, during=partial(strike, product, what, rng))
                    resent += len(left)
                    if what != "judge":
                        product = Product(data, *options)
                        port = product.ready()
                for _ in range(RESENDS):
                    left = deliver(port, left)
                    resent += len(left)
                    if not left:
                        break
                assert not left, f"{len(left)} frames got no answer, however often they were sent"
            clock.set(END)
            at_rest(data)
            assert product.stop() == 0
        finally:
            product.end()
    return resent


def strike(product: Product, what: str, rng: Random) -> None:
    """Wait a moment, of the length that a batch takes, and kill."""
    time.sleep(rng.choice([0.0, rng.random() / 50, rng.random() / 5]))
    product.kill(what)


class SqliteLogs:
    """The records of a log folder, read as a program beside the writer does."""

    def __init__(self, folder: Path) -> None:
        self._log = SqliteLog(folder, lambda: 0)

    def __enter__(self) -> Iterator[Record]:
        return iter(self._log.read(0, 1_000_000))

    def __exit__(self, *_: object) -> None:
        self._log.close()


def at_rest(data: Path) -> None:
    """Wait until log time's last hour is ticked, the judge has read the whole log, and the desk has seen all of it."""
    log, store = SqliteLog(data / "log", lambda: 0), StateStore(data / "state.sqlite", readonly=True)
    with Desk(f"sqlite:///{data / 'desk.sqlite'}", clock=lambda: BEGIN, migrate=False) as desk:
        until("the last tick", lambda: log.read(log.end() - 1, 1)[0].arrived >= END)
        until("the judge at the end of the log", lambda: store.position() >= log.end())
        until("the desk at the end of the outputs", lambda: not store.outputs(desk.position(), 1))
    log.close()
    store.close()


def exactly_once(records: list[Record], traffic: list[Batch], resent: int) -> None:
    """Every frame (all of them were acknowledged in the end) is in the log; only what was sent again may be there again."""
    there = Counter((h.mn, h.qn) for r in records if r.content_type == HJ212 for h in [parse(r.body[6:-4])])
    sent = {(s.mn, s.qn) for batch in traffic for s in batch.frames}
    assert there.keys() == sent
    assert there.total() - len(sent) <= resent
    assert [r.offset for r in records] == list(range(len(records)))
    arrived = [r.arrived for r in records]
    assert arrived == sorted(arrived)


def same_as_clean(data: Path, clean: Path, records: list[Record]) -> None:
    """A clean judge and desk over the same log give the same outputs, books, history, alerts, leads and cases, id by id."""
    log = MemoryLog(lambda: 0)
    log.records = records
    judge = open_embedded(clean, log, load_plan(), durable=False)
    while judge.run_once(777):
        continue
    mine, theirs = StateStore(data / "state.sqlite", readonly=True), judge.store
    assert mine.outputs(0, 100_000) == theirs.outputs(0, 100_000)
    assert mine.books() == theirs.books()
    offsets, judged = (sorted(row["offset"] for row in kept.rows(READINGS)) for kept in (History(data, mine), judge.kept))
    assert offsets == judged
    assert len(offsets) == mine.books()["readings.received"]
    with desk_of(data) as killed, desk_of(clean) as fresh:
        while outputs := theirs.outputs(fresh.position(), 7):
            fresh.project(outputs, outputs[-1][0])
        assert of_people(killed.alerts(limit=None)) == of_people(fresh.alerts(limit=None))
        assert of_people(killed.leads(limit=None)) == of_people(fresh.leads(limit=None))
        cases, expected = (
            {c["id"]: (c["lead_id"], c["site"], c["state"]) for c in desk.cases(limit=None)} for desk in (killed, fresh)
        )
        assert cases == expected
        numbers = sorted(int(c["number"].rpartition("-")[2]) for c in killed.cases(limit=None))
        assert numbers == list(range(1, len(expected) + 1))
        assert killed.audit_verify().ok
        assert len(killed.alerts(limit=None)) >= 20
        assert len(cases) >= 3
    mine.close()
    theirs.close()


def desk_of(data: Path) -> Desk:
    return Desk(f"sqlite:///{data / 'desk.sqlite'}", clock=lambda: BEGIN)


def of_people(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Index rows by id, without what depends on the clock of the moment."""
    return {row["id"]: {k: v for k, v in row.items() if k not in ("overdue", "escalated")} for row in rows}


def books_of_an_undisturbed_run(data: Path, traffic: list[Batch]) -> None:
    """One fate a reading; what was accepted, revised, late and refused is what one undisturbed sending of each frame gives."""
    store = StateStore(data / "state.sqlite", readonly=True)
    got = store.books()
    store.close()
    log = MemoryLog(lambda: 0)
    log.append([registry_record(registry(traffic), BEGIN)])
    log.append([Record("emission-monitoring", s.mn, b.now, HJ212, s.frame.rstrip()) for b in traffic for s in b.frames])
    engine = Engine(load_plan())
    engine.step(log.records)
    plain = engine.state.books
    assert got["readings.received"] == sum(got[f"readings.{fate}"] for fate in FATES)
    for fate in ("accepted", "revised", "late", "refused"):
        assert got[f"readings.{fate}"] == plain[f"readings.{fate}"], fate
