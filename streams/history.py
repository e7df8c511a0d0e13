"""History: what charts and evidence read. Judged batches enter as Arrow, Parquet keeps them, series come back.

Every reading is kept with its fate, so that revisions and late data stay visible beside what was judged. A step's rows are
durable with the step itself (pending, in the state store) and move to Parquet files in the background, exactly once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from connectors.core import Record, Refused
from connectors.parquet import ParquetFolder
from streams.identity import rfc3339
from streams.model import SeriesKey
from streams.pipeline import Outputs
from streams.records import tick_of
from streams.screen import FATES
from streams.state import State
from streams.store import StateStore
from streams.summary import summarise, window_length

READINGS, WINDOWS, FRAMES = "readings", "windows", "frames"
SORT = {READINGS: ["site", "point", "factor", "time"], WINDOWS: ["site", "point", "factor", "start"], FRAMES: ["offset"]}
OLDEST_FIRST = {
    READINGS: ["time", "site", "point", "factor", "period", "stat", "revision", "arrived", "offset"],
    WINDOWS: ["start", "site", "point", "factor", "period"],
    FRAMES: ["offset"],
}
"""Order of rows as they are told; offsets of one log grow with time."""
CLOCK = {READINGS: "time", WINDOWS: "start", FRAMES: "arrived"}
"""The time by which rows of a kind are laid into days: of the event, and of frames the log time."""
TIMES = {"time", "start", "arrived"}
EVER = (1 << 63) - 1
SERIES = """
SELECT time, stat, period, value, flag, quality, revision FROM (SELECT * FROM {files} UNION ALL BY NAME SELECT * FROM pending)
WHERE site = ? AND point = ? AND factor = ? AND time >= ? AND time < ? AND arrived <= ? AND fate != 'duplicate' AND fate != 'refused'
ORDER BY time, period, stat, revision, arrived, "offset"
"""


def _names(column: int, keys: Sequence[SeriesKey], series: np.ndarray[Any, Any]) -> pa.Array:
    """Return one part of the series keys as a dictionary array."""
    used, place = np.unique(series, return_inverse=True)
    return pa.DictionaryArray.from_arrays(
        pa.array(place.astype(np.int32)), pa.array([keys[i][column] for i in used.tolist()], pa.string())
    )


def readings_table(outputs: Sequence[Outputs], state: State, records: Sequence[Record]) -> pa.Table | None:
    """Return all rows of the batches, each with fate, quality, and topic and offset of the record it came from; None if empty.

    Without `records` (a replay keeps no log) the topic is empty and the offset -1.
    """
    parts = [o.screened for o in outputs if o.screened is not None]
    if not parts:
        return None
    rows = [p.rows for p in parts]
    series = np.concatenate([r.series for r in rows])
    fate = np.concatenate([p.fate for p in parts])
    flags = [chr(f) if f else "" for f in range(128)]
    columns: dict[str, Any] = {name: _names(i, state.table.keys, series) for i, name in enumerate(SeriesKey._fields)}
    columns |= {
        "time": np.concatenate([r.time for r in rows]),
        "value": np.concatenate([r.value for r in rows]),
        "flag": pa.DictionaryArray.from_arrays(
            pa.array(np.concatenate([r.flag for r in rows]).astype(np.int32)), pa.array(flags)
        ),
        "quality": np.concatenate([p.quality for p in parts]),
        "fate": pa.DictionaryArray.from_arrays(pa.array(fate.astype(np.int32)), pa.array(FATES)),
        "revision": (fate == FATES.index("revised")).astype(np.int32),
        "arrived": np.concatenate([r.arrived for r in rows]),
    }
    return pa.table(columns | _origin(records, np.concatenate([r.frame for r in rows])))


def _origin(records: Sequence[Record], frame: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return topic and offset of the record of each row, given the record's number."""
    if not records:
        return {"topic": pa.repeat("", len(frame)), "offset": np.full(len(frame), -1)}
    topics = {topic: number for number, topic in enumerate(dict.fromkeys(record.topic for record in records))}
    numbers = np.array([topics[record.topic] for record in records], np.int32)
    offsets = np.array([record.offset for record in records], np.int64)
    named = pa.DictionaryArray.from_arrays(pa.array(numbers[frame]), pa.array(list(topics)))
    return {"topic": named, "offset": offsets[frame]}


def windows_table(outputs: Sequence[Outputs], state: State) -> pa.Table | None:
    """Return the closed windows of the batches: site, point, factor, period, start, mean, count of valid parts, valid."""
    closed = [c for o in outputs for c in o.closed if len(c.channel)]
    if not closed:
        return None
    names = state.index.channels.names
    channel = np.concatenate([c.channel for c in closed])
    columns: dict[str, Any] = {
        part: [names[c][i] for c in channel.tolist()] for i, part in enumerate(("site", "point", "factor"))
    }
    columns |= {
        "period": [c.period for c in closed for _ in range(len(c.channel))],
        "start": np.concatenate([c.start for c in closed]),
        "mean": np.concatenate([c.mean for c in closed]),
        "count": np.concatenate([c.parts for c in closed]),
        "valid": np.concatenate([c.valid for c in closed]),
    }
    return pa.table(columns)


def frames_table(records: Sequence[Record]) -> pa.Table:
    """Return the records as they came, for evidence. A tick that the log does not hold stands at its own time."""
    return pa.table(
        {
            "offset": [r.offset for r in records],
            "arrived": [r.arrived if r.offset >= 0 else tick_of(r) or 0 for r in records],
            "topic": [r.topic for r in records],
            "site": [r.key for r in records],
            "content_type": [r.content_type for r in records],
            "body": pa.array([r.body for r in records], pa.binary()),
        }
    )


def packed(records: Sequence[Record], outputs: Sequence[Outputs], state: State) -> dict[str, bytes]:
    """Return the history of a step, kind → Arrow IPC stream, without kinds of which there is nothing."""
    tables = {
        READINGS: readings_table(outputs, state, records),
        WINDOWS: windows_table(outputs, state),
        FRAMES: frames_table([r for r in records if r.offset >= 0]),
    }
    return {kind: pack(table) for kind, table in tables.items() if table is not None and len(table)}


def pack(table: pa.Table) -> bytes:
    """Write a table as one Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def unpack(body: bytes) -> pa.Table:
    """Read a table that `pack` wrote."""
    table: pa.Table = pa.ipc.open_stream(body).read_all()
    return table


class History:
    """History of a data directory: `readings`, `windows` and `frames` folders beside the state store."""

    def __init__(self, data: Path, store: StateStore) -> None:
        self._store = store
        self._folders = {kind: ParquetFolder(data / "history" / kind) for kind in SORT}

    def flush(self) -> int:
        """Move pending rows into Parquet files; return how many rows. Repeating it after a crash changes nothing."""
        moved = 0
        for kind, folder in self._folders.items():
            waiting = self._store.pending(kind)
            if not waiting:
                continue
            bound = self._store.claim_pending(kind, waiting[-1][0])
            waiting = [row for row in waiting if row[0] <= bound]
            table = plain(pa.concat_tables([unpack(body) for _, body in waiting], promote_options="permissive"))
            first, last = waiting[0][0], waiting[-1][0]
            for day, part in by_day(kind, table):
                folder.write(day, f"{first:012d}-{last:012d}", part.sort_by([(column, "ascending") for column in SORT[kind]]))
                folder.merge(day, SORT[kind])
            self._store.drop_pending(kind, last)
            moved += len(table)
        return moved

    def series(
        self, site: str, point: str, factor: str, start: int, end: int, period: str | None = None, *, as_of: int | None = None
    ) -> pa.Table:
        """Return time, stat, period, value, flag, quality (QARTOD), revision of a channel in [start, end) ms UTC, by time.

        `as_of` (ms UTC) shows what was known at that log time: what arrived later, revisions too, is left out.
        """
        table = self._query(READINGS, SERIES, [site, point, factor, start, end, known(READINGS, as_of)])
        return of_period(table, period)

    def summary(
        self, site: str, point: str, factor: str, start: int, end: int, period: str | None = None, most: int = 2000
    ) -> pa.Table:
        """Return time, period, stat, count, mean, min, max of at most `most` windows of [start, end) ms UTC, by time."""
        return summarise(self.series(site, point, factor, start, end, period), start, window_length(start, end, most))

    def rows(self, kind: str, site: str | None = None, *, as_of: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield all rows of a kind, oldest first, as known at log time `as_of` if given."""
        yield from shown(self.table(kind, site, as_of=as_of))

    def table(
        self, kind: str, site: str | None = None, start: int = -EVER, end: int = EVER, *, as_of: int | None = None
    ) -> pa.Table:
        """Return the rows of a kind in [start, end) ms UTC of its clock, oldest first."""
        given: list[Any]
        where, given = [f"{CLOCK[kind]} >= ? AND {CLOCK[kind]} < ?"], [start, end]
        if site is not None:
            where, given = [*where, "site = ?"], [*given, site]
        if as_of is not None:
            where, given = [*where, "arrived <= ?"], [*given, known(kind, as_of)]
        order = ", ".join(f'"{column}"' for column in OLDEST_FIRST[kind])
        sql = (
            "SELECT * FROM (SELECT * FROM {files} UNION ALL BY NAME SELECT * FROM pending) "  # noqa: S608 - words of ours
            f"WHERE {' AND '.join(where)} ORDER BY {order}"
        )
        return self._query(kind, sql, given)

    def frames(self, site: str, start: int, end: int) -> pa.Table:
        """Return the frames of a site that arrived in [start, end) ms UTC, byte for byte, with offset, arrived and topic."""
        return self.table(FRAMES, site, start, end)

    def _query(self, kind: str, sql: str, parameters: list[Any]) -> pa.Table:
        waiting = [unpack(body) for _, body in self._store.pending(kind)]
        pending = plain(pa.concat_tables(waiting, promote_options="permissive")) if waiting else EMPTY[kind]
        return self._folders[kind].query(sql, parameters, {"pending": pending})


def known(kind: str, as_of: int | None) -> int:
    """Return the last log time whose rows are shown. Raises Refused for windows, which carry no log time."""
    if as_of is not None and kind == WINDOWS:
        raise Refused("windows carry no log time; ask for the readings as of that time")
    return EVER if as_of is None else as_of


def of_period(table: pa.Table, period: str | None) -> pa.Table:
    """Return the rows of one period, or all."""
    return table if period is None else table.filter(pa.compute.equal(table["period"], period))


def shown(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield rows with times in RFC 3339."""
    for batch in table.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            yield {k: rfc3339(v) if k in TIMES else v for k, v in row.items()}


def plain(table: pa.Table) -> pa.Table:
    """Return the table with plain strings where it had dictionaries: Arrow sorts no dictionaries, and Parquet makes its own."""
    plain = [pa.field(f.name, pa.string()) if pa.types.is_dictionary(f.type) else f for f in table.schema]
    return table.cast(pa.schema(plain))


def by_day(kind: str, table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Split rows by China day of event time (frames: of arrival)."""
    days = (table[CLOCK[kind]].to_numpy() + 8 * 3_600_000) // 86_400_000
    rows: dict[int, np.ndarray[Any, Any]] = defaultdict(lambda: np.zeros(0))
    for day in np.unique(days).tolist():
        rows[day] = np.flatnonzero(days == day)
    for day, mine in rows.items():
        yield str(rfc3339(day * 86_400_000 - 8 * 3_600_000))[:10], table.take(pa.array(mine))


EMPTY = {
    READINGS: pa.schema(
        [
            *((n, pa.string()) for n in SeriesKey._fields),
            ("time", pa.int64()),
            ("value", pa.float64()),
            ("flag", pa.string()),
            ("quality", pa.uint8()),
            ("fate", pa.string()),
            ("revision", pa.int32()),
            ("arrived", pa.int64()),
            ("topic", pa.string()),
            ("offset", pa.int64()),
        ]
    ).empty_table(),
    WINDOWS: pa.schema(
        [
            *((n, pa.string()) for n in ("site", "point", "factor", "period")),
            ("start", pa.int64()),
            ("mean", pa.float64()),
            ("count", pa.int64()),
            ("valid", pa.bool_()),
        ]
    ).empty_table(),
    FRAMES: pa.schema(
        [
            ("offset", pa.int64()),
            ("arrived", pa.int64()),
            ("topic", pa.string()),
            ("site", pa.string()),
            ("content_type", pa.string()),
            ("body", pa.binary()),
        ]
    ).empty_table(),
}
