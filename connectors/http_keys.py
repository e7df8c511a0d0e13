"""Answers by Idempotency-Key, kept in a small SQLite table so that a repeated request after a restart gets the same answer.

Source: draft-ietf-httpapi-idempotency-key-header-07 (§2.6: 422 for the same key with another body, 409 while the first is under
way). The table is written after the readings are durable: a crash in between only means that a repetition is taken again, and
readings taken twice are duplicates, not errors (design §3).
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from connectors.core import Clock, Retry
from connectors.sqlite_log import translate

KEEP_MS = 24 * 3_600_000
KEEP_ROWS = 100_000
SCHEMA = """CREATE TABLE IF NOT EXISTS answers (
    caller TEXT, key TEXT, digest BLOB NOT NULL, status INTEGER NOT NULL, body BLOB NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (caller, key))"""
INDEX = "CREATE INDEX IF NOT EXISTS answers_at ON answers (at)"


class Mismatch(Exception):
    """The key was used before with another body."""


class AnswerBook:
    """What was answered to (caller, key) in the last 24 hours, at most 100,000 answers; `path` may be ":memory:"."""

    def __init__(self, path: Path | str, clock: Clock, *, keep_ms: int = KEEP_MS, keep_rows: int = KEEP_ROWS) -> None:
        self._path = Path(path)
        self._clock, self._keep_ms, self._keep_rows = clock, keep_ms, keep_rows
        self._mutex = threading.Lock()
        self._under_way: set[tuple[str, str]] = set()
        with self._translated():
            self._table = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2.0)
            self._table.execute("PRAGMA journal_mode=WAL")
            self._table.execute("PRAGMA synchronous=NORMAL")
            self._table.execute(SCHEMA)
            self._table.execute(INDEX)

    def begin(self, caller: str, key: str, digest: bytes) -> tuple[int, bytes] | None:
        """Return the answer (status, body) given before, or None and note the request as under way.

        Raises Mismatch (another body) or Retry (the first request with this key is still under way).
        """
        with self._mutex, self._translated():
            sql = "SELECT digest, status, body FROM answers WHERE caller = ? AND key = ? AND at > ?"
            row = self._table.execute(sql, (caller, key, self._clock() - self._keep_ms)).fetchone()
            if row is not None:
                if row[0] != digest:
                    raise Mismatch(key)
                return row[1], row[2]
            if (caller, key) in self._under_way:
                raise Retry("a request with this key is still under way")
            self._under_way.add((caller, key))
            return None

    def finish(self, caller: str, key: str, digest: bytes, status: int, body: bytes) -> None:
        """Keep the answer, and drop what is too old or too much."""
        now = self._clock()
        with self._mutex, self._translated():
            self._table.execute("BEGIN IMMEDIATE")
            self._table.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)", (caller, key, digest, status, body, now)
            )
            self._table.execute("DELETE FROM answers WHERE at <= ?", (now - self._keep_ms,))
            self._table.execute(
                "DELETE FROM answers WHERE rowid <= (SELECT max(rowid) FROM answers) - ?",
                (self._keep_rows,),
            )
            self._table.execute("COMMIT")

    def leave(self, caller: str, key: str) -> None:
        """Note that the request is no longer under way, however it ended."""
        with self._mutex:
            self._under_way.discard((caller, key))

    def close(self) -> None:
        """Close the table."""
        self._table.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if hasattr(self, "_table") and self._table.in_transaction:
                self._table.rollback()
            raise translate(error, self._path) from error
