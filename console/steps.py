"""Which steps a page may offer: the desk's tables of actions and openers, for one state and role, as buttons with their fields.

Enters: a state and the chosen person's role. Leaves: `{action, name_zh, name_en, fields}` in the order of the table. The desk checks again.
"""

from __future__ import annotations

from typing import Any

from cases.moves import ACTIONS, CLOSE_REASONS, OPENERS

Step = dict[str, Any]


def field(name: str, zh: str, en: str, choices: list[Step] | None = None, *, required: bool = True) -> Step:
    """Return one field of a form."""
    return {"name": name, "name_zh": zh, "name_en": en, "required": required, "choices": choices or []}


_REASON = field("reason", "理由", "Reason")
FIELDS: dict[str, list[Step]] = {
    "": [],
    "reason": [_REASON],
    "until": [field("until", "时长", "For how long"), _REASON],
    "close_reason": [
        field(
            "reason",
            "关闭原因",
            "Reason",
            [{"code": code, "name_zh": zh, "name_en": en} for code, (zh, en) in CLOSE_REASONS.items()],
        ),
        field("explanation", "说明（选“其他”时必填）", "Explanation (needed with “other”)", required=False),
    ],
}
"""The fields behind each `needs` of the action table."""


def of_alert(state: str, role: str | None) -> list[Step]:
    """Return what `role` may do to an alert in `state`; nothing while nobody is chosen."""
    return [
        {"action": one.name, "name_zh": one.name_zh, "name_en": one.name_en, "fields": FIELDS[one.needs]}
        for one in ACTIONS.values()
        if state in one.before and role in one.roles
    ]


def of_lead(state: str, role: str | None) -> list[Step]:
    """Return what `role` may decide about a lead in `state`."""
    if role not in OPENERS or state not in ("open", "dismissed"):
        return []
    dismiss = {"action": "dismiss", "name_zh": "不予立项", "name_en": "Dismiss", "fields": [_REASON]}
    return [{"action": "open_case", "name_zh": "转为案件", "name_en": "Open a case", "fields": []}] + (
        [dismiss] if state == "open" else []
    )
