"""What the desk tells the rest of the product: messages for two topics leave through this table, in the transaction that decided.

`context`: what changes a judgement (verdicts), for the judge. `case-events`: every line that is added to the ledger of an alert, lead or
case, by a person or by the product itself, for everybody. A carrier reads what waits, makes it durable elsewhere, and only then drops
it: at least once. `seq` grows with every message of a site (and of all sites), so a reader that keeps the greatest `seq` of a site takes
each once and in order, whoever carried it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from cases.clocks import format_time
from cases.db import Row, Tx, canonical, content_id
from cases.leaving import leave
from cases.models import outbox
from connectors.core import Refused
from streams.topics import CASE_EVENTS

CONTEXT = "context"
MOST = 200_000
"""Characters of a message; the topics take 1 MiB of UTF-8."""


@dataclass(frozen=True, slots=True)
class Did:
    """Who did what: person, role, the action or move, the states around it, and the words said."""

    by: str
    role: str
    action: str
    before: str
    after: str
    said: Mapping[str, Any]


def put(tx: Tx, topic: str, site: str, kind: str, body: Mapping[str, Any]) -> None:
    """Let one message about a site leave with the transaction. Raises Refused if it is too long for a message of Kafka."""
    text = canonical(dict(body))
    if len(text) > MOST:
        raise Refused(
            f"what is said about {kind} takes {len(text)} characters, {MOST} are allowed: shorten it, attach the rest elsewhere"
        )
    leave(tx, outbox, {"topic": topic, "site": site, "kind": kind, "body": text})


def happened(tx: Tx, kind: str, subject: str, site: str, did: Did) -> None:
    """Tell `case-events` of one line of a ledger: `kind` alert, lead or case, `subject` its id."""
    put(tx, CASE_EVENTS, site, kind, {"subject": subject} | asdict(did))


def waiting(tx: Tx, topic: str, limit: int) -> list[Row]:
    """Return the oldest messages of a topic that have not been dropped.

    Each is the JSON that travels: id (by content), seq, kind, site, at (RFC 3339), and in `context` body, in `case-events` subject, by,
    role, action, before, after, said.
    """
    query = sa.select(outbox).where(outbox.c.topic == topic).order_by(outbox.c.id).limit(limit)
    return [_message(row) for row in tx.rows(query)]


def _message(row: Row) -> Row:
    body = json.loads(row["body"])
    head = {"id": content_id([row["topic"], row["site"], str(row["id"]), row["body"]]), "seq": row["id"]}
    head |= {"kind": row["kind"], "site": row["site"], "at": format_time(row["at"])}
    return head | (body if row["topic"] == CASE_EVENTS else {"body": body})


def drop(tx: Tx, topic: str, up_to: int) -> int:
    """Drop the messages of a topic with seq <= `up_to`, which are durable elsewhere; return how many."""
    gone = sa.delete(outbox).where(outbox.c.topic == topic, outbox.c.id <= up_to)
    return int(tx.conn.execute(gone).rowcount)
