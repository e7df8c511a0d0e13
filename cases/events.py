"""What changed on the desk, as numbered events that pages follow; the newest are kept, older ones are dropped.

A reader passes the last id it has seen. If that is older than `first_event_id` - 1 it has missed some and must read everything again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from cases.clocks import format_time
from cases.db import Row, Tx, packed
from cases.leaving import leave
from cases.models import desk_events
from cases.numbers import last_value

KEPT = 10_000
"""Events kept for late readers."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change: its kind (alert, lead, case, …), the id of the thing, its site, and the thing as lists show it."""

    kind: str
    subject: str
    site: str | None
    body: dict[str, Any]


def publish(tx: Tx, changes: Sequence[Change]) -> None:
    """Let events leave with the transaction that made the changes; of several changes of one thing only the last is told."""
    for change in changes:
        row = {"kind": change.kind, "subject": change.subject, "site": change.site, "body": packed(change.body)}
        leave(tx, desk_events, row, (change.kind, change.subject), kept=KEPT)


def since(tx: Tx, after: int, limit: int) -> list[Row]:
    """Return at most `limit` events with id > `after`, oldest first."""
    query = sa.select(desk_events).where(desk_events.c.id > after).order_by(desk_events.c.id).limit(limit)
    return [row | {"at": format_time(row["at"]), "body": orjson.loads(row["body"])} for row in tx.rows(query)]


def last(tx: Tx) -> int:
    """Return the id of the newest event, 0 if there was none."""
    return last_value(tx, desk_events.name)


def first(tx: Tx) -> int:
    """Return the id of the oldest event kept; last + 1 if none is."""
    found = tx.scalar(sa.select(sa.func.min(desk_events.c.id)))
    return int(found) if found is not None else last(tx) + 1


def trim(tx: Tx) -> int:
    """Drop all but the newest events; return how many went."""
    return int(tx.conn.execute(sa.delete(desk_events).where(desk_events.c.id <= last(tx) - KEPT)).rowcount)
