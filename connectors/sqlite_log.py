"""The embedded log: records in, durable and numbered records out, one SQLite file a day (promise 1).

A file `YYYY-MM-DD.sqlite` holds the records whose log time lies in that day of China Standard Time (UTC+8). Offsets are
global and contiguous across files. There is one writer (it holds a lock on `writer.lock`) and any number of readers, in this
process or others: WAL lets them read beside the writer, and no reader keeps a snapshot once `read` has returned, so that
the WAL stays small. `synchronous=FULL`: a commit has been fsynced when `append` returns.

Log time never runs backwards: a clock set back leaves `arrived` where it was until the clock has caught up, because windows of
grace and silence are measured in it (design §3); `held_back` says by how many ms.
"""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any

from connectors.core import Clock, ConnectorError, Lost, Record, Retry

CST_MS = 8 * 3_600_000
DAY_MS = 86_400_000
EPOCH = date(1970, 1, 1)
BUSY_MS = 2_000
SCHEMA = """CREATE TABLE IF NOT EXISTS log (
    "offset" INTEGER PRIMARY KEY, topic TEXT NOT NULL, key TEXT NOT NULL,
    arrived INTEGER NOT NULL, content_type TEXT NOT NULL, body BLOB NOT NULL)"""
INSERT = "INSERT INTO log VALUES "
ROWS = 512
"""Rows of one INSERT. One statement is one release of Python's lock; row by row, a busy event loop would make each row wait."""
SELECT = 'SELECT topic, key, arrived, content_type, body, "offset" FROM log WHERE "offset" >= ? ORDER BY "offset" LIMIT ?'

REMEDIES: dict[str, tuple[type[ConnectorError], str]] = {
    "SQLITE_FULL": (Retry, "the disk is full: free space; devices resend what was not acknowledged"),
    "SQLITE_BUSY": (Retry, "the file is locked by another program: close it"),
    "SQLITE_LOCKED": (Retry, "the file is locked by another program: close it"),
    "SQLITE_CORRUPT": (Lost, "the file is damaged: move it away, restore it from the archive, and start again"),
    "SQLITE_NOTADB": (Lost, "the file is not a SQLite database: move it away, restore it from the archive, and start again"),
    "SQLITE_READONLY": (Lost, "the file is read-only: give this user the right to write the folder"),
    "SQLITE_CANTOPEN": (Lost, "the file cannot be opened: check the folder's rights and the limit of open files"),
    "SQLITE_CONSTRAINT": (Lost, "another writer has written to this log: start only one"),
    "SQLITE_IOERR": (Lost, "the disk reports an error: check it, then start again"),
}
"""Result codes of SQLite (sqlite.org/rescode.html) by the reaction they demand; an extended code is found by its stem.

A failed fsync is an IOERR and ends the process: pages may already be dropped from the cache, and only recovery knows the truth.
"""


def day_of(ms: int) -> date:
    """Return the day of China Standard Time that `ms` (UTC) lies in.

    >>> day_of(1_471_968_000_000)  # 2016-08-23T16:00Z
    datetime.date(2016, 8, 24)
    """
    return EPOCH + timedelta(days=(ms + CST_MS) // DAY_MS)


def translate(error: sqlite3.Error, path: Path) -> ConnectorError:
    """Name the reaction that an error of SQLite on `path` demands: Retry or Lost, with the file and the remedy."""
    name: str = getattr(error, "sqlite_errorname", "")
    for stem, (kind, remedy) in REMEDIES.items():
        if name.startswith(stem):
            return kind(f"{path}: {remedy} ({error})")
    return Lost(f"{path}: unexpected error of SQLite: {error}")


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Let no error of SQLite leave this file untranslated."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path) from error


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000)


def _insert(writer: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
    sql = INSERT + ",".join(["(?,?,?,?,?,?)"] * len(rows))
    writer.execute(sql, list(chain.from_iterable(rows)))


class SqliteLog:
    """A `connectors.core.Log` in `folder`; safe to use from several threads. `clock` stamps what has no log time yet."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self.held_back = 0
        self._clock = clock
        self._mutex = threading.Lock()
        self._readers: dict[Path, sqlite3.Connection] = {}
        self._begins: dict[Path, int] = {}
        self._writer: sqlite3.Connection | None = None
        self._path: Path | None = None
        self._lock_file: TextIOWrapper | None = None
        self._end = -1
        self._arrived = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Lost(f"{folder}: the log's folder cannot be made: {error}") from error

    def append(self, records: Sequence[Record]) -> int:
        """Make the records durable in one transaction, in order; return the offset of the first.

        A record with `arrived` < 0 is stamped by the clock; a batch lies whole in one file, that of its last record's day.
        Raises Retry (disk full, locked; nothing was written) or Lost (damaged, a second writer), naming file and remedy.
        """
        with self._mutex:
            if self._end < 0:
                self._become_writer()
            first = self._end
            if not records:
                return first
            clock = self._clock()
            now = max(clock, self._arrived)
            self.held_back = now - clock
            rows = [
                (first + i, r.topic, r.key, r.arrived if r.arrived >= 0 else now, r.content_type, r.body)
                for i, r in enumerate(records)
            ]
            self._write(rows, self._file_of(day_of(int(rows[-1][3]))))
            self._arrived = max(self._arrived, *(int(row[3]) for row in rows))
            self._end = first + len(rows)
            return first

    def read(self, start: int, limit: int) -> list[Record]:
        """At most `limit` records with offset >= `start`, in order, of any writer; holds no snapshot after it returns.

        Records older than `first()` are gone: the list then begins at the first one kept.
        """
        found: list[Record] = []
        with self._mutex:
            files = self._files()  # listed before the first read: a file that has a successor here is complete
            begins = [self._begin(path) for path in files]
            for i, path in enumerate(files):
                later = next((begin for begin in begins[i + 1 :] if begin is not None), None)
                if len(found) < limit and (later is None or later > start):
                    found += self._select(path, start, limit - len(found))
        return found

    def end(self) -> int:
        """Return the offset that the next record will get (0 in an empty log). The writer never waits for a commit here."""
        known = self._end
        if known >= 0:
            return known
        with self._mutex:
            return self._find_end()

    def first(self) -> int:
        """Return the offset of the oldest record kept, or `end()` if there is none."""
        with self._mutex:
            begins = (self._begin(path) for path in self._files())
            found = next((begin for begin in begins if begin is not None), None)
        return self.end() if found is None else found

    def drop_before(self, day: date) -> list[Path]:
        """Delete the files of days before `day` and return them; the newest that holds records stays, for it holds the end."""
        with self._mutex:
            files = self._files()
            kept = next((path for path in reversed(files) if self._begin(path) is not None), None)
            dropped = [path for path in files if path != kept and date.fromisoformat(path.stem) < day]
            for path in dropped:
                if path == self._path:
                    self._close_writer()
                self._close_reader(path)
                for suffix in ("", "-wal", "-shm"):
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
        return dropped

    def close(self) -> None:
        """Close every file; the log may be used again and opens what it needs."""
        with self._mutex:
            for path in list(self._readers):
                self._close_reader(path)
            self._close_writer()
            if self._lock_file is not None:
                self._lock_file.close()
                self._lock_file = None
            self._end = -1

    def _become_writer(self) -> None:
        """Take the lock, then find the end that the last writer left. Raises Lost if another process writes."""
        path = self.folder / "writer.lock"
        try:
            lock_file = path.open("a")
        except OSError as error:
            raise Lost(f"{path}: cannot be opened: {error}") from error
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock_file.close()
            raise Lost(f"{path}: another process writes this log: stop it, or choose another folder") from error
        self._lock_file = lock_file
        self._end = self._find_end()
        if self._end:
            newest = next(p for p in reversed(self._files()) if self._edge(p, "max") is not None)
            self._arrived = self._select(newest, self._end - 1, 1)[0].arrived

    def _write(self, rows: list[tuple[Any, ...]], path: Path) -> None:
        """Insert the rows in one transaction; on any error nothing of it remains."""
        with _translated(path):
            writer = self._open_writer(path)
            try:
                if len(rows) <= ROWS:
                    _insert(writer, rows)  # one statement is its own transaction
                else:
                    writer.execute("BEGIN IMMEDIATE")
                    for i in range(0, len(rows), ROWS):
                        _insert(writer, rows[i : i + ROWS])
                    writer.execute("COMMIT")
            except sqlite3.Error:
                self._close_writer()  # rolls back; the next append begins with a fresh connection
                raise

    def _open_writer(self, path: Path) -> sqlite3.Connection:
        if self._writer is None or self._path != path:
            self._close_writer()
            writer = self._writer = _connect(path.resolve().as_uri())
            self._path = path
            writer.execute("PRAGMA journal_mode=WAL")
            writer.execute("PRAGMA synchronous=FULL")
            writer.execute(SCHEMA)
        return self._writer

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = self._path = None

    def _file_of(self, day: date) -> Path:
        """Return the file to write to: never an older one than the newest, so that files are in the order of offsets."""
        files = self._files()
        newest = date.fromisoformat(files[-1].stem) if files else EPOCH
        return self.folder / f"{max(day, newest).isoformat()}.sqlite"

    def _files(self) -> list[Path]:
        """List the day files, oldest first, and let go of readers whose file is gone."""
        files = sorted(self.folder.glob("????-??-??.sqlite"))
        for path in set(self._readers).difference(files):
            self._close_reader(path)
        return files

    def _begin(self, path: Path) -> int | None:
        """Return the first offset in a file, None if it holds none; it never changes once known."""
        if path not in self._begins:
            found = self._edge(path, "min")
            if found is None:
                return None
            self._begins[path] = found
        return self._begins[path]

    def _find_end(self) -> int:
        edges = (self._edge(path, "max") for path in reversed(self._files()))
        return next((edge + 1 for edge in edges if edge is not None), 0)

    def _edge(self, path: Path, which: str) -> int | None:
        """Return the smallest (`min`) or largest (`max`) offset in a file, None if it holds none."""
        rows = self._query(path, f'SELECT {which}("offset") FROM log', ())  # noqa: S608 — min or max, never input
        return None if not rows else rows[0][0]

    def _select(self, path: Path, start: int, limit: int) -> list[Record]:
        return [Record(*row) for row in self._query(path, SELECT, (start, limit))]

    def _query(self, path: Path, sql: str, args: tuple[int, ...]) -> list[Any]:
        """Run a query to its end (fetchall releases the snapshot); a file not yet begun holds nothing."""
        with _translated(path):
            reader = self._readers.get(path)
            if reader is None:
                reader = self._readers[path] = _connect(f"{path.resolve().as_uri()}?mode=rw")
            try:
                return reader.execute(sql, args).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    def _close_reader(self, path: Path) -> None:
        self._begins.pop(path, None)
        reader = self._readers.pop(path, None)
        if reader is not None:
            reader.close()
