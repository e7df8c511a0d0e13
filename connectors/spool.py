"""A queue of log records on disk, for the time the log itself can't be reached: first in, first out, bounded.

Records enter and are durable when `put` returns (promise 1); they leave in the same order, and are dropped once the log has
them. Beyond `bound` bytes nothing more is taken. Raises Retry (full, or the disk is) or Lost (the file can't be used).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from connectors.core import Record, Retry
from connectors.sqlite_log import translate

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, key TEXT NOT NULL, arrived INTEGER NOT NULL,
    content_type TEXT NOT NULL, body BLOB NOT NULL
)
"""


class Spool:
    """The queue in `path`; one process writes it. `bound` is in bytes of bodies. Its calls may come from any thread."""

    def __init__(self, path: Path, *, bound: int) -> None:
        self._path, self._bound = path, bound
        self._lock = threading.Lock()
        with self._using():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(SCHEMA)
            self.count, self.bytes = self._db.execute("SELECT count(*), coalesce(sum(length(body)), 0) FROM records").fetchone()

    def put(self, records: Sequence[Record]) -> None:
        """Make records durable, behind all others."""
        size = sum(len(record.body) for record in records)
        if self.bytes + size > self._bound:
            raise Retry(
                f"the spool {self._path} holds {self.bytes} of at most {self._bound} bytes: bring the log back or raise the bound"
            )
        rows = [(r.topic, r.key, r.arrived, r.content_type, r.body) for r in records]
        with self._using():
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO records (topic, key, arrived, content_type, body) VALUES (?, ?, ?, ?, ?)", rows)
            self._db.execute("COMMIT")
            self.count += len(records)
            self.bytes += size

    def first(self, limit: int) -> list[tuple[int, Record]]:
        """Return at most `limit` of the oldest records, each with its number."""
        with self._using():
            rows = self._db.execute("SELECT * FROM records ORDER BY id LIMIT ?", (limit,)).fetchall()
        return [(number, Record(*row)) for number, *row in rows]

    def drop(self, upto: int) -> None:
        """Drop the records up to this number: the log has them."""
        with self._using():
            size = "SELECT count(*), coalesce(sum(length(body)), 0) FROM records WHERE id <= ?"
            count, bytes_ = self._db.execute(size, (upto,)).fetchone()
            self._db.execute("DELETE FROM records WHERE id <= ?", (upto,))
            self.count -= count
            self.bytes -= bytes_

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _using(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                if getattr(self, "_db", None) is not None and self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise translate(error, self._path) from error
