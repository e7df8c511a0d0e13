from __future__ import annotations

import pytest

from cases import events
from cases.store import Desk
from connectors.core import Refused
from tests.cases.made import HOUR, T0, alert, lead, outputs


def test_ids_grow_by_one_and_follow_what_happened(desk: Desk) -> None:
    assert (desk.last_event_id(), desk.first_event_id(), desk.events_since(0)) == (0, 1, [])
    desk.project(outputs(alert(), lead(seq=2, auto_case=True)), 2)
    desk.act("a1", "ack", "operator")
    desk.move("案-2026-000001", "note", "leader", {"text": "x"})
    found = desk.events_since(0)
    assert [one["id"] for one in found] == list(range(1, len(found) + 1))
    assert [one["kind"] for one in found] == ["alert", "lead", "case", "alert", "case"]
    assert (found[3]["subject"], found[3]["site"], found[3]["body"]["state"]) == ("a1", "S1", "acked")
    assert [one["id"] for one in desk.events_since(2, 2)] == [3, 4]
    assert desk.events_since(desk.last_event_id()) == []


def test_old_events_go_and_a_reader_can_tell(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEPT", 5)
    desk.project(outputs(*(alert(f"a{k}", k) for k in range(1, 9))), 8)  # a flood: the first three are not even written
    assert [one["id"] for one in desk.events_since(0)] == [4, 5, 6, 7, 8]
    desk.act("a1", "ack", "operator")
    desk.tick()
    assert (desk.first_event_id(), desk.last_event_id()) == (5, 9)


def test_what_the_judge_must_hear_waits_until_it_is_durable_elsewhere(desk: Desk) -> None:
    desk.project(outputs(*(alert(f"a{k}", k) for k in range(1, 4))), 3)
    for k in range(1, 4):
        desk.act(f"a{k}", "close", "operator", reason="false_alarm")
    waiting = desk.outgoing("context", 2)
    assert [one["body"]["alert"] for one in waiting] == ["a1", "a2"]
    assert desk.outgoing("context", 2) == waiting
    assert desk.sent("context", waiting[-1]["seq"]) == 2
    assert [(one["body"]["alert"], one["site"]) for one in desk.outgoing()] == [("a3", "S1")]


def test_every_line_of_a_ledger_leaves_for_everybody_in_order(desk: Desk) -> None:
    desk.project(outputs(alert(), lead(seq=2, auto_case=True), lead("l2", 3, site="S2")), 3)
    desk.act("a1", "ack", "operator")
    desk.act("a1", "close", "operator", reason="false_alarm")
    desk.move("案-2026-000001", "dispatch", "leader", {"assignee": "县分局"})
    desk.dismiss_lead("l2", "officer", "已查")
    desk.project(outputs(alert(seq=9, level=1)), 9)
    told = desk.outgoing("case-events")
    assert [(one["kind"], one["action"], one["by"], one["before"], one["after"], one["site"]) for one in told] == [
        ("case", "open", "system", "", "open", "S1"),
        ("alert", "ack", "operator", "open", "acked", "S1"),
        ("alert", "close", "operator", "acked", "closed", "S1"),
        ("case", "dispatch", "leader", "open", "dispatched", "S1"),
        ("lead", "dismiss", "officer", "open", "dismissed", "S2"),
        ("alert", "reopen", "system", "closed", "open", "S1"),
    ]
    assert told[3]["said"] == {"assignee": "县分局", "number": "案-2026-000001"}
    assert [one["seq"] for one in told] == sorted({one["seq"] for one in told})
    assert len({one["id"] for one in told}) == len(told)
    assert desk.sent("case-events", told[2]["seq"]) == 3
    assert desk.outgoing("case-events") == told[3:]
    assert len(desk.outgoing("context")) == 1  # the verdict waits on its own


def test_what_was_taken_back_leaves_nothing(desk: Desk) -> None:
    desk.project(outputs(alert()), 1)
    with pytest.raises(Refused):
        desk.act("a1", "close", "operator", reason="没有这个")
    with pytest.raises(Refused, match="shorten it"):
        desk.act("a1", "note", "operator", reason="长" * 300_000)
    assert desk.outgoing("case-events") == desk.outgoing("context") == []
    row = desk.alert("a1")
    assert row is not None
    assert row["actions"] == []


def test_how_far_was_judged_is_the_slowest_partition_and_the_sum_of_books(desk: Desk) -> None:
    assert desk.judged() is None
    desk.note_judged(0, T0, {"readings.received": 3})
    desk.note_judged(1, T0 - HOUR, {"readings.received": 4, "alerts": 1})
    desk.note_judged(0, T0 - HOUR, {"readings.received": 1})  # a late report
    found = desk.judged()
    assert found is not None
    assert (found.at, found.partitions, found.counts) == (T0 - HOUR, 2, {"readings.received": 7, "alerts": 1})
