"""Leads as people see them: which wait for a decision, and the one decision that is not a case (dismissed, with a reason)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from cases import events, outbox
from cases.audit import record
from cases.clocks import clock, format_time
from cases.db import Row, Tx
from cases.models import cases, lead_alerts, leads
from cases.moves import OPENERS, allow
from cases.people import who
from connectors.core import Refused


def shown(row: Mapping[str, Any], now: int) -> Row:
    """Return a lead as JSON: what the judge said, and what the desk adds."""
    timer = clock(row["due"], now)
    said: Row = orjson.loads(row["body"])
    return said | {
        "state": row["state"],
        "seen": format_time(row["seen"]),
        "due": format_time(row["due"]),
        "overdue": bool(timer and timer["overdue"]),
    }


def listed(
    tx: Tx, *, state: str | None = None, site: str | None = None, level: int | None = None, limit: int | None = 200
) -> list[Row]:
    """Return leads, those seen last first; `limit` None = all."""
    query = sa.select(leads)
    for name, value in {"state": state, "site": site, "level": level}.items():
        if value is not None:
            query = query.where(leads.c[name] == value)
    return [shown(row, tx.now) for row in tx.rows(query.order_by(leads.c.seen.desc(), leads.c.id.desc()).limit(limit))]


def of_alert(tx: Tx, alert: str) -> list[Row]:
    """Return the leads that rest on an alert."""
    query = sa.select(leads).join(lead_alerts, lead_alerts.c.lead == leads.c.id).where(lead_alerts.c.alert == alert)
    return [shown(row, tx.now) for row in tx.rows(query.order_by(leads.c.seen.desc(), leads.c.id.desc()))]


def get(tx: Tx, lead: str, *, lock: bool = False) -> Row | None:
    """Return the row of a lead."""
    query = sa.select(leads).where(leads.c.id == lead)
    return tx.row(query.with_for_update() if lock else query)


def save(tx: Tx, rows: Sequence[Row], stored: Collection[str] = ()) -> None:
    """Store changed rows, except those whose ids are `stored` already, and tell the pages."""
    tx.upsert(leads, [row for row in rows if row["id"] not in stored])
    events.publish(tx, [events.Change("lead", row["id"], row["site"], shown(row, tx.now)) for row in rows])


def dismiss(tx: Tx, lead: str, by: str, reason: str | None) -> None:
    """Decide that a lead becomes no case. A more severe judgement re-opens it. Raises Refused."""
    row = get(tx, lead, lock=True)
    if row is None:
        raise Refused(f"there is no lead {lead!r}: read the list again")
    person = who(tx, by)
    allow(f"dismissing lead {lead}", OPENERS, person.role)
    text = (reason or "").strip()
    if row["state"] != "open":
        raise Refused(f"lead {lead} is {row['state']}: only an open lead can be dismissed")
    if not text:
        raise Refused("dismissing a lead needs a reason: say why it is no case and repeat")
    record(tx, person, "lead.dismiss", lead, {"reason": text})
    outbox.happened(
        tx, "lead", lead, row["site"], outbox.Did(by, person.role, "dismiss", row["state"], "dismissed", {"reason": text})
    )
    save(tx, [row | {"state": "dismissed", "judged": row["level"], "due": None}])


def case_of(tx: Tx, lead: str) -> Row | None:
    """Return the row of the lead's case, if it has one."""
    return tx.row(sa.select(cases).where(cases.c.lead == lead))
