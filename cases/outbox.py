"""What the desk tells the judge: verdicts leave for the topic `context` through this table, written in the transaction that decided.

A sender reads what is waiting, puts it on the log, and only then drops it: at least once, and every row has its number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from cases.clocks import format_time
from cases.db import Row, Tx, canonical
from cases.models import outbox
from cases.numbers import next_value


def put(tx: Tx, site: str, kind: str, body: Mapping[str, Any]) -> None:
    """Add one message about a site."""
    tx.add(outbox, [{"id": next_value(tx, "outbox"), "at": tx.now, "site": site, "kind": kind, "body": canonical(dict(body))}])


def waiting(tx: Tx, limit: int) -> list[Row]:
    """Return the oldest messages that have not been dropped: id, at (RFC 3339), site, kind, body."""
    found = tx.rows(sa.select(outbox).order_by(outbox.c.id).limit(limit))
    return [row | {"at": format_time(row["at"]), "body": json.loads(row["body"])} for row in found]


def drop(tx: Tx, up_to: int) -> int:
    """Drop the messages with id <= `up_to`, which are durable elsewhere; return how many."""
    return int(tx.conn.execute(sa.delete(outbox).where(outbox.c.id <= up_to)).rowcount)
