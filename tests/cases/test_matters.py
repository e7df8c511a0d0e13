from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cases.clocks import parse_time
from cases.db import content_id
from cases.store import Desk
from connectors.core import Refused
from tests.cases.made import HOUR, T0, Hand, alert, lead, outputs

FOUND = {"verdict": "基本属实", "finding": "脱硫塔停运两小时"}


@pytest.fixture
def case(desk: Desk) -> dict[str, Any]:
    desk.project(outputs(alert(), lead(seq=2)), 2)
    return desk.open_case("l1", "operator")


def test_a_case_has_the_id_of_its_lead_and_the_years_next_number(case: dict[str, Any]) -> None:
    assert (case["id"], case["number"], case["version"]) == (content_id(["case", "l1"]), "案-2026-000001", 1)
    assert (case["opened_by"], case["due"], case["clock"]["colour"]) == ("operator", "2026-03-05T00:00:00+08:00", "yellow")
    assert (case["lead"]["state"], case["alerts"][0]["id"]) == ("cased", "a1")


def test_asked_twice_the_same_case_answers(desk: Desk, case: dict[str, Any]) -> None:
    before = desk.audit_verify().rows
    assert desk.open_case("l1", "shift_lead")["id"] == case["id"]
    assert (len(desk.cases()), desk.audit_verify().rows) == (1, before)


def test_numbers_start_anew_with_the_year_of_china(desk: Desk, clock: Hand) -> None:
    desk.project(outputs(*(lead(f"l{k}", k) for k in range(1, 5))), 4)
    clock.now = parse_time("2026-12-31T23:59:59+08:00")
    first = [desk.open_case(key, "leader")["number"] for key in ("l1", "l2")]
    clock.now = parse_time("2027-01-01T00:00:00+08:00")
    second = [desk.open_case(key, "leader")["number"] for key in ("l3", "l4")]
    assert first + second == ["案-2026-000001", "案-2026-000002", "案-2027-000001", "案-2027-000002"]


def test_from_lead_to_closure(desk: Desk, clock: Hand, case: dict[str, Any]) -> None:
    key = case["number"]
    row = desk.move(key, "dispatch", "shift_lead", {"assignee": "示范县分局", "note": "今日到场"})
    assert (row["state"], row["assignee"], row["due"]) == ("dispatched", "示范县分局", "2026-03-08T00:00:00+08:00")
    clock.now += HOUR
    row = desk.move(key, "verify", "officer", FOUND)
    assert (row["state"], row["verdict"], row["finding"], row["since"]) == (
        "verified",
        *FOUND.values(),
        "2026-03-04T11:00:00+08:00",
    )
    row = desk.move(key, "close", "leader", {"conclusion": "已整改"})
    assert (row["state"], row["closed"], row["clock"]) == ("closed", "2026-03-04T11:00:00+08:00", None)
    assert [(one["version"], one["before"], one["after"]) for one in row["events"]] == [
        (1, "", "open"), (2, "open", "dispatched"), (3, "dispatched", "verified"), (4, "verified", "closed"),
    ]  # fmt: skip
    assert [one["name_zh"] for one in row["events"]] == ["建案", "派发", "核查反馈", "办结"]
    assert [one["body"]["verdict"] for one in desk.outgoing()] == ["基本属实"]
    assert desk.counts()["cases"] == {"open": 0, "dispatched": 0, "verified": 0, "closed": 1}


def test_every_way_back_clears_what_it_takes_back(desk: Desk, case: dict[str, Any]) -> None:
    key = case["id"]
    desk.move(key, "dispatch", "operator", {"assignee": "甲"})
    row = desk.move(key, "return", "officer", {"reason": "不在辖区"})
    assert (row["state"], row["assignee"]) == ("open", None)
    desk.move(key, "dispatch", "operator", {"assignee": "乙"})
    desk.move(key, "verify", "officer", FOUND)
    row = desk.move(key, "recheck", "shift_lead", {"reason": "缺照片"})
    assert (row["state"], row["assignee"], row["verdict"], row["finding"]) == ("dispatched", "乙", None, None)
    desk.move(key, "verify", "officer", FOUND)
    desk.move(key, "close", "leader", {"conclusion": "完"})
    row = desk.move(key, "reopen", "leader", {"reason": "反弹"})
    assert [row[name] for name in ("state", "assignee", "verdict", "conclusion", "closed")] == ["open", None, None, None, None]
    assert [one["body"]["verdict"] for one in desk.outgoing()] == ["基本属实", None, "基本属实", None]


def test_the_enterprise_answers_for_its_own_site_only(desk: Desk, case: dict[str, Any]) -> None:
    assert desk.move(case["id"], "reply", "enterprise", {"text": "检修备案"})["state"] == "open"
    desk.project(outputs(lead("l2", 3, site="S2")), 3)
    other = desk.open_case("l2", "leader")
    with pytest.raises(Refused, match="speaks for site S1, not for S2"):
        desk.move(other["id"], "reply", "enterprise", {"text": "检修备案"})


def test_a_refused_move_changes_nothing(desk: Desk, case: dict[str, Any]) -> None:
    before = (desk.case(case["id"]), desk.audit_verify().rows, desk.last_event_id())
    for move, by, body in (("close", "leader", {"conclusion": "x"}), ("dispatch", "auditor", {}), ("dispatch", "leader", {})):
        with pytest.raises(Refused):
            desk.move(case["id"], move, by, body)
    assert (desk.case(case["id"]), desk.audit_verify().rows, desk.last_event_id()) == before
    with pytest.raises(Refused, match="no case"):
        desk.move("案-2026-000009", "note", "leader", {"text": "x"})
    with pytest.raises(Refused, match="no lead"):
        desk.open_case("l9", "leader")
    with pytest.raises(Refused, match="审计"):
        desk.open_case("l1", "auditor")


def test_a_withdrawn_lead_opens_nothing(desk: Desk) -> None:
    desk.project(outputs(lead(withdrawn=True)), 1)
    with pytest.raises(Refused, match="withdrawn"):
        desk.open_case("l1", "leader")


def test_who_saw_an_old_version_is_refused(desk: Desk, case: dict[str, Any]) -> None:
    desk.move(case["id"], "note", "leader", {"text": "先看"})
    with pytest.raises(Refused, match="version 2, you saw 1"):
        desk.move(case["id"], "dispatch", "leader", {"assignee": "甲", "version": 1})
    assert desk.move(case["id"], "dispatch", "leader", {"assignee": "甲", "version": 2})["version"] == 3


def test_of_two_who_move_at_once_one_is_refused(desk: Desk, case: dict[str, Any]) -> None:
    gate = threading.Barrier(2)

    def go(by: str) -> str:
        gate.wait()
        try:
            return str(desk.move(case["id"], "dispatch", by, {"assignee": by})["assignee"])
        except Refused as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        said = sorted(pool.map(go, ("leader", "operator")), key=len)
    row = desk.case(case["id"])
    assert row is not None
    assert (row["assignee"], row["version"]) == (said[0], 2)
    assert "dispatched" in said[1]


def test_numbers_are_unique_and_without_gaps_under_eight_threads(desk: Desk) -> None:
    keys = [f"l{k}" for k in range(40)]
    desk.project(outputs(*(lead(key, k) for k, key in enumerate(keys, 1))), 40)
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda key: desk.open_case(key, "leader")["number"], [*keys, *keys]))
    assert sorted(set(numbers)) == [f"案-2026-{k:06d}" for k in range(1, 41)]
    assert numbers[:40] == numbers[40:]
    assert desk.audit_verify()[:2] == (True, 40 + len(desk.people()))


def test_cases_are_listed_newest_first_with_the_moves_of_a_role(desk: Desk, clock: Hand, case: dict[str, Any]) -> None:
    desk.project(outputs(lead("l2", 3, site="S2", level=1)), 3)
    clock.now = T0 + HOUR
    desk.open_case("l2", "leader")
    assert [one["lead_id"] for one in desk.cases()] == ["l2", "l1"]
    assert [one["lead_id"] for one in desk.cases(site="S1", state="open", level=3)] == ["l1"]
    seen = desk.case(case["number"], role="enterprise")
    assert seen is not None
    assert [one["move"] for one in seen["moves"]] == ["reply"]
    assert desk.case("案-2026-000009") is None
    row = desk.lead("l2")
    assert row is not None
    assert (row["case"]["number"], [one["id"] for one in row["alert_rows"]]) == ("案-2026-000002", ["a1"])
    assert desk.lead("l9") is None
    assert desk.leads(site="S2", state="cased", level=1)[0]["id"] == "l2"
