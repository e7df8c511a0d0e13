"""Leads: alerts of independent evidence families at one point, weighed into a violation lead (rules C.2).

Alert bodies of one site enter as the judge changes them; lead bodies leave. A lead gathers the alerts of one point within 24 h
of the first one's `opened` (the window start, by event time); it exists once enough of the counted families agree. Its
probability is 1 − Π(1 − weight × min(score, 2) / 2) over the families, each by its strongest alert.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from streams.identity import content_id, rfc3339
from streams.law import clause_at
from streams.plan.load import HOUR, LeadRule, Plan

GRADES = ((0.9, "A"), (0.6, "B"), (0.0, "C"))
"""Lowest probability → grade of the evidence [D]."""


@dataclass(slots=True)
class Evidence:
    """What a lead keeps of an alert: when it opened, its family, level, and weight × score."""

    opened: int
    family: str
    level: int
    strength: float
    open: bool = True


@dataclass(slots=True)
class Window:
    """A lead in the making, or made: the alerts of one point since the first one opened. `id` is empty while it is none."""

    point: str
    type: str
    start: int
    alerts: dict[str, Evidence] = field(default_factory=dict)
    id: str = ""
    seen: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the window as plain values, for the state store."""
        return asdict(self)

    @staticmethod
    def from_json(body: dict[str, Any]) -> Window:
        """Take a window back from the state store."""
        alerts = {k: Evidence(**v) for k, v in body["alerts"].items()}
        return Window(body["point"], body["type"], body["start"], alerts, body["id"], body["seen"])


def weigh(plan: Plan, windows: list[Window], site: str, alert: dict[str, Any], opened: int) -> Iterator[dict[str, Any]]:
    """Take one changed alert into the windows of its site; yields the lead bodies that changed by it.

    An alert stays in the window it joined; one that closes joins none.
    """
    rule = plan.rule(alert["rule"])
    for lead_rule in plan.leads:
        if alert["family"] not in lead_rule.counts:
            continue
        window = _window(lead_rule, windows, alert, opened)
        if window is None:
            continue
        strength = rule.weight * min(float(alert["score"]), 2.0) / 2.0
        evidence = Evidence(opened, alert["family"], alert["level"], strength, alert["active"])
        if window.alerts.get(alert["id"]) == evidence:
            continue
        window.alerts[alert["id"]] = evidence
        window.start = min(window.start, opened) if not window.id else window.start
        medium = "water" if alert["factor"].startswith("w") or alert["point"].startswith("DW") else "gas"
        body = _body(plan, lead_rule, window, site, medium, windows)
        if body is not None:
            yield body


def forget(windows: list[Window], now: int, window_ms: int) -> None:
    """Drop windows that no alert can change any more: all of theirs are closed, and no late opening reaches back so far."""
    windows[:] = [w for w in windows if now - w.start < 2 * window_ms or any(e.open for e in w.alerts.values())]


def _window(rule: LeadRule, windows: list[Window], alert: dict[str, Any], opened: int) -> Window | None:
    """Find the window the alert has joined, else the one that `opened` falls into, else begin one; None for one that closes."""
    mine = [w for w in windows if w.type == rule.type and w.point == alert["point"]]
    joined = next((w for w in mine if alert["id"] in w.alerts), None)
    if joined is not None or not alert["active"]:
        return joined
    for window in mine:
        if abs(opened - window.start) < rule.window_h * HOUR:
            return window
    windows.append(Window(alert["point"], rule.type, opened))
    return windows[-1]


def _body(plan: Plan, rule: LeadRule, window: Window, site: str, medium: str, windows: Iterable[Window]) -> dict[str, Any] | None:
    """Write the lead, or None while too few families agree or nothing about it changed."""
    best: dict[str, float] = {}
    for evidence in window.alerts.values():
        best[evidence.family] = max(best.get(evidence.family, 0.0), evidence.strength)
    if len(best) < rule.families:
        return None
    if not window.id:
        window.id = _identity(site, rule.type, window.start, {w.id for w in windows if w.id})
    doubt = math.prod(1.0 - strength for strength in best.values())
    level = min(e.level for e in window.alerts.values())
    alerts = sorted(window.alerts, key=lambda a: (window.alerts[a].opened, a))
    words = {"families": len(best), "n": len(alerts)}
    body = {
        "id": window.id,
        "type": rule.type,
        "site": site,
        "point": window.point,
        "window": {"start": rfc3339(window.start), "end": rfc3339(window.start + int(rule.window_h * HOUR))},
        "alerts": alerts,
        "families": sorted(best),
        "probability": round(1.0 - doubt, 4),
        "grade": next(grade for least, grade in GRADES if 1.0 - doubt >= least),
        "missing": list(rule.missing),
        "clause": clause_at(rule.clause, medium, window.start),
        "level": level,
        "auto_case": level <= rule.auto_case_level,
        "opened": rfc3339(window.start),
        "reason_zh": rule.zh.format(**words),
        "reason_en": rule.en.format(**words),
        "plan": plan.hash,
    }
    print_of = content_id(*alerts, level, str(body["probability"]))
    if print_of == window.seen:
        return None
    window.seen = print_of
    return body


def _identity(site: str, lead_type: str, start: int, taken: set[str]) -> str:
    """Return the content id; where two points of a site share a window start, the later lead gets a salt (design §3)."""
    found, salt = content_id(site, lead_type, start), 0
    while found in taken:
        salt += 1
        found = content_id(site, lead_type, start, salt)
    return found
