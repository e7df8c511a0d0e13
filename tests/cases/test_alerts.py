from __future__ import annotations

from typing import Any

import pytest

from cases.clocks import format_time
from cases.store import Desk
from connectors.core import Refused
from tests.cases.made import HOUR, T0, Hand, alert, lead, outputs


@pytest.fixture(autouse=True)
def _arrived(desk: Desk) -> None:
    desk.project(outputs(alert()), 1)


def seen(desk: Desk) -> dict[str, Any]:
    row = desk.alert("a1")
    assert row is not None
    return row


def test_acknowledged_is_not_closed_and_says_nothing_about_the_condition(desk: Desk) -> None:
    row = desk.act("a1", "ack", "operator")
    assert (row["state"], row["active"], row["close_reason"]) == ("acked", True, None)
    desk.project(outputs(alert(seq=2, active=False, closed=format_time(T0))), 2)
    assert (seen(desk)["state"], seen(desk)["active"]) == ("acked", False)


def test_a_condition_that_went_away_unseen_still_waits_for_a_person(desk: Desk) -> None:
    desk.project(outputs(alert(seq=2, active=False)), 2)
    assert seen(desk)["state"] == "open"
    assert desk.counts()["unhandled"] == 1


def test_the_answer_is_due_by_level_and_the_closing_after_it(desk: Desk) -> None:
    assert seen(desk)["due"] == format_time(T0 + 8 * HOUR)  # level Ⅲ, rules F.1
    assert desk.act("a1", "ack", "operator")["due"] == "2026-03-08T00:00:00+08:00"  # 3 days
    assert desk.act("a1", "unack", "operator")["due"] == format_time(T0 + 8 * HOUR)
    assert desk.act("a1", "close", "operator", reason="duplicate")["due"] is None


@pytest.mark.parametrize(
    ("reason", "until"), [(None, T0 + HOUR), (" ", T0 + HOUR), ("检修", None), ("检修", T0), ("检修", T0 + 24 * HOUR + 1)]
)
def test_a_shelf_needs_a_reason_and_an_end_within_a_day(desk: Desk, reason: str | None, until: int | None) -> None:
    with pytest.raises(Refused, match="shelve needs"):
        desk.act("a1", "shelve", "operator", reason=reason, until=until)
    assert seen(desk)["actions"] == []


@pytest.mark.parametrize("before", ["open", "acked"])
def test_a_shelf_ends_by_itself_in_the_state_before_it_and_stops_no_clock(desk: Desk, clock: Hand, before: str) -> None:
    due = (desk.act("a1", "ack", "operator") if before == "acked" else seen(desk))["due"]
    row = desk.act("a1", "shelve", "operator", reason="检修", until=T0 + 24 * HOUR)
    assert (row["state"], row["due"], row["shelved_until"]) == ("shelved", due, format_time(T0 + 24 * HOUR))
    clock.now += 24 * HOUR - 1
    assert desk.tick() == 0
    clock.now += 1
    desk.tick()
    row = seen(desk)
    assert (row["state"], row["due"], row["shelved_until"]) == (before, due, None)
    assert row["overdue"] == (before == "open")
    ends = [one for one in row["actions"] if one["action"] == "unshelve"]
    assert [one["by"] for one in ends] == ["system"]
    desk.tick()
    assert desk.tick() == 0


def test_unshelving_by_hand_returns_to_the_state_before(desk: Desk) -> None:
    desk.act("a1", "ack", "operator")
    desk.act("a1", "shelve", "operator", reason="检修", until=T0 + HOUR)
    assert desk.act("a1", "unshelve", "shift_lead")["state"] == "acked"


@pytest.mark.parametrize("handled", ["ack", "shelve", "close"])
def test_a_more_severe_judgement_reopens_what_was_handled(desk: Desk, clock: Hand, handled: str) -> None:
    desk.act("a1", handled, "operator", reason="duplicate", until=T0 + HOUR if handled == "shelve" else None)
    desk.project(outputs(alert(seq=2, level=3)), 2)
    assert seen(desk)["state"] != "open"
    clock.now += 5 * HOUR
    desk.project(outputs(alert(seq=3, level=1, at=T0 + 5 * HOUR)), 3)
    row = seen(desk)
    assert (row["state"], row["close_reason"], row["due"]) == ("open", None, format_time(T0 + 6 * HOUR))
    assert (row["actions"][-1]["by"], row["actions"][-1]["action"]) == ("system", "reopen")
    assert row["actions"][-1]["body"] == {"from_level": 3, "to_level": 1}


def test_severity_is_compared_with_what_the_person_saw(desk: Desk) -> None:
    desk.act("a1", "ack", "operator")  # at level 3
    desk.project(outputs(alert(seq=2, level=4)), 2)
    desk.project(outputs(alert(seq=3, level=3)), 3)
    assert seen(desk)["state"] == "acked"


def test_closing_takes_a_reason_of_the_list_and_reopening_clears_it(desk: Desk) -> None:
    with pytest.raises(Refused, match="close needs a reason"):
        desk.act("a1", "close", "operator", reason="没事")
    row = desk.act("a1", "close", "operator", reason="其他(说明):夜间试车")
    assert (row["state"], row["close_reason"], row["close_reason_zh"]) == ("closed", "other", "其他(说明)")
    with pytest.raises(Refused, match="reopen needs a reason"):
        desk.act("a1", "reopen", "operator")
    row = desk.act("a1", "reopen", "shift_lead", reason="误关")
    assert (row["state"], row["close_reason"]) == ("open", None)
    told = [(one["kind"], one["body"]["close_reason"]) for one in desk.outgoing()]
    assert told == [("verdict", "other"), ("verdict", None)]


def test_what_the_judge_took_back_waits_for_nobody_and_may_return(desk: Desk) -> None:
    desk.act("a1", "ack", "operator")
    desk.project(outputs(alert(seq=2, withdrawn=True, active=False)), 2)
    row = seen(desk)
    assert (row["state"], row["due"], row["actions"][-1]["action"]) == ("withdrawn", None, "withdraw")
    with pytest.raises(Refused, match="withdrawn"):
        desk.act("a1", "ack", "operator")
    desk.act("a1", "note", "operator", reason="已知")
    desk.project(outputs(alert(seq=3)), 3)
    assert seen(desk)["state"] == "open"


def test_an_unanswered_alert_is_marked_once(desk: Desk, clock: Hand) -> None:
    clock.now = T0 + 8 * HOUR + 1
    assert desk.counts()["overdue"] == 1
    assert desk.tick() == 1
    assert desk.tick() == 0
    row = seen(desk)
    assert (row["overdue"], row["escalated"], row["actions"][-1]["action"]) == (True, format_time(clock.now), "escalate")


def test_a_folded_alert_is_shown_but_waits_for_nobody(desk: Desk) -> None:
    desk.project(outputs(alert("a2", 2, folded="运营商断网")), 2)
    assert desk.counts()["unhandled"] == 1
    assert [one["id"] for one in desk.alerts(folded=True)] == ["a2"]
    assert [one["id"] for one in desk.alerts(folded=False)] == ["a1"]


def test_strangers_and_unknown_alerts_are_refused_with_the_remedy(desk: Desk) -> None:
    with pytest.raises(Refused, match=r"people\.csv"):
        desk.act("a1", "ack", "nobody")
    with pytest.raises(Refused, match="no alert 'a9'"):
        desk.act("a9", "ack", "operator")
    desk.project(outputs(alert("a2", 2, site="S2")), 2)
    desk.act("a1", "note", "enterprise", reason="已停炉")
    with pytest.raises(Refused, match="speaks for site S1"):
        desk.act("a2", "note", "enterprise", reason="不是我们")


def test_lists_are_newest_first_filtered_and_paged(desk: Desk, clock: Hand) -> None:
    rows = [alert(f"b{k}", k, at=T0 + k // 2 * HOUR, level=k % 4 + 1, site=f"S{k % 3}", rule=f"r{k % 2}") for k in range(2, 12)]
    desk.project(outputs(*rows), 12)
    everything = [one["id"] for one in desk.alerts(limit=None)]
    assert len(everything) == 11
    assert [one["seen"] for one in desk.alerts()] == sorted((one["seen"] for one in desk.alerts()), reverse=True)
    pages: list[str] = []
    while page := desk.alerts(limit=4, before=pages[-1] if pages else None):
        pages += [one["id"] for one in page]
    assert pages == everything
    assert {one["level"] for one in desk.alerts(level=2)} == {2}
    assert {one["site"] for one in desk.alerts(site="S2", rule="r1")} == {"S2"}
    assert desk.alerts(active=False) == []
    clock.now = T0 + 4 * HOUR
    assert {one["id"] for one in desk.alerts(overdue=True)} == {one["id"] for one in desk.alerts() if one["overdue"]} != set()
    assert len(desk.alerts(overdue=True)) + len(desk.alerts(overdue=False)) == 11
    with pytest.raises(Refused, match="from its start"):
        desk.alerts(before="gone")


def test_an_alert_shows_its_lead_and_case(desk: Desk) -> None:
    desk.project(outputs(lead(auto_case=True)), 2)
    row = seen(desk)
    assert [one["id"] for one in row["leads"]] == ["l1"]
    assert row["case"]["number"] == "案-2026-000001"
    assert desk.alert("a9") is None
