"""The judge's outputs in, the desk's tables out: idempotent, and the same whatever the order (promise 2).

A row is replaced only by a greater per-site `seq`. What must come out equal for any order of delivery is a function of the *set* of versions:
`seen` and `respond_by` are minima over all of them, and a lead opens its case if any version asked for one. Position, rows, cases and
events are one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from cases import alerts as people_side
from cases import leads as lead_side
from cases import matters
from cases.audit import SYSTEM
from cases.clocks import DECIDE_LEAD, RESPOND, due, parse_time
from cases.db import Row, Tx, packed
from cases.matters import withdrawn
from cases.models import alerts, cases, heads, lead_alerts, leads
from cases.numbers import last_value, next_value
from connectors.core import Refused

Output = tuple[int, str, str, dict[str, Any]]
"""(global sequence, kind alert or lead, site, body)."""

KINDS = ("alert", "lead")
_HEAD = "inbox"


def position(tx: Tx) -> int:
    """Return the position up to which outputs have been projected, 0 at first."""
    return last_value(tx, _HEAD)


def project(tx: Tx, outputs: Sequence[Output], reached: int) -> int:
    """Project outputs and remember `reached`; return how many alerts and leads changed. Raises Refused for an unknown kind."""
    strange = sorted({kind for _, kind, _, _ in outputs} - set(KINDS))
    if strange:
        raise Refused(f"the inbox knows {' and '.join(KINDS)}, not {', '.join(strange)}: upgrade the desk")
    there = next_value(tx, _HEAD, 0)  # locks the head: one projection at a time
    changed = _alerts(tx, [body for _, kind, _, body in outputs if kind == "alert"])
    changed += _leads(tx, [body for _, kind, _, body in outputs if kind == "lead"])
    if reached > there:
        tx.upsert(heads, [{"name": _HEAD, "value": reached, "hash": None}])
    return changed


def _in_order(bodies: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(bodies, key=lambda body: body["seq"])


def _alerts(tx: Tx, bodies: Sequence[Mapping[str, Any]]) -> int:
    before = {row["id"]: row for row in tx.among(alerts.c.id, (body["id"] for body in bodies), lock=True)}
    now: dict[str, Row] = dict(before)
    news: list[tuple[Row, Row]] = []
    for body in _in_order(bodies):
        old = now.get(body["id"])
        row = now[body["id"]] = merged(old, body, tx.now)
        if old is not None and old["state"] in people_side.HANDLED and row["state"] != old["state"]:
            news.append((old, row))
    changed = [row for key, row in now.items() if row != before.get(key)]
    people_side.save(tx, changed)
    for old, row in news:
        action = "withdraw" if row["state"] == "withdrawn" else "reopen"
        people_side.log(tx, old, row["state"], SYSTEM, action, {"from_level": old["judged"], "to_level": row["level"]})
    return len(changed)


def merged(row: Row | None, body: Mapping[str, Any], now: int) -> Row:
    """Return an alert's row after one more version of what the judge says; an older version moves only the minima."""
    updated = parse_time(body["updated"])
    answer = due(updated, RESPOND[body["level"]])
    if row is None:
        row = {"seq": -1, "state": "open", "back_to": None, "judged": body["level"], "seen": updated, "respond_by": answer}
        row |= {"escalated": None, "shelved_until": None, "close_reason": None, "changed": now}
    changed = row | {"seen": min(row["seen"], updated), "respond_by": min(row["respond_by"], answer)}
    if body["seq"] > row["seq"]:
        changed |= {name: body[name] for name in ("id", "seq", "rule", "site", "level", "active", "folded")}
        changed |= {"body": packed(dict(body)), "changed": now} | _state(row, body, answer)
    return changed | {"due": people_side.due_of(changed)}


def _state(row: Row, body: Mapping[str, Any], answer: int) -> Row:
    """Return what a newer version does to the state: withdrawn, back from withdrawal, or re-opened because it is more severe."""
    level = body["level"]
    if withdrawn(body):
        return {"state": "withdrawn", "back_to": None, "shelved_until": None, "judged": level}
    if row["state"] in people_side.HANDLED and level < row["judged"]:
        fresh = {"escalated": None, "shelved_until": None, "close_reason": None, "respond_by": answer}
        return {"state": "open", "back_to": None, "judged": level} | fresh
    if row["state"] in ("open", "withdrawn"):
        return {"state": "open", "judged": level}
    return {}


def _leads(tx: Tx, bodies: Sequence[Mapping[str, Any]]) -> int:
    before = {row["id"]: row for row in tx.among(leads.c.id, (body["id"] for body in bodies), lock=True)}
    now: dict[str, Row] = dict(before)
    asked: set[str] = set()
    for body in _in_order(bodies):
        now[body["id"]] = _merged_lead(now.get(body["id"]), body)
        if body.get("auto_case") and not withdrawn(body):
            asked.add(body["id"])
    changed = {key: row for key, row in now.items() if row != before.get(key)}
    lead_side.save(tx, list(changed.values()))
    newer = {key: row for key, row in changed.items() if row["seq"] != before.get(key, {"seq": -1})["seq"]}
    _link(tx, newer, bodies)
    has_case = {row["lead"] for row in tx.among(cases.c.lead, asked)}
    waiting = [key for key in dict.fromkeys(body["id"] for body in bodies) if key in asked - has_case]  # numbered as they came
    lead_side.save(tx, [matters.opened(tx, now[key], SYSTEM) for key in waiting if now[key]["state"] != "dismissed"])
    matters.follow(tx, newer)
    return len(changed)


def _merged_lead(row: Row | None, body: Mapping[str, Any]) -> Row:
    updated = parse_time(body["updated"])
    if row is None:
        row = {"seq": -1, "state": "open", "judged": body["level"], "seen": updated}
    changed = row | {"seen": min(row["seen"], updated)}
    if body["seq"] > row["seq"]:
        changed |= {name: body[name] for name in ("id", "seq", "type", "site", "level")} | {"body": packed(dict(body))}
        if not (row["state"] == "dismissed" and body["level"] >= row["judged"]):
            state = "cased" if row["state"] == "cased" else "withdrawn" if withdrawn(body) else "open"
            changed |= {"state": state, "judged": body["level"]}
    return changed | {"due": due(changed["seen"], DECIDE_LEAD) if changed["state"] == "open" else None}


def _link(tx: Tx, newer: Mapping[str, Row], bodies: Sequence[Mapping[str, Any]]) -> None:
    """Say which alerts the newest version of each lead rests on."""
    latest = {body["id"]: body for body in _in_order(bodies) if body["id"] in newer and body["seq"] == newer[body["id"]]["seq"]}
    for key in latest:
        tx.conn.execute(sa.delete(lead_alerts).where(lead_alerts.c.lead == key))
    tx.add(lead_alerts, [{"lead": key, "alert": one} for key, body in latest.items() for one in dict.fromkeys(body["alerts"])])
