"""The audit log: every change by a person in, a hash-chained row out; a check that names the first bad row (promise 9).

hash = SHA-256 over the UTF-8 bytes of prev_hash followed by the canonical JSON of {at, body, by, role, seq, subject, what}
(keys sorted, no spaces). The first prev_hash is 64 zeros. `heads` keeps the last number and hash, so that a cut tail shows too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from cases.clocks import format_time
from cases.db import Row, Tx, canonical
from cases.models import audit, heads
from cases.numbers import next_value

GENESIS = "0" * 64
HEAD = "audit"
_SIGNED = ("seq", "at", "by", "role", "what", "subject")


@dataclass(frozen=True, slots=True)
class Person:
    """Who acts: id, role (people.ROLES), and the site an enterprise's person is bound to."""

    person: str
    role: str
    name: str = ""
    site: str | None = None


SYSTEM = Person("system", "system", "系统")
"""The product itself: the judge's outputs and expired shelves. What it does is in the ledgers, not in the audit of people."""


class Verified(NamedTuple):
    """Outcome of a check: whether the chain holds, how many rows there are, and the number of the first bad row."""

    ok: bool
    rows: int
    first_bad: int | None


def chained(prev_hash: str, row: Mapping[Any, Any], body: Any) -> str:
    """Return the hash of an audit row that follows `prev_hash`."""
    signed = {name: row[name] for name in _SIGNED} | {"body": body}
    return hashlib.sha256((prev_hash + canonical(signed)).encode()).hexdigest()


def record(tx: Tx, who: Person, what: str, subject: str, body: Mapping[str, Any]) -> None:
    """Append what a person changed, in the transaction that changes it. The head row serialises writers."""
    seq = next_value(tx, HEAD)
    prev = tx.scalar(sa.select(heads.c.hash).where(heads.c.name == HEAD)) or GENESIS
    row = {"seq": seq, "at": tx.now, "by": who.person, "role": who.role, "what": what, "subject": subject}
    sealed = chained(prev, row, dict(body))
    tx.add(audit, [row | {"body": canonical(dict(body)), "prev_hash": prev, "hash": sealed}])
    tx.conn.execute(sa.update(heads).where(heads.c.name == HEAD).values(hash=sealed))


def verify(tx: Tx) -> Verified:
    """Recompute the chain from its first row."""
    count, prev = 0, GENESIS
    with tx.conn.execute(sa.select(audit).order_by(audit.c.seq), execution_options={"yield_per": 1000}) as found:
        for row in found.mappings():
            count += 1
            if row["seq"] != count or row["prev_hash"] != prev or row["hash"] != _recomputed(prev, row):
                return Verified(False, count, count)
            prev = row["hash"]
    head = tx.row(sa.select(heads.c.value, heads.c.hash).where(heads.c.name == HEAD))
    if head != ({"value": count, "hash": prev} if count else None):
        return Verified(False, count, count + 1)
    return Verified(True, count, None)


def _recomputed(prev: str, row: Mapping[Any, Any]) -> str | None:
    try:
        return chained(prev, row, json.loads(row["body"]))
    except ValueError:  # a body that is no longer JSON is as bad as a wrong hash
        return None


def entries(tx: Tx, *, subject: str | None = None, after: int = 0, limit: int = 200) -> list[Row]:
    """Return audit rows with seq > `after`, oldest first."""
    query = sa.select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(limit)
    found = tx.rows(query if subject is None else query.where(audit.c.subject == subject))
    return [row | {"at": format_time(row["at"]), "body": json.loads(row["body"])} for row in found]
