"""The desk's database: an address in, short transactions out, and errors named by the reaction they demand.

SQLite runs in WAL mode with `synchronous=FULL`: what a person was told is done has been fsynced. PostgreSQL writes at READ COMMITTED
with row locks (`cases.db` has their order) and reads one snapshot (REPEATABLE READ, read only). A server that restarts costs the
transactions it had, each of which raises Retry and may be repeated; connections are tested before use and made anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa

from cases.db import Tx
from cases.errors import Conflict, translated
from cases.leaving import flush
from connectors.core import Clock

T = TypeVar("T")
BUSY_MS = 5_000
"""How long a SQLite writer waits for another."""

POOL: dict[str, Any] = {"pool_size": 5, "max_overflow": 15, "pool_timeout": 10.0, "pool_recycle": 1800, "pool_use_lifo": True}
"""Connections to PostgreSQL: five stay open, twenty at most; who gets none within 10 s is told to repeat."""

LINK: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "offsite-desk",
}
"""libpq's words for a link on which a dead server is noticed within 30 s; the address may say otherwise (`?connect_timeout=9`)."""

SESSION = ("SET statement_timeout = '30s'", "SET lock_timeout = '10s'", "SET idle_in_transaction_session_timeout = '60s'")
"""A transaction that hangs gives its locks back."""

PAUSES = (0.0, 0.02, 0.1, 0.3)
"""Seconds before a transaction that met a faster writer is tried again."""


def engine(url: str) -> sa.Engine:
    """Return an engine whose transactions begin as this module promises."""
    address = sa.make_url(url)
    if address.get_backend_name() == "sqlite":
        made = sa.create_engine(address)
        sa.event.listen(made, "connect", _prepare_sqlite)
        sa.event.listen(made, "begin", _begin_sqlite)
        return made
    link = {name: value for name, value in LINK.items() if name not in address.query}
    made = sa.create_engine(address, pool_pre_ping=True, isolation_level="READ COMMITTED", connect_args=link, **POOL)
    sa.event.listen(made, "connect", _prepare_postgresql)
    return made


def _prepare_sqlite(raw: Any, _record: Any) -> None:
    raw.isolation_level = None  # the driver must not open transactions of its own
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MS}"):
        raw.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _prepare_postgresql(raw: Any, _record: Any) -> None:
    for statement in SESSION:
        raw.execute(statement)
    raw.commit()


class Database:
    """Hands out transactions. Thread-safe: every call borrows a connection of the pool and gives it back."""

    def __init__(self, url: str, *, clock: Clock) -> None:
        self._clock = clock
        with translated():
            self._write = engine(url)
        snapshot: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._read = self._write.execution_options(reading=True, **({} if self._write.dialect.name == "sqlite" else snapshot))

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """Open a transaction that commits when the block ends and leaves nothing behind when it raises."""
        with translated(), self._write.begin() as conn:
            tx = Tx(conn, self._clock())
            yield tx
            flush(tx)

    def do(self, work: Callable[[Tx], T]) -> T:
        """Return what `work` returns from one writing transaction. Where another writer was in its way it starts anew, a few times."""
        for pause in PAUSES:
            try:
                with self.write() as tx:
                    return work(tx)
            except Conflict:
                time.sleep(pause)
        with self.write() as tx:
            return work(tx)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """Open a short snapshot."""
        with translated(), self._read.begin() as conn:
            yield Tx(conn, self._clock())

    def close(self) -> None:
        """Close all pooled connections."""
        self._write.dispose()
