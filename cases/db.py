"""The desk's database: short transactions in, connector errors out (the three of `connectors.core`).

A writing transaction takes the write lock at once (SQLite `BEGIN IMMEDIATE`), so that what it reads stays true until it commits; on
PostgreSQL rows that are decided on are read `FOR UPDATE`. SQLite runs in WAL mode with `synchronous=FULL`: what a person was told is done has
been fsynced. Readers hold a snapshot only inside `read()`.

Writers lock in one order, so that none waits in a circle: the rows decided on (by id), then the heads of audit, case numbers, outbox, and
last of all desk events.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from connectors.core import Clock, Lost, Retry

Row = dict[str, Any]
BUSY_MS = 5_000
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


@dataclass(frozen=True, slots=True)
class Tx:
    """One transaction: a connection, the instant (ms UTC) that all of it happens at, and what is done last before it commits."""

    conn: sa.Connection
    now: int
    closing: list[Callable[[Tx], None]] = field(default_factory=list)

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
        unique = sorted(set(values))
        query = sa.select(column.table)
        found: list[Row] = []
        for start in range(0, len(unique), CHUNK):
            part = query.where(column.in_(unique[start : start + CHUNK])).order_by(column)
            found += self.rows(part.with_for_update() if lock else part)
        return found

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


def engine(url: str) -> sa.Engine:
    """Return an engine whose transactions begin as this module promises."""
    made = sa.create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    if made.dialect.name == "sqlite":
        sa.event.listen(made, "connect", _connect)
        sa.event.listen(made, "begin", _begin)
    return made


def _connect(raw: Any, _record: Any) -> None:
    raw.isolation_level = None  # the driver must not open transactions of its own
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MS}"):
        raw.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


class Database:
    """Hands out transactions. Thread-safe: every call borrows a connection of the pool and gives it back."""

    def __init__(self, url: str, *, clock: Clock) -> None:
        self._clock = clock
        with _translated():
            self._write = engine(url)
        self._read = self._write.execution_options(reading=True)

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """Open a transaction that commits when the block ends and leaves nothing behind when it raises."""
        with _translated(), self._write.begin() as conn:
            tx = Tx(conn, self._clock())
            yield tx
            for last in tx.closing:
                last(tx)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """Open a short snapshot."""
        with _translated(), self._read.begin() as conn:
            yield Tx(conn, self._clock())

    def close(self) -> None:
        """Close all pooled connections."""
        self._write.dispose()


_AGAIN = ("locked", "busy", "full", "deadlock", "serialize")


@contextmanager
def _translated() -> Iterator[None]:
    """Name database errors by the reaction they demand."""
    try:
        yield
    except IntegrityError as error:
        if "unique" not in str(error.orig).lower():
            raise Lost(f"the desk's database refused a row: {error.orig}; nothing was changed, report this as a fault") from error
        raise Retry(f"another writer was faster: {error.orig}; read again and repeat", 0.05) from error
    except OperationalError as error:
        text = str(error.orig).lower()
        if any(word in text for word in _AGAIN):
            raise Retry(f"the desk's database is busy or its disk is full: {error.orig}; free it and repeat", 1.0) from error
        raise Lost(f"the desk's database cannot be used: {error.orig}; check the file or server and restart") from error
    except DBAPIError as error:
        raise Lost(
            f"the desk's database refused a statement: {error.orig}; "
            "if its tables are of another version, restore a backup with `offsite restore` or start with a new data directory"
        ) from error
    except SQLAlchemyError as error:
        raise Lost(f"the desk's database cannot be used: {error}; check its address in the settings") from error


def _plain(row: sa.RowMapping) -> Row:
    """Return a row with plain strings as keys: SQLAlchemy's own names are no JSON."""
    return {str(name): value for name, value in row.items()}
