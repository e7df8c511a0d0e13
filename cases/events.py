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
from cases.models import desk_events
from cases.numbers import last_value, next_value

KEPT = 10_000
"""Events kept for late readers."""
_HEAD = "desk_events"


@dataclass(frozen=True, slots=True)
class Change:
    """One change: its kind (alert, lead, case, …), the id of the thing, its site, and the thing as lists show it."""

    kind: str
    subject: str
    site: str | None
    body: dict[str, Any]


def publish(tx: Tx, changes: Sequence[Change]) -> None:
    """Append events to the transaction that made the changes, just before it commits.

    Of several changes of one thing only the last is told, and of a flood only the newest are worth keeping.
    """
    if not changes:
        return
    pending = next((last for last in tx.closing if isinstance(last, _Flush)), None)
    if pending is None:
        pending = _Flush({})
        tx.closing.append(pending)
    for change in changes:
        pending.changes.pop((change.kind, change.subject), None)
        pending.changes[change.kind, change.subject] = change


@dataclass(frozen=True, slots=True)
class _Flush:
    """Writes the events of one transaction: the head of events is locked last and shortest."""

    changes: dict[tuple[str, str], Change]

    def __call__(self, tx: Tx) -> None:
        _write(tx, list(self.changes.values()))


def _write(tx: Tx, changes: Sequence[Change]) -> None:
    last = next_value(tx, _HEAD, len(changes))
    kept = changes[-KEPT:]
    first = last - len(kept) + 1
    tx.add(
        desk_events,
        [
            {"id": first + k, "at": tx.now, "kind": c.kind, "subject": c.subject, "site": c.site, "body": packed(c.body)}
            for k, c in enumerate(kept)
        ],
    )


def since(tx: Tx, after: int, limit: int) -> list[Row]:
    """Return at most `limit` events with id > `after`, oldest first."""
    query = sa.select(desk_events).where(desk_events.c.id > after).order_by(desk_events.c.id).limit(limit)
    return [row | {"at": format_time(row["at"]), "body": orjson.loads(row["body"])} for row in tx.rows(query)]


def last(tx: Tx) -> int:
    """Return the id of the newest event, 0 if there was none."""
    return last_value(tx, _HEAD)


def first(tx: Tx) -> int:
    """Return the id of the oldest event kept; last + 1 if none is."""
    found = tx.scalar(sa.select(sa.func.min(desk_events.c.id)))
    return int(found) if found is not None else last(tx) + 1


def trim(tx: Tx) -> int:
    """Drop all but the newest events; return how many went."""
    return int(tx.conn.execute(sa.delete(desk_events).where(desk_events.c.id <= last(tx) - KEPT)).rowcount)
