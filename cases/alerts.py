"""Alerts as people see and handle them: rows of the table out, a person's action in.

`state` (open, acked, shelved, closed, withdrawn) is what people and the judge decided; `active` says whether the condition is still there. The
two are never mixed (ISA-18.2). A shelf ends by itself, and nothing pauses a deadline.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from cases import events, outbox
from cases.audit import SYSTEM, Person, record
from cases.clocks import CLOSE, RESPOND, SHELVE_LIMIT, due, format_time
from cases.db import Row, Tx, canonical
from cases.models import alert_actions, alerts, lead_alerts
from cases.moves import CLOSE_REASONS, Action, check_action, close_reason
from cases.people import who
from connectors.core import Refused

HANDLED = ("acked", "shelved", "closed")
"""States that a person put an alert in; only these are re-opened by a more severe judgement."""


def due_of(row: Mapping[str, Any]) -> int | None:
    """Return what an alert's next step is due by: the answer while open, the closing once acknowledged."""
    state = row["back_to"] if row["state"] == "shelved" else row["state"]
    if state == "open":
        return int(row["respond_by"])
    return due(row["seen"], CLOSE[row["level"]]) if state == "acked" else None


def shown(row: Mapping[str, Any], now: int) -> Row:
    """Return an alert as JSON: what the judge said, and what the desk adds."""
    reason = CLOSE_REASONS.get(row["close_reason"] or "")
    late = row["due"] is not None and row["due"] < now and row["state"] not in ("closed", "withdrawn")
    said: Row = orjson.loads(row["body"])
    return said | {
        "state": row["state"],
        "seen": format_time(row["seen"]),
        "due": format_time(row["due"]),
        "overdue": late,
        "escalated": format_time(row["escalated"]),
        "shelved_until": format_time(row["shelved_until"]),
        "close_reason": row["close_reason"],
        "close_reason_zh": reason and reason[0],
        "close_reason_en": reason and reason[1],
    }


def change_of(row: Mapping[str, Any], now: int) -> events.Change:
    """Return the event that tells pages about an alert."""
    return events.Change("alert", row["id"], row["site"], shown(row, now))


def listed(
    tx: Tx,
    *,
    state: str | None = None,
    active: bool | None = None,
    level: int | None = None,
    site: str | None = None,
    rule: str | None = None,
    folded: bool | None = None,
    overdue: bool | None = None,
    before: str | None = None,
    limit: int | None = 200,
) -> list[Row]:
    """Return alerts, those seen last first; `before` is the id of the last alert of the page already read, `limit` None = all."""
    query = sa.select(alerts)
    equal = {"state": state, "active": active, "level": level, "site": site, "rule": rule}
    for name, value in equal.items():
        if value is not None:
            query = query.where(alerts.c[name] == value)
    if folded is not None:
        query = query.where(alerts.c.folded.is_not(None) if folded else alerts.c.folded.is_(None))
    if overdue is not None:
        late = sa.and_(alerts.c.due < tx.now, alerts.c.state.in_(("open", "acked", "shelved")))
        query = query.where(late if overdue else sa.or_(alerts.c.due.is_(None), sa.not_(late)))
    if before is not None:
        mark = tx.row(sa.select(alerts.c.seen, alerts.c.id).where(alerts.c.id == before))
        if mark is None:
            raise Refused(f"there is no alert {before!r} to page from: read the list from its start")
        query = query.where(sa.tuple_(alerts.c.seen, alerts.c.id) < sa.tuple_(mark["seen"], mark["id"]))
    return [shown(row, tx.now) for row in tx.rows(query.order_by(alerts.c.seen.desc(), alerts.c.id.desc()).limit(limit))]


def actions(tx: Tx, alert: str) -> list[Row]:
    """Return what was done about an alert, oldest first."""
    found = tx.rows(sa.select(alert_actions).where(alert_actions.c.alert == alert).order_by(alert_actions.c.id))
    return [row | {"at": format_time(row["at"]), "body": orjson.loads(row["body"])} for row in found]


def of_lead(tx: Tx, lead: str) -> list[Row]:
    """Return the alerts of a lead that have arrived, those seen last first."""
    query = sa.select(alerts).join(lead_alerts, lead_alerts.c.alert == alerts.c.id).where(lead_alerts.c.lead == lead)
    return [shown(row, tx.now) for row in tx.rows(query.order_by(alerts.c.seen.desc(), alerts.c.id.desc()))]


def act(tx: Tx, alert: str, name: str, by: str, *, reason: str | None, until: int | None) -> None:
    """Do what a person decided about an alert. Raises Refused naming the thing and the remedy; then nothing has changed."""
    row = tx.row(sa.select(alerts).where(alerts.c.id == alert).with_for_update())
    if row is None:
        raise Refused(f"there is no alert {alert!r}: read the list again")
    person = who(tx, by)
    action = check_action(alert, row["state"], name, person.role)
    in_scope(person, row["site"])
    said = _said(action, reason, until, tx.now)
    changed = _after(row, action, said, tx.now)
    log(tx, row, changed["state"], person, name, said)
    record(tx, person, f"alert.{name}", alert, said)
    save(tx, [changed])
    if changed["close_reason"] != row["close_reason"]:
        verdict = {"alert": alert, "rule": row["rule"], "close_reason": changed["close_reason"], "by": by}
        outbox.put(tx, outbox.CONTEXT, row["site"], "verdict", verdict)


def in_scope(person: Person, site: str) -> None:
    """Raise Refused if the person is bound to another site."""
    if person.role == "enterprise" and person.site != site:
        raise Refused(f"{person.person} speaks for site {person.site}, not for {site}")


def _said(action: Action, reason: str | None, until: int | None, now: int) -> Row:
    """Return what the person had to say, checked."""
    text = (reason or "").strip()
    if action.needs == "close_reason":
        code, words = close_reason(reason)
        return {"close_reason": code, "reason": words or None}
    if action.needs and not text:
        raise Refused(f"{action.name} needs a reason: say why and repeat")
    if action.needs != "until":
        return {"reason": text} if text else {}
    if until is None or not now < until <= now + SHELVE_LIMIT:
        raise Refused(f"shelve needs an end after {format_time(now)} and not later than {format_time(now + SHELVE_LIMIT)}")
    return {"reason": text, "until": format_time(until), "until_ms": until}


def _after(row: Row, action: Action, said: Mapping[str, Any], now: int) -> Row:
    """Return the row after an action."""
    if action.to is None:
        return row | {"changed": now}
    state = row["back_to"] if action.to == "back" else action.to
    changed = row | {
        "state": state,
        "back_to": row["state"] if state == "shelved" else None,
        "shelved_until": said.get("until_ms"),
        "close_reason": said.get("close_reason"),
        "judged": row["level"],
        "changed": now,
    }
    if action.name == "reopen":
        changed |= {"respond_by": due(now, RESPOND[row["level"]]), "escalated": None}
    return changed | {"due": due_of(changed)}


def log(tx: Tx, row: Mapping[str, Any], after: str, person: Person, action: str, body: Mapping[str, Any]) -> None:
    """Append one line to an alert's ledger."""
    line = {"at": tx.now, "by": person.person, "role": person.role, "action": action, "before": row["state"], "after": after}
    tx.add(alert_actions, [{"alert": row["id"], **line, "body": canonical(dict(body))}])
    outbox.happened(
        tx, "alert", row["id"], row["site"], outbox.Did(person.person, person.role, action, row["state"], after, body)
    )


def save(tx: Tx, rows: Sequence[Row], stored: Collection[str] = ()) -> None:
    """Store changed rows, except those whose ids are `stored` already, and tell the pages."""
    tx.upsert(alerts, [row for row in rows if row["id"] not in stored])
    events.publish(tx, [change_of(row, tx.now) for row in rows])


def expire(tx: Tx) -> int:
    """End shelves whose time is over, and mark open alerts whose answer is overdue (rules F.1); return how many rows changed."""
    over = sa.and_(alerts.c.state == "shelved", alerts.c.shelved_until <= tx.now)
    late = sa.and_(alerts.c.state == "open", alerts.c.escalated.is_(None), alerts.c.folded.is_(None), alerts.c.due < tx.now)
    found = tx.rows(sa.select(alerts).where(sa.or_(over, late)).order_by(alerts.c.id).with_for_update())
    changed = [_escalated(tx, _unshelved(tx, row)) for row in found]
    save(tx, changed)
    return len(changed)


def _unshelved(tx: Tx, row: Row) -> Row:
    """Return an alert whose shelf is over in the state before it; others as they are."""
    if row["state"] != "shelved":
        return row
    log(tx, row, row["back_to"], SYSTEM, "unshelve", {"reason": "shelved_until", "until": format_time(row["shelved_until"])})
    freed = row | {"state": row["back_to"], "back_to": None, "shelved_until": None, "changed": tx.now}
    return freed | {"due": due_of(freed)}


def _escalated(tx: Tx, row: Row) -> Row:
    """Return an open alert whose answer is overdue as escalated; others as they are."""
    if row["state"] != "open" or row["escalated"] is not None or row["folded"] is not None or row["due"] >= tx.now:
        return row
    log(tx, row, row["state"], SYSTEM, "escalate", {"due": format_time(row["due"])})
    return row | {"escalated": tx.now, "changed": tx.now}
