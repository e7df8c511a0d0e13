"""What may be done, by whom, from where, and with which words: three closed tables and the functions that read them.

A move that is not in the table, or is not this role's, or lacks a field, is Refused with the thing and the remedy named. The tables
are data: pages draw their buttons and forms from them. Sources: rules F.2 and F.3, ISA-18.2 (acknowledge, shelve), console.md §2.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cases.people import ROLES
from connectors.core import Refused

VERDICTS: Mapping[str, str] = {"属实": "true", "基本属实": "mostly true", "部分属实": "partly true", "不属实": "untrue"}
"""Outcomes of a check with their English names (rules F.3)."""

CASE_STATES: Mapping[str, tuple[str, str]] = {
    "open": ("待派发", "to be dispatched"),
    "dispatched": ("待核查", "being checked"),
    "verified": ("已核查", "checked"),
    "closed": ("已办结", "closed"),
}
"""States of a case: (zh, en)."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a move's form; `column`: the column of `cases` that it fills."""

    name: str
    name_zh: str
    name_en: str
    required: bool = True
    choices: tuple[str, ...] = ()
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """One row of the case table. `to` None: the state stays. `clears`: columns emptied by the move."""

    name: str
    name_zh: str
    name_en: str
    before: tuple[str, ...]
    to: str | None
    roles: tuple[str, ...]
    fields: tuple[Field, ...] = ()
    clears: tuple[str, ...] = ()


_REASON = Field("reason", "理由", "reason")
_ALL = tuple(CASE_STATES)
_LIVE = ("open", "dispatched", "verified")
_DUTY = ("operator", "shift_lead", "leader")
_HEADS = ("shift_lead", "leader")
_STAFF = ("operator", "shift_lead", "officer", "responsible_unit", "leader")

MOVES: Mapping[str, Move] = {
    m.name: m
    for m in (
        Move("dispatch", "派发", "Dispatch", ("open",), "dispatched", _DUTY, (
            Field("assignee", "承办单位或人员", "assignee", column="assignee"), Field("note", "要求", "instructions", required=False))),
        Move("return", "退回", "Return", ("dispatched",), "open", ("officer", "responsible_unit"), (_REASON,), ("assignee",)),
        Move("verify", "核查反馈", "Report the check", ("dispatched",), "verified", ("officer",), (
            Field("verdict", "核查结论", "verdict", choices=tuple(VERDICTS), column="verdict"),
            Field("finding", "核查情况", "finding", column="finding"))),
        Move("recheck", "退回重查", "Check again", ("verified",), "dispatched", _HEADS, (_REASON,), ("verdict", "finding")),
        Move("close", "办结", "Close", ("verified",), "closed", _HEADS, (
            Field("conclusion", "办结意见", "conclusion", column="conclusion"),)),
        Move("reopen", "重新打开", "Reopen", ("closed",), "open", _HEADS, (_REASON,),
             ("assignee", "verdict", "finding", "conclusion", "closed")),
        Move("reply", "企业说明", "Reply of the enterprise", _LIVE, None, ("enterprise",), (Field("text", "说明", "statement"),)),
        Move("note", "备注", "Note", _ALL, None, _STAFF, (Field("text", "内容", "text"),)),
    )
}  # fmt: skip
"""Moves of a case, in the order in which pages show them."""

OPENERS = ("operator", "shift_lead", "officer", "leader")
"""Roles that may open a case from a lead, or dismiss the lead with a reason."""

CLOSE_REASONS: Mapping[str, tuple[str, str]] = {
    "lead": ("确认线索(移交)", "confirmed, handed over as a lead"),
    "device_fault": ("设备故障", "device fault"),
    "maintenance": ("校准维护(已标记)", "calibration or maintenance (marked)"),
    "stop_start": ("停产启停炉", "shutdown, start-up or stop of a furnace"),
    "comms": ("通讯中断", "communication lost"),
    "false_alarm": ("规则误报", "false alarm of the rule"),
    "duplicate": ("重复", "duplicate"),
    "other": ("其他(说明)", "other (explained)"),
}
"""The closed list of reasons to close an alert: code → (zh, en)."""


@dataclass(frozen=True, slots=True)
class Action:
    """One row of the alert table. `to` None: the state stays; `back`: the state before shelving. `needs`: what must be said."""

    name: str
    name_zh: str
    name_en: str
    before: tuple[str, ...]
    to: str | None
    roles: tuple[str, ...]
    needs: Literal["", "reason", "until", "close_reason"] = ""


_DESK = ("operator", "shift_lead")
ACTIONS: Mapping[str, Action] = {
    a.name: a
    for a in (
        Action("ack", "确认", "Acknowledge", ("open",), "acked", _DESK),
        Action("unack", "取消确认", "Take back", ("acked",), "open", _DESK),
        Action("shelve", "搁置", "Shelve", ("open", "acked"), "shelved", _DESK, "until"),
        Action("unshelve", "取消搁置", "Unshelve", ("shelved",), "back", _DESK),
        Action("close", "关闭", "Close", ("open", "acked", "shelved"), "closed", _DESK, "close_reason"),
        Action("reopen", "重新打开", "Reopen", ("closed",), "open", _DESK, "reason"),
        Action("note", "备注", "Note", ("open", "acked", "shelved", "closed", "withdrawn"), None,
               (*_DESK, "officer", "enterprise", "responsible_unit", "leader"), "reason"),
    )
}  # fmt: skip
"""What a person may do to an alert. Acknowledged is not closed, and neither says whether the condition is still there (ISA-18.2)."""


def role_zh(role: str) -> str:
    """Return a role as messages show it."""
    return f"{ROLES.get(role, role)} ({role})"


def allow(what: str, roles: tuple[str, ...], role: str) -> None:
    """Raise Refused unless `role` is one of `roles`."""
    if role not in roles:
        raise Refused(f"{what} is not for {role_zh(role)}: ask {' or '.join(role_zh(one) for one in roles)}")


def check_move(number: str, state: str, name: str, role: str, body: Mapping[str, Any]) -> tuple[Move, dict[str, str]]:
    """Return the move and the texts of its fields. Raises Refused (unknown, not from here, not this role, a field missing)."""
    move = MOVES.get(name)
    if move is None:
        raise Refused(f"there is no move {name!r}: use one of {', '.join(MOVES)}")
    if state not in move.before:
        can = ", ".join(m.name for m in MOVES.values() if state in m.before)
        raise Refused(f"case {number} is {state}, {name} needs {' or '.join(move.before)}: read it again; possible now: {can}")
    allow(f"{name} of case {number}", move.roles, role)
    return move, {field.name: text for field in move.fields if (text := _text(name, field, body.get(field.name))) is not None}


def _text(move: str, field: Field, value: Any) -> str | None:
    """Return the stripped text of one field."""
    if value is not None and not isinstance(value, str):
        raise Refused(f"{move}: {field.name} must be text")
    text = (value or "").strip()
    if not text:
        if field.required:
            raise Refused(f"{move} needs {field.name} ({field.name_zh}): fill it in and repeat")
        return None
    if field.choices and text not in field.choices:
        raise Refused(f"{move}: {field.name} is {text!r}: use one of {', '.join(field.choices)}")
    return text


def check_action(alert: str, state: str, name: str, role: str) -> Action:
    """Return the action. Raises Refused (unknown, not from here, not this role)."""
    action = ACTIONS.get(name)
    if action is None:
        raise Refused(f"there is no action {name!r}: use one of {', '.join(ACTIONS)}")
    if state not in action.before:
        can = ", ".join(a.name for a in ACTIONS.values() if state in a.before)
        raise Refused(f"alert {alert} is {state}, {name} needs {' or '.join(action.before)}: read it again; possible now: {can}")
    allow(f"{name} of alert {alert}", action.roles, role)
    return action


def close_reason(text: str | None) -> tuple[str, str]:
    """Return (code, explanation) of a closing reason: its code or its Chinese name, then `:` and words if there is more to say.

    >>> close_reason("设备故障:采样泵停转")
    ('device_fault', '采样泵停转')
    """
    head, _, tail = (text or "").replace("：", ":", 1).partition(":")
    code = next((code for code, names in CLOSE_REASONS.items() if head.strip() in {code, *names}), None)
    if code is None:
        raise Refused(f"close needs a reason of the list, not {text!r}: use one of {', '.join(CLOSE_REASONS)}")
    if code == "other" and not tail.strip():
        raise Refused("close with reason other needs an explanation: write other:what it was")
    return code, tail.strip()


def choices(state: str, role: str | None) -> list[dict[str, Any]]:
    """Return the moves that lead out of `state`, for one role or (None) for every role, as pages draw them."""
    return [
        {
            "move": m.name, "name_zh": m.name_zh, "name_en": m.name_en, "from": list(m.before), "to": m.to or state,
            "roles": list(m.roles),
            "fields": [
                {"name": f.name, "name_zh": f.name_zh, "name_en": f.name_en, "required": f.required, "choices": list(f.choices)}
                for f in m.fields
            ],
        }
        for m in MOVES.values()
        if state in m.before and (role is None or role in m.roles)
    ]  # fmt: skip
