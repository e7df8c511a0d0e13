from __future__ import annotations

import pytest

from cases import events
from cases.store import Desk
from tests.cases.made import alert, lead, outputs


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
    waiting = desk.outgoing(2)
    assert [one["body"]["alert"] for one in waiting] == ["a1", "a2"]
    assert desk.outgoing(2) == waiting
    assert desk.sent(waiting[-1]["id"]) == 2
    assert [(one["body"]["alert"], one["site"]) for one in desk.outgoing()] == [("a3", "S1")]
