"""The tables of the outbound queue, and the transactions they are changed in.

A SQLAlchemy URL enters; short transactions leave, on SQLite (one machine) and PostgreSQL (many). Errors of the database leave as
Retry (busy, full, away) or Lost (damaged), naming the remedy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from connectors.core import ConnectorError, Lost, Retry

METADATA = MetaData()
BUSY_MS = 10_000
AGAIN = ("locked", "busy", "full", "deadlock", "serialize", "duplicate key")
Number = BigInteger().with_variant(Integer, "sqlite")

targets = Table(
    "outbound_targets",
    METADATA,
    Column("target", String(64), primary_key=True),
    Column("queued", Number, nullable=False, default=0),
    Column("sent", Number, nullable=False, default=0),
    Column("refused", Number, nullable=False, default=0),
    Column("expired", Number, nullable=False, default=0),
    Column("missed", Number, nullable=False, default=0),  # what the source no longer held when there was room
    Column("fault", Text),  # the last failed attempt, until one succeeds
    Column("fault_at", Number),
    Column("full", Text),  # why nothing more is taken, until there is room
    Column("stopped", Text),  # why nothing is sent until a person lets it go on
    Column("owner", String(255)),
    Column("lease", Number, nullable=False, default=0),
)
keys = Table(
    "outbound_keys",
    METADATA,
    Column("target", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("waiting", Number, nullable=False),
    Column("retry_at", Number, nullable=False),
)
marks = Table(
    "outbound_marks",
    METADATA,
    Column("target", String(64), primary_key=True),
    Column("kind", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("seq", BigInteger, nullable=False),
)
cursors = Table(
    "outbound_cursors",
    METADATA,
    Column("target", String(64), primary_key=True),
    Column("source", String(64), primary_key=True),
    Column("position", BigInteger, nullable=False),
)
items = Table(
    "outbound_items",
    METADATA,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("target", String(64), nullable=False),
    Column("state", String(16), nullable=False),  # waiting, sent, refused, expired
    Column("key", String(255), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("ident", String(80), nullable=False),
    Column("content_type", String(128), nullable=False),
    Column("body", LargeBinary),  # dropped once sent or expired
    Column("size", Integer, nullable=False),
    Column("at", Number, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("answer", Text),
    Column("done", Number),
    Index("outbound_items_next", "target", "state", "key", "id"),
    Index("outbound_items_age", "target", "state", "at"),
    Index("outbound_items_ident", "target", "kind", "key", "ident", unique=True),
    Index("outbound_items_done", "done"),
)


class Database:
    """Hands out transactions; thread-safe. A committed SQLite transaction has been fsynced."""

    def __init__(self, url: str) -> None:
        with self.translated():
            self._engine = sa.create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
            if self._engine.dialect.name == "sqlite":
                sa.event.listen(self._engine, "connect", _connect)
                sa.event.listen(self._engine, "begin", _begin)
            with self._engine.begin() as conn:
                METADATA.create_all(conn)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a transaction that commits when the block ends and leaves nothing behind when it raises."""
        with self.translated(), self._engine.begin() as conn:
            yield conn

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a short snapshot."""
        with self.translated(), self._engine.execution_options(reading=True).begin() as conn:
            yield conn

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Name database errors by the reaction they demand."""
        try:
            yield
        except SQLAlchemyError as error:
            raise _translate(error) from error

    def close(self) -> None:
        """Give back all connections."""
        self._engine.dispose()


def _connect(raw: Any, _record: Any) -> None:
    raw.isolation_level = None  # the driver must not open transactions of its own
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_MS}"):
        raw.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _translate(error: SQLAlchemyError) -> ConnectorError:
    text = str(getattr(error, "orig", error)).strip()
    away = isinstance(error, DBAPIError) and (error.connection_invalidated or _unreached(error))
    if away or any(word in text.lower() for word in AGAIN):
        return Retry(f"the outbound queue's database is busy, full or away: {text}; free its disk or start it", 1.0)
    return Lost(f"the outbound queue's database cannot be used: {text}; check its address, or restore its file")


def _unreached(error: DBAPIError) -> bool:
    """Tell whether a server was not reached; SQLite has none."""
    return isinstance(error, sa.exc.OperationalError) and not type(error.orig).__module__.startswith("sqlite3")
