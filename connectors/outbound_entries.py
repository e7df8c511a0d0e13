"""What the outbound queue is made of, and how entries are written into it once and once only.

Entries enter, with the connection of an open transaction; rows leave. The caller has locked the target's row.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from connectors.outbound_tables import items, keys, marks, targets

FATES = ("sent", "refused", "expired")
POSTPONED = "postponed"
CHUNK = 400
"""Values in one IN list: below every database's limit of parameters."""
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """What an output is to send: its kind (alert, lead, case-event, or a frame's topic), and the key whose order is kept.

    `seq` grows for each kind and `series`; None: entries of equal content are the same entry. `at` is ms UTC. `series` is left out
    where it is the key.
    """

    kind: str
    key: str
    seq: int | None
    content_type: str
    body: bytes
    at: int
    series: str = ""

    @property
    def counted(self) -> str:
        """Return the name of what `seq` grows for, within the kind."""
        return f"{self.key} {self.series}" if self.series and self.series != self.key else self.key

    @property
    def ident(self) -> str:
        """Return what tells this entry from others of its kind and key."""
        return hashlib.sha256(self.body).hexdigest() if self.seq is None else str(self.seq)


@dataclass(frozen=True)
class Item:
    """One entry that waits for its target."""

    id: int
    target: str
    key: str
    kind: str
    ident: str
    content_type: str
    body: bytes
    at: int
    attempts: int

    @cached_property
    def message_id(self) -> str:
        """Return an id that stays the same however often the entry is sent, to whomever."""
        return "msg_" + hashlib.sha256(f"{self.kind}\0{self.key}\0{self.ident}\0".encode() + self.body).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt: a fate of `FATES`, or `postponed` until `retry_at` (ms UTC) for everything of its key."""

    item: Item
    fate: str
    answer: str
    at: int
    retry_at: int = 0


def tally(conn: sa.Connection, target: str, more: Mapping[str, int]) -> None:
    """Move the books of a target."""
    change = {name: targets.c[name] + n for name, n in more.items() if n}
    if change:
        conn.execute(sa.update(targets).where(targets.c.target == target).values(**change))


def upsert(conn: sa.Connection, table: sa.Table, rows: Sequence[Row], *, adding: str = "") -> None:
    """Insert rows, or replace what is no key where the key is taken; the column `adding` is added to instead."""
    if not rows:
        return
    made = postgresql.insert(table) if conn.dialect.name == "postgresql" else sqlite.insert(table)
    names = [column.name for column in table.primary_key]
    change: Row = {name: made.excluded[name] for name in rows[0] if name not in names}
    if adding:
        change = {adding: table.c[adding] + made.excluded[adding]}
    conn.execute(made.on_conflict_do_update(index_elements=names, set_=change), list(rows))


def add_waiting(conn: sa.Connection, target: str, counts: Mapping[str, int]) -> None:
    """Change how many wait of some keys."""
    rows: list[Row] = [{"target": target, "key": key, "waiting": n, "retry_at": 0} for key, n in counts.items()]
    upsert(conn, keys, rows, adding="waiting")


def until(conn: sa.Connection, target: str, times: Mapping[str, int]) -> None:
    """Let some keys wait until an instant (ms UTC)."""
    if times:
        query = sa.update(keys).where(keys.c.target == target, keys.c.key == sa.bindparam("its_key"))
        conn.execute(query.values(retry_at=sa.bindparam("its_time")), [{"its_key": k, "its_time": at} for k, at in times.items()])


def unknown(conn: sa.Connection, target: str, entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries that were never put before, each once."""
    wanted = sorted({entry.counted for entry in entries})
    seqs: dict[tuple[str, str], int] = {}
    for start in range(0, len(wanted), CHUNK):
        part = (marks.c.target == target, marks.c.key.in_(wanted[start : start + CHUNK]))
        seqs |= {
            (kind, key): seq for kind, key, seq in conn.execute(sa.select(marks.c.kind, marks.c.key, marks.c.seq).where(*part))
        }
    unnumbered = [entry for entry in entries if entry.seq is None]
    known = {_name(entry) for entry in unnumbered if conn.execute(_same(target, entry)).scalar() is not None}
    new: list[Entry] = []
    for entry in entries:
        if entry.seq is None:
            fresh = _name(entry) not in known
            known.add(_name(entry))
        else:
            fresh = entry.seq > seqs.get((entry.kind, entry.counted), -1)
            seqs[entry.kind, entry.counted] = max(entry.seq, seqs.get((entry.kind, entry.counted), -1))
        if fresh:
            new.append(entry)
    return new


def _name(entry: Entry) -> tuple[str, str, str]:
    return entry.kind, entry.key, entry.ident


def _same(target: str, entry: Entry) -> sa.Select[Any]:
    same = (items.c.target == target, items.c.kind == entry.kind, items.c.key == entry.key, items.c.ident == entry.ident)
    return sa.select(items.c.id).where(*same)


def mark(conn: sa.Connection, target: str, new: Sequence[Entry]) -> None:
    """Remember the last sequence of each kind and series."""
    last: dict[tuple[str, str], int] = {(e.kind, e.counted): e.seq for e in new if e.seq is not None}
    upsert(conn, marks, [{"target": target, "kind": kind, "key": key, "seq": seq} for (kind, key), seq in last.items()])


def insert(conn: sa.Connection, target: str, new: Sequence[Entry]) -> None:
    """Write new entries, and how many wait of each key."""
    if not new:
        return
    rows: list[Row] = [
        {
            "target": target,
            "state": "waiting",
            "key": e.key,
            "kind": e.kind,
            "ident": e.ident,
            "content_type": e.content_type,
            "body": e.body,
            "size": len(e.body),
            "at": e.at,
            "attempts": 0,
        }
        for e in new
    ]
    conn.execute(sa.insert(items), rows)
    add_waiting(conn, target, Counter(entry.key for entry in new))
