from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from cases.moves import ACTIONS, CASE_STATES, CLOSE_REASONS, MOVES, check_action, check_move, choices, close_reason
from cases.people import ROLES
from connectors.core import Refused

WORDS: dict[str, Any] = {
    "assignee": "示范县分局", "note": "尽快", "reason": "不归我管", "verdict": "部分属实", "finding": "现场", "conclusion": "完成", "text": "说明",
}  # fmt: skip

ALLOWED = {
    ("open", "dispatch"): {"operator", "shift_lead", "leader"},
    ("dispatched", "return"): {"officer", "responsible_unit"},
    ("dispatched", "verify"): {"officer"},
    ("verified", "recheck"): {"shift_lead", "leader"},
    ("verified", "close"): {"shift_lead", "leader"},
    ("closed", "reopen"): {"shift_lead", "leader"},
    **{(state, "reply"): {"enterprise"} for state in ("open", "dispatched", "verified")},
    **{(state, "note"): {"operator", "shift_lead", "officer", "responsible_unit", "leader"} for state in CASE_STATES},
}


@pytest.mark.parametrize(("state", "move", "role"), list(product(CASE_STATES, MOVES, ROLES)))
def test_every_move_from_every_state_by_every_role(state: str, move: str, role: str) -> None:
    if role in ALLOWED.get((state, move), set()):
        made, said = check_move("案-2026-000001", state, move, role, WORDS)
        assert made.name == move
        assert all(said[field.name] for field in made.fields)
        assert any(one["move"] == move for one in choices(state, role))
    else:
        with pytest.raises(Refused, match=move):
            check_move("案-2026-000001", state, move, role, WORDS)
        assert all(one["move"] != move for one in choices(state, role))


@pytest.mark.parametrize(("move", "field"), [(m.name, f.name) for m in MOVES.values() for f in m.fields if f.required])
@pytest.mark.parametrize("value", [None, "", "  ", 7])
def test_a_missing_field_is_named(move: str, field: str, value: object) -> None:
    made = MOVES[move]
    with pytest.raises(Refused, match=field):
        check_move("案-1", made.before[0], move, made.roles[0], WORDS | {field: value})


def test_a_verdict_is_one_of_four() -> None:
    with pytest.raises(Refused, match="属实, 基本属实, 部分属实, 不属实"):
        check_move("案-1", "dispatched", "verify", "officer", WORDS | {"verdict": "大概属实"})


def test_a_strange_move_or_action_names_the_ones_there_are() -> None:
    with pytest.raises(Refused, match="dispatch"):
        check_move("案-1", "open", "explode", "leader", {})
    with pytest.raises(Refused, match="shelve"):
        check_action("a1", "open", "explode", "operator")


def test_the_tables_name_only_roles_and_states_that_exist() -> None:
    assert all(set(row.roles) <= set(ROLES) for table in (MOVES, ACTIONS) for row in table.values())
    assert all({*m.before, m.to or "open"} <= set(CASE_STATES) for m in MOVES.values())
    assert all(row.name_zh and row.name_en for table in (MOVES, ACTIONS) for row in table.values())


ACTORS = {name: ({"operator", "shift_lead"} if name != "note" else set(ROLES) - {"admin", "auditor"}) for name in ACTIONS}
STATES = {
    "ack": {"open"}, "unack": {"acked"}, "shelve": {"open", "acked"}, "unshelve": {"shelved"}, "close": {"open", "acked", "shelved"},
    "reopen": {"closed"}, "note": {"open", "acked", "shelved", "closed", "withdrawn"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("state", "action", "role"), list(product(("open", "acked", "shelved", "closed", "withdrawn"), ACTIONS, ROLES))
)
def test_every_action_from_every_state_by_every_role(state: str, action: str, role: str) -> None:
    if state in STATES[action] and role in ACTORS[action]:
        assert check_action("a1", state, action, role).name == action
    else:
        with pytest.raises(Refused, match="a1"):
            check_action("a1", state, action, role)


@pytest.mark.parametrize("code", CLOSE_REASONS)
def test_a_closing_reason_is_known_by_code_and_by_name(code: str) -> None:
    zh, en = CLOSE_REASONS[code]
    assert {close_reason(f"{name}：因为")[0] for name in (code, zh, en)} == {code}


@pytest.mark.parametrize("text", [None, "", "随便", "other", "其他(说明)", "other: "])
def test_a_closing_reason_outside_the_list_or_unexplained_is_refused(text: str | None) -> None:
    with pytest.raises(Refused, match="other"):
        close_reason(text)
