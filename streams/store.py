"""The embedded state store: one SQLite file that the judge alone writes (design §2).

Steps enter, each in one transaction: outputs, state chunks, books, refused input, pending history and the log position. The
desk reads outputs from it, the console pending history, both without holding a snapshot. Raises Retry (locked, disk full;
nothing was written) or Lost (damaged), naming the file and the remedy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from connectors.core import ConnectorError, Lost
from connectors.sqlite_log import translate
from streams.commit import Step
from streams.seen import ALL, Run, run_of
from streams.state import RAW_KINDS, Chunk

VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS chunks (kind TEXT, name TEXT, number INTEGER, body BLOB NOT NULL, UNIQUE (kind, name, number));
CREATE TABLE IF NOT EXISTS outputs (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, site TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS dead_letters (id INTEGER PRIMARY KEY, offset INTEGER, reason TEXT, detail TEXT, raw BLOB, rows INTEGER);
CREATE TABLE IF NOT EXISTS pending (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, body BLOB NOT NULL);
"""
PUT = "INSERT INTO chunks VALUES (?, ?, ?, ?) ON CONFLICT (kind, name, number) DO UPDATE SET body = excluded.body"
Output = tuple[int, str, str, dict[str, Any]]


class StateStore:
    """State, outputs and books in `path`. `durable=False` (a replay, which can be repeated) waits for no disk.

    Opening it to write makes every earlier writer end. Ids of `pending` name Parquet files, so none is ever given twice.
    """

    def __init__(self, path: Path, *, durable: bool = True, readonly: bool = False) -> None:
        self.path = path
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            mode = "ro" if readonly else "rwc"
            self._db = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=10, check_same_thread=False
            )
            if not readonly:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
                self._db.executescript(SCHEMA)
        self._epoch = 0 if readonly else self._claim()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise translate(error, self.path) from error

    def _claim(self) -> int:
        """Become the one writer: whoever opened the file to write before can write nothing more."""
        with self._translated(), self._transaction():
            epoch = self._meta("epoch") + 1
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (epoch,))
        return epoch

    def _still_mine(self) -> None:
        """Raise Lost if another writer has taken over: its memory, not this one's, stands for what is stored."""
        if self._meta("epoch") != self._epoch:
            raise Lost(f"{self.path}: another judge has taken over this data directory; this one ends")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # --- the judge's side

    def position(self) -> int:
        """Return the log position up to which steps are durable."""
        return self._meta("position")

    def commit(self, steps: Sequence[Step]) -> None:
        """Make the steps durable in one transaction, or raise and change nothing.

        Raises Lost if another writer has opened the file since: a judge that does not know that it was replaced can do no harm.
        """
        with self._translated(), self._transaction():
            self._still_mine()
            for step in steps:
                self._put(step)

    def _put(self, step: Step) -> None:
        self._put_chunks(step)
        bodies = [(kind, site, orjson.dumps(body).decode()) for kind, site, body in step.outputs]
        self._db.executemany("INSERT INTO outputs (kind, site, body) VALUES (?, ?, ?)", bodies)
        records = step.records
        letters = [
            (records[r.frame].offset if records and r.frame >= 0 else None, r.reason, r.detail, r.raw, r.rows)
            for r in step.rejects
        ]
        self._db.executemany("INSERT INTO dead_letters (offset, reason, detail, raw, rows) VALUES (?, ?, ?, ?, ?)", letters)
        self._db.executemany("INSERT INTO pending (kind, body) VALUES (?, ?)", step.history.items())
        if records:
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('position', ?)", (records[-1].offset + 1,))

    def _put_chunks(self, step: Step) -> None:
        put, gone = [], []
        for kind, name, number, body in step.chunks:
            if number == ALL:
                self._db.execute("DELETE FROM chunks WHERE kind = ? AND name = ?", (kind, name))
            elif body is None:
                gone.append((kind, name, number))
            else:
                put.append((kind, name, number, body if isinstance(body, bytes) else orjson.dumps(body)))
        self._db.executemany("DELETE FROM chunks WHERE kind = ? AND name = ? AND number = ?", gone)
        self._db.executemany(PUT, put)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except (sqlite3.Error, ConnectorError, ValueError):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def chunks(self) -> list[Chunk]:
        """Return the stored state, all but the seen runs (those are loaded a day at a time)."""
        with self._translated():
            rows = self._db.execute("SELECT kind, name, number, body FROM chunks WHERE kind != 'seen'").fetchall()
        return [Chunk(k, n, i, b if k in RAW_KINDS else orjson.loads(b)) for k, n, i, b in rows]

    def load_seen(self, day: int) -> dict[int, Run]:
        """Return the seen runs of a day."""
        with self._translated():
            rows = self._db.execute("SELECT number, body FROM chunks WHERE kind = 'seen' AND name = ?", (str(day),)).fetchall()
        return {number: run_of(body) for number, body in rows}

    # --- readers

    def _meta(self, name: str) -> int:
        with self._translated():
            row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return 0 if row is None else int(row[0])

    def outputs(self, after: int, limit: int) -> list[Output]:
        """Return at most `limit` outputs with a sequence > `after`, oldest first."""
        with self._translated():
            rows = self._db.execute(
                "SELECT seq, kind, site, body FROM outputs WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit)
            ).fetchall()
        return [(seq, kind, site, orjson.loads(body)) for seq, kind, site, body in rows]

    def books(self) -> dict[str, int]:
        """Return the books of the last step."""
        return dict(self._misc().get("books", {}))

    def tick(self) -> int:
        """Return the log time (ms UTC) of the last tick that was judged, 0 before the first."""
        return int(self._misc().get("tick", 0))

    def _misc(self) -> dict[str, Any]:
        with self._translated():
            row = self._db.execute("SELECT body FROM chunks WHERE kind = 'misc'").fetchone()
        return {} if row is None else dict(orjson.loads(row[0]))

    def dead_letters(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Return refused input, oldest first: id, offset, reason, detail, raw, rows."""
        with self._translated():
            rows = self._db.execute(
                "SELECT id, offset, reason, detail, raw, rows FROM dead_letters WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
            ).fetchall()
        names = ("id", "offset", "reason", "detail", "raw", "rows")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def pending(self, kind: str) -> list[tuple[int, bytes]]:
        """Return the history of `kind` that is not in a Parquet file yet, oldest first."""
        with self._translated():
            return self._db.execute("SELECT id, body FROM pending WHERE kind = ? ORDER BY id", (kind,)).fetchall()

    def claim_pending(self, kind: str, upto: int) -> int:
        """Fix how far the next Parquet file of `kind` reaches, and return it: what a crashed flush had fixed, else `upto`.

        So a file that is written again holds the same rows, and no row is ever in two files.
        """
        fixed = self._meta(f"flush.{kind}")
        if fixed:
            return fixed
        with self._translated(), self._transaction():
            self._still_mine()
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"flush.{kind}", upto))
        return upto

    def drop_pending(self, kind: str, upto: int) -> None:
        """Forget pending history that is in a Parquet file now."""
        with self._translated(), self._transaction():
            self._still_mine()
            self._db.execute("DELETE FROM pending WHERE kind = ? AND id <= ?", (kind, upto))
            self._db.execute("DELETE FROM meta WHERE name = ?", (f"flush.{kind}",))
