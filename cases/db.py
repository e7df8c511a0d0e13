"""One transaction of the desk: queries in, plain rows out, and what it says to the world collected until it commits.

On SQLite a writing transaction holds the one write lock from its start; on PostgreSQL it locks rows. Writers lock in one order, so
that none waits in a circle:

1. rows decided on: persons, API keys, alerts, leads, cases, in this order, each table once and by id; new rows are put in first,
   by id too (`enter`), because PostgreSQL makes a second writer of the same new key wait like a lock does;
2. the heads that hand out numbers: audit, case numbers, inbox, outbox, desk events, each locked until the commit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

Row = dict[str, Any]
CHUNK = 500
"""Values in one IN list: below every database's limit of parameters."""


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: keys sorted, no spaces, UTF-8, no NaN.

    >>> canonical({"b": 1, "a": "案"})
    '{"a":"案","b":1}'
    """
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def packed(value: Any) -> str:
    """Return JSON text fast, keys sorted; NaN and infinities become null, as JSON has none.

    >>> packed({"score": float("inf"), "a": 1})
    '{"a":1,"score":null}'
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY).decode()


def content_id(parts: Sequence[str]) -> str:
    """Return the id of a thing by its content: the first 16 bytes of SHA-256 over a JSON array, in hex (design §3).

    >>> content_id(["case", "L1"])
    'f645d21e09895764316ac8573ead79b7'
    """
    text = json.dumps(list(parts), ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(slots=True)
class Leaving:
    """Rows of one table that leave with a transaction, by key, and how many of them at most are worth writing (None: all)."""

    rows: dict[Hashable, Row] = field(default_factory=dict)
    kept: int | None = None


@dataclass(frozen=True, slots=True)
class Tx:
    """One transaction: a connection, the instant (ms UTC) that all of it happens at, and the rows that leave the desk with it.

    `leaving` is table → rows; `cases.leaving` fills it and writes it just before the commit.
    """

    conn: sa.Connection
    now: int
    leaving: dict[str, Leaving] = field(default_factory=dict)

    def rows(self, query: sa.Select[Any]) -> list[Row]:
        """Return all rows of a query as dicts."""
        return [_plain(row) for row in self.conn.execute(query).mappings()]

    def row(self, query: sa.Select[Any]) -> Row | None:
        """Return the first row, or None."""
        found = self.conn.execute(query).mappings().first()
        return None if found is None else _plain(found)

    def scalar(self, query: sa.Executable) -> Any:
        """Return the first column of the first row, or None."""
        return self.conn.execute(query).scalar()

    def among(self, column: sa.Column[Any], values: Iterable[str], *, lock: bool = False) -> list[Row]:
        """Return the rows of the column's table where `column` is one of `values`; `lock` them until the commit."""
        query = sa.select(column.table).order_by(column)
        locked = query.with_for_update() if lock else query
        return [row for part in _parts(values) for row in self.rows(locked.where(column.in_(part)))]

    def there(self, column: sa.Column[Any], values: Iterable[str]) -> set[str]:
        """Return those of `values` that `column` holds."""
        query = sa.select(column)
        return {str(one) for part in _parts(values) for one in self.conn.execute(query.where(column.in_(part))).scalars()}

    def enter(self, table: sa.Table, rows: Iterable[Row]) -> set[str]:
        """Insert rows in the order of their `id`, except those whose id is taken; return the ids that are new."""
        ordered = sorted(rows, key=lambda row: row["id"])
        if not ordered:
            return set()
        statement = self.insert(table).on_conflict_do_nothing(index_elements=["id"]).returning(table.c.id)
        return {str(key) for key in self.conn.execute(statement, ordered).scalars()}

    def upsert(self, table: sa.Table, rows: Sequence[Row]) -> None:
        """Insert rows, or replace all their columns where the primary key is taken."""
        if not rows:
            return
        keys = [column.name for column in table.primary_key]
        statement = self.insert(table)
        changed = {name: statement.excluded[name] for name in rows[0] if name not in keys}
        self.conn.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), list(rows))

    def insert(self, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
        """Return the dialect's INSERT, which knows ON CONFLICT."""
        return postgresql.insert(table) if self.conn.dialect.name == "postgresql" else sqlite.insert(table)

    def add(self, table: sa.Table, rows: Sequence[Row]) -> None:
        """Insert new rows."""
        if rows:
            self.conn.execute(sa.insert(table), list(rows))

    def change(self, table: sa.Table, key: str, values: Mapping[str, Any]) -> None:
        """Update the row whose `id` is `key`."""
        self.conn.execute(sa.update(table).where(table.c.id == key).values(**values))


def _parts(values: Iterable[str]) -> Iterator[list[str]]:
    """Cut values into sorted lists without repetition, each short enough for one statement."""
    unique = sorted(set(values))
    for start in range(0, len(unique), CHUNK):
        yield unique[start : start + CHUNK]


def _plain(row: sa.RowMapping) -> Row:
    """Return a row with plain strings as keys: SQLAlchemy's own names are no JSON."""
    return {str(name): value for name, value in row.items()}
