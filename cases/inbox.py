"""The judge's outputs in, the desk's tables out: idempotent, and the same whatever the order (promise 2).

A row is replaced only by a greater per-site `seq`. What must come out equal for any order of delivery is a function of the *set* of versions:
`seen` and `respond_by` are minima over all of them, and a lead opens its case if any version asked for one. Rows, cases, events and
(where there is one) the position are one transaction, and any number of projectors may work at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from cases import alerts as people_side
from cases import leads as lead_side
from cases import matters
from cases.audit import SYSTEM
from cases.clocks import DECIDE_LEAD, RESPOND, due, parse_time
from cases.db import Row, Tx, packed
from cases.matters import withdrawn
from cases.models import alerts, cases, lead_alerts, leads
from cases.numbers import advance, last_value
from connectors.core import Refused

Output = tuple[int, str, str, dict[str, Any]]
"""(global sequence or 0, kind alert or lead, site, body)."""

KINDS = ("alert", "lead")
_HEAD = "inbox"


def position(tx: Tx) -> int:
    """Return the position up to which outputs have been projected, 0 at first."""
    return last_value(tx, _HEAD)


def project(tx: Tx, outputs: Sequence[Output], reached: int | None = None) -> int:
    """Project outputs; return how many alerts and leads changed. Raises Refused for an unknown kind.

    `reached` is remembered with them where outputs have one sequence (one judge, one log). Without it nothing but the rows says what
    was taken: the caller keeps its own position, and several may project at once, even the same outputs.
    """
    strange = sorted({kind for _, kind, _, _ in outputs} - set(KINDS))
    if strange:
        raise Refused(f"the inbox knows {' and '.join(KINDS)}, not {', '.join(strange)}: upgrade the desk")
    changed = _alerts(tx, [body for _, kind, _, body in outputs if kind == "alert"])
    changed += _leads(tx, [body for _, kind, _, body in outputs if kind == "lead"])
    if reached is not None:
        advance(tx, _HEAD, reached)
    return changed


class _Taken(NamedTuple):
    """What a projection found and made of one table: rows by id before (locked) and after, and the ids that are new."""

    before: dict[str, Row]
    now: dict[str, Row]
    new: set[str]

    def changed(self) -> dict[str, Row]:
        """Return the rows that differ from what was there."""
        return {key: row for key, row in self.now.items() if row != self.before.get(key)}


def _taken(
    tx: Tx, table: sa.Table, bodies: Sequence[Mapping[str, Any]], merge: Callable[[Row | None, Mapping[str, Any]], Row]
) -> _Taken:
    """Merge all versions into the rows of a table: new rows first, then those that were there, locked by id."""
    versions: dict[str, list[Mapping[str, Any]]] = {}
    for body in sorted(bodies, key=lambda body: body["seq"]):
        versions.setdefault(body["id"], []).append(body)
    there = tx.there(table.c.id, versions)
    fresh = {key: _fold(None, found, merge) for key, found in versions.items() if key not in there}
    new = tx.enter(table, fresh.values())
    before = {row["id"]: row for row in tx.among(table.c.id, versions.keys() - new, lock=True)}
    now = {key: fresh[key] if key in new else _fold(before[key], found, merge) for key, found in versions.items()}
    return _Taken(before, now, new)


def _fold(row: Row | None, versions: Iterable[Mapping[str, Any]], merge: Callable[[Row | None, Mapping[str, Any]], Row]) -> Row:
    for body in versions:
        row = merge(row, body)
    assert row is not None
    return row


def _alerts(tx: Tx, bodies: Sequence[Mapping[str, Any]]) -> int:
    news: list[tuple[Row, Row]] = []

    def merge(old: Row | None, body: Mapping[str, Any]) -> Row:
        row = merged(old, body, tx.now)
        if old is not None and old["state"] in people_side.HANDLED and row["state"] != old["state"]:
            news.append((old, row))
        return row

    taken = _taken(tx, alerts, bodies, merge)
    people_side.save(tx, list(taken.changed().values()), taken.new)
    for old, row in news:
        action = "withdraw" if row["state"] == "withdrawn" else "reopen"
        people_side.log(tx, old, row["state"], SYSTEM, action, {"from_level": old["judged"], "to_level": row["level"]})
    return len(taken.changed())


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
    taken = _taken(tx, leads, bodies, _merged_lead)
    changed = taken.changed()
    lead_side.save(tx, list(changed.values()), taken.new)
    newer = {key: row for key, row in changed.items() if row["seq"] != taken.before.get(key, {"seq": -1})["seq"]}
    _link(tx, newer, bodies)
    matters.follow(tx, newer)
    asked = {body["id"] for body in bodies if body.get("auto_case") and not withdrawn(body)}
    has_case = tx.there(cases.c.lead, asked)
    waiting = [key for key in dict.fromkeys(body["id"] for body in bodies) if key in asked - has_case]  # numbered as they came
    for key in waiting:
        if taken.now[key]["state"] != "dismissed":
            matters.opened(tx, taken.now[key], SYSTEM)
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
    latest = {body["id"]: body for body in bodies if body["id"] in newer and body["seq"] == newer[body["id"]]["seq"]}
    for key in latest:
        tx.conn.execute(sa.delete(lead_alerts).where(lead_alerts.c.lead == key))
    tx.add(lead_alerts, [{"lead": key, "alert": one} for key, body in latest.items() for one in dict.fromkeys(body["alerts"])])
