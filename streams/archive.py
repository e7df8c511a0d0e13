"""The archive: judged readings, windows and raw frames for good, exactly once, on a path or an S3-compatible store.

Messages of the topic `history` enter, in offset order a partition; rows leave through the same interface as `streams.history`.

Exactly once by construction: a file is named by stream (topic and partition), first and last offset of the batch it came from,
holds *all* rows of those messages that belong to its kind and day, each with its message's offset, and is written whole. So a
batch put again writes the same file again, and one put again in another cut (after a crash, or by a process that does not know
that it was replaced) writes files whose ranges overlap: every offset is then read from one of them, chosen by names alone.
The consumer commits its offset only after `put` has returned.

Layout: `readings/day=2026-11-24/S.N.P-FIRST-LAST.parquet`, S the stream's source, P the partition out of N; `-merged` ends the
name of what `compact` made. A site's rows lie in the files of its partition, sorted by site, so a chart of one site and one day
reads the footers of one partition's files and the row groups that hold the site.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from connectors.archive import PARQUET, ArchiveStore, Vanished
from connectors.core import Record, Refused, Retry
from connectors.parquet import ask
from streams import history
from streams.archive_files import MANY, Piece, crowd, owned, parts_of, source_of
from streams.history import CLOCK, EMPTY, EVER, FRAMES, OLDEST_FIRST, READINGS, SERIES, SORT, WINDOWS
from streams.identity import rfc3339
from streams.summary import summarise, window_length

AT = "at"
"""Column: offset of the history message that a row came from."""
REACH = "reach"
FAR = (-62_000_000_000_000, 253_000_000_000_000)
"""Years 5 and 9987: what a date can say."""
NOTHING = "(SELECT * FROM pending WHERE false)"
LAID = SORT | {FRAMES: ["site", "topic", "offset"]}
"""Order of rows in a file: by site, so that row groups of other sites are not read."""
SCHEMAS = {kind: table.schema.append(pa.field(AT, pa.int64())) for kind, table in EMPTY.items()}
TRIES = 10
Message = tuple[int, str, pa.Table]
"""(offset, kind, rows) of one message of the topic `history`."""
T = TypeVar("T")


class Archive:
    """The archive at `url`. A writer names the topic id of `history` and its number of partitions; a reader need not."""

    def __init__(self, url: str, options: Mapping[str, Any] | None = None, *, topic_id: str = "", partitions: int = 1) -> None:
        self.store = ArchiveStore(url, options)
        self._source, self.partitions, self._writes = source_of(topic_id), partitions, bool(topic_id)
        self._marked: dict[int, int] = {}
        self._new: Counter[tuple[str, str, int]] = Counter()

    # --- writing

    def put(self, partition: int, messages: Sequence[Message]) -> int:
        """Make messages durable, given in offset order; return how many rows. Then, and only then, their offset may be committed.

        Raises Retry or Lost; putting the same messages again is always right.
        """
        if not messages:
            return 0
        if not self._writes or partition >= self.partitions:
            raise Refused(f"the archive was not opened to write partition {partition}: name the topic's id and its partitions")
        first, last = messages[0][0], messages[-1][0]
        rows = 0
        for kind in EMPTY:
            parts = [_laid(kind, offset, table) for offset, found, table in messages if found == kind]
            if not parts:
                continue
            table = pa.concat_tables(parts)
            rows += len(table)
            for day, part in history.by_day(kind, table):
                self._write(kind, day, Piece(self._stream(partition), first, last, merged=False), part)
                self._new[kind, day, partition] += 1
        self._mark(partition, last + 1)
        for place in [place for place, count in self._new.items() if count >= MANY and place[2] == partition]:
            kind, day, _partition = place
            self._again(partial(self._tidy, f"{kind}/day={day}", kind, day, self._stream(partition)))
            del self._new[place]
        return rows

    def covered(self, partition: int) -> int:
        """Return the next offset of a partition: all messages before it are durable here. Names alone tell."""
        stream = self._stream(partition)
        marks = [name.split("-") for name in self.store.names(REACH)]
        return max((int(following) for found, following in marks if found == stream), default=0)

    def _stream(self, partition: int) -> str:
        return f"{self._source}.{self.partitions}.{partition}"

    def _write(self, kind: str, day: str, piece: Piece, table: pa.Table) -> None:
        order = [(column, "ascending") for column in LAID[kind]]
        self.store.write_table(f"{kind}/day={day}/{piece.name}", table.sort_by(order))

    def _mark(self, partition: int, following: int) -> None:
        before = self._marked[partition] if partition in self._marked else self.covered(partition)
        if following > before:
            self.store.write(f"{REACH}/{self._stream(partition)}-{following:015d}", b"")
            self.store.remove(f"{REACH}/{self._stream(partition)}-{before:015d}")
        self._marked[partition] = max(before, following)

    def compact(self, day: str) -> int:
        """Merge the files of a day (`2026-11-24`) into one a kind and partition; return how many files went.

        A reader finds every row once at any instant: once the merged file is there, names say that it stands for the others.
        """
        return sum(self._again(partial(self._compact, f"{kind}/day={day}", kind, day)) for kind in EMPTY)

    def _compact(self, folder: str, kind: str, day: str) -> int:
        pieces: dict[str, list[Piece]] = defaultdict(list)
        for piece in self._pieces(folder):
            pieces[piece.stream].append(piece)
        return sum(self._merge(folder, kind, day, mine) for mine in pieces.values() if len(mine) > 1) + self._sweep(folder)

    def _tidy(self, folder: str, kind: str, day: str, stream: str) -> None:
        """Merge what is worth it of a stream that goes on."""
        while len(mine := crowd([p for p in self._pieces(folder) if p.stream == stream])) > 1:
            self._merge(folder, kind, day, mine)

    def _merge(self, folder: str, kind: str, day: str, mine: Sequence[Piece]) -> int:
        """Write one file for neighbouring files of a stream, then remove them; return how many went."""
        whole = Piece(mine[0].stream, min(p.first for p in mine), max(p.last for p in mine), merged=True)
        if whole not in mine:
            self._write(kind, day, whole, self._rows(folder, kind, mine, None))
        gone = [piece for piece in mine if piece != whole]
        for piece in gone:
            self.store.remove(f"{folder}/{piece.name}")
        return len(gone)

    def _sweep(self, folder: str) -> int:
        """Remove what crashes left unfinished: its messages have come since, in files with names."""
        reached: dict[str, int] = {}
        for piece in self._pieces(folder):
            reached[piece.stream] = max(piece.last, reached.get(piece.stream, -1))
        left = []
        for name in self.store.parts(folder):
            piece = Piece.of(name.removeprefix(".").partition(PARQUET)[0])
            left += [name] if piece.last <= reached.get(piece.stream, -1) else []
        for name in left:
            self.store.remove(f"{folder}/{name}")
        return len(left)

    def _pieces(self, folder: str) -> list[Piece]:
        return [Piece.of(name) for name in self.store.names(folder) if name.endswith(PARQUET)]

    # --- reading

    def days(self, kind: str, start: int = -EVER, end: int = EVER) -> list[str]:
        """Return the China days that hold rows of [start, end) ms UTC, oldest first."""
        low, high = _day(start), _day(end - 1)
        found = (name.removeprefix("day=") for name in self.store.names(kind))
        return [day for day in sorted(found) if low <= day <= high]

    def series(
        self, site: str, point: str, factor: str, start: int, end: int, period: str | None = None, *, as_of: int | None = None
    ) -> pa.Table:
        """Return a channel as `History.series` does: time, stat, period, value, flag, quality, revision in [start, end) ms UTC."""
        channel = (pc.field("point") == point) & (pc.field("factor") == factor)
        until = history.known(READINGS, as_of)
        table = self._select(READINGS, self.days(READINGS, start, end), site, start, end, until, channel)
        given = [site, point, factor, start, end, until]
        return history.of_period(ask(SERIES.replace("{files}", NOTHING), given, {"pending": table}), period)

    def summary(
        self, site: str, point: str, factor: str, start: int, end: int, period: str | None = None, most: int = 2000
    ) -> pa.Table:
        """Return a channel as `History.summary` does: time, period, stat, count, mean, min, max of at most `most` windows."""
        return summarise(self.series(site, point, factor, start, end, period), start, window_length(start, end, most))

    def table(
        self, kind: str, site: str | None = None, start: int = -EVER, end: int = EVER, *, as_of: int | None = None
    ) -> pa.Table:
        """Return the rows of a kind in [start, end) ms UTC of its clock, oldest first, as known at log time `as_of` if given."""
        days = self.days(kind, start, end)
        return pa.concat_tables(
            [EMPTY[kind], *(self._day(kind, day, site, start, end, history.known(kind, as_of)) for day in days)]
        )

    def rows(self, kind: str, site: str | None = None, *, as_of: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield all rows of a kind, oldest first, a day at a time."""
        until = history.known(kind, as_of)
        for day in self.days(kind):
            yield from history.shown(self._day(kind, day, site, -EVER, EVER, until))

    def frames(self, site: str, start: int, end: int) -> pa.Table:
        """Return the frames of a site that arrived in [start, end) ms UTC, byte for byte, with offset, arrived and topic."""
        return self.table(FRAMES, site, start, end)

    def recorded(self) -> Iterator[tuple[int, int, Record]]:
        """Yield all frames as the log records they were, (partition, of how many, record), oldest first, each topic in its order.

        A tick that a worker made of its own has offset -1 and comes after the records of its instant.
        """
        for day in self.days(FRAMES):
            pieces = self._again(partial(self._by_stream, f"{FRAMES}/day={day}"))
            for stream, table in pieces:
                partition, partitions = parts_of(stream)
                order = [("arrived", "ascending"), ("own", "ascending"), ("topic", "ascending"), ("offset", "ascending")]
                own = pc.less(table["offset"], 0)
                for row in table.append_column("own", own).sort_by(order).drop_columns(["own", AT]).to_pylist():
                    key = row.pop("site")
                    yield partition, partitions, Record(key=key, partition=partition, **row)

    def _by_stream(self, folder: str) -> list[tuple[str, pa.Table]]:
        pieces = self._pieces(folder)
        return [
            (stream, self._rows(folder, FRAMES, [p for p in pieces if p.stream == stream], None))
            for stream in sorted({p.stream for p in pieces})
        ]

    def _day(self, kind: str, day: str, site: str | None, start: int, end: int, until: int) -> pa.Table:
        order = ["arrived", "topic", "offset"] if kind == FRAMES else OLDEST_FIRST[kind]
        table = self._select(kind, [day], site, start, end, until)
        return table.sort_by([(column, "ascending") for column in [*order, AT]]).drop_columns([AT])

    def _select(
        self,
        kind: str,
        days: Sequence[str],
        site: str | None,
        start: int,
        end: int,
        until: int,
        more: pc.Expression | None = None,
    ) -> pa.Table:
        wanted = (pc.field(CLOCK[kind]) >= start) & (pc.field(CLOCK[kind]) < end)
        if kind != WINDOWS:
            wanted &= pc.field("arrived") <= until
        if site is not None:
            wanted &= pc.field("site") == site
        if more is not None:
            wanted &= more
        parts = [self._again(partial(self._listed, f"{kind}/day={day}", kind, site, wanted)) for day in days]
        return pa.concat_tables([SCHEMAS[kind].empty_table(), *parts])

    def _listed(self, folder: str, kind: str, site: str | None, wanted: pc.Expression) -> pa.Table:
        pieces = self._pieces(folder)
        if site is not None and kind != FRAMES:  # a frame lies where its sender put it, which may be a wrong partition
            pieces = [p for p in pieces if p.may_hold(site)]
        return self._rows(folder, kind, pieces, wanted)

    def _rows(self, folder: str, kind: str, pieces: Sequence[Piece], wanted: pc.Expression | None) -> pa.Table:
        """Return the wanted rows of the files, each message's from one file."""
        places = [(f"{folder}/{piece.name}", piece.first, start) for piece, start in owned(pieces)]
        parts = [self.store.table([name for name, first, start in places if start == first], SCHEMAS[kind], wanted)]
        for name, first, start in places:
            if start != first:
                mine = pc.field(AT) >= start
                parts.append(self.store.table([name], SCHEMAS[kind], mine if wanted is None else mine & wanted))
        return pa.concat_tables(parts)

    def _again(self, read: Callable[[], T]) -> T:
        """Read again if a merge removed a file between listing and reading."""
        for _attempt in range(TRIES):
            try:
                return read()
            except Vanished:
                continue
        raise Retry(f"{self.store.url}: files changed while they were read; ask again", 1)


def _laid(kind: str, offset: int, table: pa.Table) -> pa.Table:
    """Return the rows of a message in the columns of the archive, with the message's offset."""
    schema = EMPTY[kind].schema
    missing = set(schema.names) - set(table.schema.names)
    if missing:
        raise Refused(f"history message {offset}: {kind} without {', '.join(sorted(missing))}; it was not written by a worker")
    plain = history.plain(table.select(schema.names)).cast(schema)
    return plain.append_column(SCHEMAS[kind].field(AT), pa.repeat(pa.scalar(offset, pa.int64()), len(plain)))


def _day(instant: int) -> str:
    """Return the China day of an instant; far times stay comparable as text."""
    return str(rfc3339(min(max(instant, FAR[0]), FAR[1])))[:10]
