"""What a judge tells of itself: the cost of every rule, steps, and the rule that fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors.core import JSON, Record
from connectors.sqlite_log import SqliteLog
from detectors.catalog import CATALOG
from offsite.judge_link import JudgeLink, teller
from streams.commit import Step
from streams.costs import Costs
from streams.embedded import Embedded, open_embedded
from streams.identity import rfc3339
from streams.plan import load_plan
from streams.plan.load import MINUTE
from streams.records import registry_record, tick_record
from streams.registry_model import Point, Registry, Site
from streams.vitals import Vitals
from tests.streams.driven import T0

MINUTES = 80
RECORDS = 1 + 2 * MINUTES


def records() -> Iterator[Record]:
    registry = Registry(sites=(Site("S1"),), points=(Point("S1", "DA001", "gas"),))
    yield registry_record(registry, T0)
    for minute in range(MINUTES):
        at = T0 + minute * MINUTE
        common = {"site": "S1", "point": "DA001", "time": rfc3339(at), "period": "realtime", "stat": "rtd", "flag": "N"}
        rows = [common | {"factor": "a21026", "value": 20.0 + minute}, common | {"factor": "a21002", "value": 7.0}]
        yield Record("emission-monitoring", "S1", at + 1_000, JSON, json.dumps(rows).encode())
        yield Record("context", "", at + 2_000, JSON, tick_record(at).body)


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[Embedded]:
    clock = count(1)
    with closing(SqliteLog(tmp_path / "log", lambda: T0)) as log:
        log.append(list(records()))
        made = open_embedded(tmp_path, log, load_plan(None), durable=False, vitals=Vitals(lambda: next(clock) / 1000.0))
        yield made
        made.store.close()


def test_every_rule_of_the_plan_that_saw_rows_has_its_cost(judge: Embedded) -> None:
    while judge.run_once(7):
        pass
    costs = judge.vitals.costs
    assert {"constant", "step", "out-of-range", "silence"} <= set(costs.seconds)
    assert costs.rows["constant"] == 2 * MINUTES
    assert costs.seconds["constant"] > 0
    assert not costs.failures
    told = judge.vitals.tell([judge.engine.state])
    assert told["arrived"] == {"0": T0 + (MINUTES - 1) * MINUTE + 2_000}
    assert sum(told["steps"]["counts"]) == sum(told["records"]["counts"]) == 23
    assert told["records"]["total"] == RECORDS
    assert told["series"] == 2
    assert told["state_bytes"] > 0


def test_a_rule_that_raises_is_named_and_the_cost_of_the_others_goes_on(
    judge: Embedded, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    constant = CATALOG["constant"]

    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(constant, name)

        def step(self, state: Any, time: Any, values: Any) -> Any:
            if np.any(values[:, 0] == 25.0):
                raise ZeroDivisionError("a fault of ours")
            return constant.step(state, time, values)

    monkeypatch.setitem(CATALOG, "constant", Broken())
    for _ in range(200):
        judge.run_once(16)
    assert judge.store.position() == RECORDS
    failures = judge.vitals.costs.failures
    assert set(failures) == {"constant"}
    assert failures["constant"] >= 2
    assert "while rule 'constant' scored" in caplog.text
    assert judge.vitals.costs.rows["out-of-range"] >= 2 * MINUTES - 2


def test_the_books_tell_alerts_by_rule_and_level(judge: Embedded) -> None:
    while judge.run_once():
        pass
    books = judge.store.books()
    assert books["alerts"] == 1
    assert books["alerts.constant.3"] == 1


def test_partitions_that_others_judge_are_forgotten() -> None:
    vitals = Vitals()
    vitals.done([Step([Record("t", "k", 5, JSON, b"")]), Step([Record("t", "k", 6, JSON, b""), tick_record(T0)], partition=1)])
    assert vitals.arrived == {0: 5, 1: 6}
    vitals.assigned([1, 2])
    assert vitals.arrived == {1: 6}


def test_signs_travel_to_the_parent_and_a_full_queue_holds_nobody_up() -> None:
    now = [1_000]
    link = JudgeLink(lambda: now[0])
    told = teller(lambda: 0.0, link.environment() | {"OFFSITE_VITALS_FD": str(link.child.detach())})
    assert told._socket is not None
    try:
        costs = Costs()
        vitals = Vitals()
        vitals.costs = costs
        costs.failures["step"] = 2
        for number in range(10_000):
            vitals.arrived[0] = number
            told.tell(lambda: vitals.tell([]), now=True)
        assert link.told()["arrived"]["0"] >= 1
        assert link.failures == {"step": 2}
        assert link.failed == {"step": 1_000}
        costs.failures["step"] += 1
        now[0] = 2_000
        told.tell(lambda: vitals.tell([]), now=True)
        assert link.told()["arrived"]["0"] == 9_999
        assert link.failures == {"step": 3}
        assert link.failed == {"step": 2_000}
        told.tell(lambda: vitals.tell([]))  # it is not time yet: nothing is said
        link.heard = 0
        link.told()
        assert link.heard == 0
    finally:
        told._socket.close()
        link.close()
