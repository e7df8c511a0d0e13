from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import events, inbox
from cases.store import Desk
from connectors.core import Refused
from tests.cases.made import HOUR, T0, Hand, alert, dump, lead, outputs, ready

VARYING = (
    "desk_events",
    "outbox",
    "heads",
    "case_numbers",
)  # how many events there were is a matter of delivery, not of what is true


def version(kind: str, key: str, seq: int, level: int, flag: str, at: int) -> dict[str, Any]:
    more: dict[str, Any] = {"withdrawn": True} if flag == "withdrawn" else {}
    if kind == "alert":
        return alert(key, seq, at=at, level=level, active=flag != "over", folded="断网" if flag == "folded" else None, **more)
    return lead(key, seq, at=at, level=level, auto_case=flag == "auto", alerts=["a1", "a2"][: level % 3], **more)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Versions of a few alerts and leads of one site, with per-site sequences and times that grow along."""
    flags = {"alert": ("on", "over", "folded", "withdrawn"), "lead": ("plain", "auto", "withdrawn")}
    made = []
    for seq in range(1, draw(st.integers(1, 14)) + 1):
        kind = draw(st.sampled_from(("alert", "lead")))
        key = f"{kind[0]}{draw(st.integers(1, 2))}"
        flag = draw(st.sampled_from(flags[kind]))
        made.append(version(kind, key, seq, draw(st.integers(1, 4)), flag, T0 + seq * HOUR))
    return made


def told(bodies: list[dict[str, Any]], cuts: list[int]) -> dict[str, list[tuple[Any, ...]]]:
    """Project the bodies in pieces and return the tables."""
    with TemporaryDirectory() as folder, ready(Path(folder), Hand()) as desk:
        rows = outputs(*bodies)
        edges = [0, *sorted(cut % (len(rows) + 1) for cut in cuts), len(rows)]
        for start, end in pairwise(edges):
            desk.project(rows[start:end], end)
        tables = dump(desk, without=VARYING)
    tables["cases"] = sorted((row[0], *row[2:]) for row in tables["cases"])  # numbers follow the order of arrival
    return tables


@settings(max_examples=25, deadline=None)
@given(histories(), st.randoms(use_true_random=False), st.lists(st.integers(0, 40), max_size=3))
def test_any_order_and_any_repetition_give_the_same_tables(
    bodies: list[dict[str, Any]], rng: random.Random, cuts: list[int]
) -> None:
    shuffled = bodies + rng.choices(bodies, k=len(bodies) // 2)
    rng.shuffle(shuffled)
    assert told(shuffled, cuts) == told(bodies, [])


def test_only_a_greater_sequence_replaces(desk: Desk) -> None:
    assert desk.project(outputs(alert(seq=5, level=2)), 1) == 1
    assert desk.project(outputs(alert(seq=4, level=4), alert(seq=5, level=3)), 2) == 0
    assert [one["level"] for one in desk.alerts()] == [2]


def test_the_position_is_kept_with_the_rows_and_never_runs_back(desk: Desk) -> None:
    assert desk.position() == 0
    desk.project(outputs(alert()), 7)
    desk.project([], 3)
    assert desk.position() == 7


def test_a_lead_may_arrive_before_its_alert(desk: Desk) -> None:
    desk.project(outputs(lead(auto_case=True)), 1)
    found = desk.case("案-2026-000001")
    assert found is not None
    assert found["alerts"] == []
    desk.project(outputs(alert()), 2)
    found = desk.case("案-2026-000001")
    assert found is not None
    assert [one["id"] for one in found["alerts"]] == ["a1"]


def test_a_lead_opens_its_case_once_and_by_the_system(desk: Desk) -> None:
    for k in range(3):
        desk.project(outputs(lead(seq=k + 1, auto_case=True)), k)
    (case,) = desk.cases()
    assert (case["opened_by"], case["number"]) == ("system", "案-2026-000001")
    assert desk.leads()[0]["state"] == "cased"
    assert desk.audit_verify().rows == len(desk.people())  # the audit is of people; the ledger has the opening


def test_a_lead_that_grows_worse_takes_its_case_along(desk: Desk, clock: Hand) -> None:
    desk.project(outputs(lead(level=3, auto_case=True)), 1)
    desk.move("案-2026-000001", "dispatch", "leader", {"assignee": "县分局"})
    desk.project(outputs(lead(seq=2, level=1)), 2)
    (case,) = desk.cases()
    assert (case["level"], case["due"]) == (1, "2026-03-04T12:00:00+08:00")  # red: on site within 2 h
    desk.project(outputs(lead(seq=3, level=4)), 3)
    (case,) = desk.cases()
    assert (case["level"], case["due"]) == (4, "2026-03-04T12:00:00+08:00")  # a deadline never moves away


def test_a_withdrawn_lead_or_alert_flags_its_case(desk: Desk) -> None:
    desk.project(outputs(alert(), lead(seq=2, auto_case=True)), 2)
    desk.project(outputs(alert(seq=3, merged_into="a7"), lead(seq=4, withdrawn=True)), 4)
    case = desk.case("案-2026-000001")
    assert case is not None
    assert (case["lead_withdrawn"], case["withdrawn_alerts"], case["state"]) == (True, ["a1"], "open")


def test_a_dismissed_lead_comes_back_only_when_worse(desk: Desk) -> None:
    desk.project(outputs(lead(level=3)), 1)
    with pytest.raises(Refused, match="needs a reason"):
        desk.dismiss_lead("l1", "officer", "")
    with pytest.raises(Refused, match="企业"):
        desk.dismiss_lead("l1", "enterprise", "不是我们")
    assert desk.dismiss_lead("l1", "officer", "已查")["state"] == "dismissed"
    desk.project(outputs(lead(seq=2, level=3, auto_case=True)), 2)
    assert (desk.leads()[0]["state"], desk.cases()) == ("dismissed", [])
    desk.project(outputs(lead(seq=3, level=2)), 3)
    assert desk.leads()[0]["state"] == "open"


def test_an_unknown_kind_stops_the_projection_whole(desk: Desk) -> None:
    with pytest.raises(Refused, match="knows alert and lead, not summary"):
        desk.project([*outputs(alert()), (2, "summary", "S1", {})], 2)
    assert (desk.alerts(), desk.position()) == ([], 0)


@pytest.mark.parametrize("where", ["upsert", "publish"])
def test_a_crash_inside_leaves_nothing_half(desk: Desk, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    desk.project(outputs(alert()), 1)
    before = dump(desk)
    calls = 0

    def dies(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    rows = outputs(alert(seq=2, level=1), lead(seq=3, auto_case=True))
    with monkeypatch.context() as patch:
        real = events.publish
        if where == "publish":
            patch.setattr(events, "publish", lambda tx, changes: (real(tx, changes), dies()))
        else:
            patch.setattr(inbox.Tx, "upsert", lambda tx, table, found, real=inbox.Tx.upsert: (real(tx, table, found), dies()))
        with pytest.raises(KeyboardInterrupt):
            desk.project(rows, 3)
    assert dump(desk) == before
    assert desk.project(rows, 3) == 2
    assert desk.position() == 3


def test_what_json_cannot_hold_becomes_null(desk: Desk) -> None:
    desk.project(outputs(alert(score=float("inf"), observed=float("nan"))), 1)
    assert [(one["score"], one["observed"]) for one in desk.alerts()] == [(None, None)]
