"""Chart history in InfluxDB 2: judged batches enter, series leave, with the columns and units of `streams.history.History`.

Kept is what a chart may show: duplicates, refused rows and raw frames are in the archive. A revision stands beside the value it
corrects; the same row written again changes nothing, so what reads the log may repeat any batch. Its absence stops no judgement:
every call raises Retry while the server is away. Schema: docs/decisions/0008-influx-schema.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.core import Clock, Refused
from connectors.influx import Bucket, Influx, Unwritten, flux_text
from connectors.influx_lines import table_lines, tag, untag
from streams.history import READINGS, WINDOWS, shown
from streams.model import SeriesKey
from streams.summary import SUMMARY, in_order, summarise, window_length

DAY_S = 86_400
MS = 1_000_000
SHARES = ("realtime", "minute", "hour")
"""Buckets by retention; hours and all longer periods share the last."""
DAYS = {"realtime": 90, "minute": 730, "hour": 0}
"""Days kept by default; 0 = for ever."""
KEPT = ("accepted", "late", "revised")
SLOTS = 999_999
"""Nanoseconds within a millisecond that tell revisions of one instant apart."""
FIRST, LAST = -(9_000_000_000_000), 9_000_000_000_000
"""Bounds of time in ms UTC, years 1684 to 2255: what int64 nanoseconds can hold."""
TAGS = {READINGS: (*SeriesKey._fields, "quality", "flag", "fate"), WINDOWS: ("site", "point", "factor", "period")}
TIME = {READINGS: "time", WINDOWS: "start"}
ORDER = ("time", "period", "stat", "revision", "arrived", "offset")
SERIES = ("time", "stat", "period", "value", "flag", "quality", "revision")
OF = ("sum", "count", "min", "max")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Written(NamedTuple):
    """What became of a table: points written, rows older than their bucket keeps, lines the server refuses with its reason."""

    points: int
    expired: int
    refused: list[Unwritten]


class InfluxHistory:
    """History of all sites in buckets `name`-realtime, -minute and -hour; `days` that each keeps, 0 = for ever."""

    def __init__(self, influx: Influx, name: str, clock: Clock, days: Mapping[str, int] = DAYS) -> None:
        self._influx, self._name, self._clock = influx, name, clock
        self._keep = {share: days.get(share, DAYS[share]) * DAY_S for share in SHARES}

    def prepare(self) -> None:
        """Create the buckets, or give them their retention. Call it once at start. Raises Retry or Lost."""
        self._influx.ensure([Bucket(self._bucket(share), keep) for share, keep in self._keep.items()])

    def put(self, kind: str, table: pa.Table) -> Written:
        """Write a table that `streams.history` packed, of kind READINGS or WINDOWS. Raises Retry (repeat all of it) or Lost."""
        points = _READ[kind](table.unify_dictionaries())
        total, kept, refused = len(points), 0, list[Unwritten]()
        period = points["period"].cast(pa.string())
        for share in SHARES:
            mine = points.filter(_in_share(period, share))
            oldest = max(FIRST, self._clock() - self._keep[share] * 1000 if self._keep[share] else FIRST)
            mine = mine.filter(pc.and_(pc.greater_equal(mine["ms"], oldest), pc.less(mine["ms"], LAST)))
            kept += len(mine)
            if len(mine):
                lines = table_lines(kind, mine.drop_columns(["ms"]), TAGS[kind])
                refused += self._influx.write(self._bucket(share), lines)
        return Written(kept - len(refused), total - kept, refused)

    def series(
        self, site: str, point: str, factor: str, start: int, end: int, period: str | None = None, *, as_of: int | None = None
    ) -> pa.Table:
        """Return time, stat, period, value, flag, quality (QARTOD), revision of a channel in [start, end) ms UTC, by time.

        Raises Refused for `as_of`: the log time of every reading is kept in the archive alone.
        """
        if as_of is not None:
            raise Refused("chart history keeps no log times; ask the archive for what was known at that time")
        where = {"site": site, "point": point, "factor": factor} | ({} if period is None else {"period": period})
        return self._readings(where, start, end, [_FIRST_VALUES, _REVISIONS]).select(SERIES)

    def summary(
        self, site: str, point: str, factor: str, start: int, end: int, period: str | None = None, most: int = 2000
    ) -> pa.Table:
        """Return time, period, stat, count, mean, min, max of at most `most` windows of [start, end) ms UTC, by time.

        The server aggregates first values; windows that hold a revision are summarised here from their rows.
        """
        where = {"site": site, "point": point, "factor": factor} | ({} if period is None else {"period": period})
        start, end = max(start, FIRST), min(end, LAST)
        step = window_length(start, end, most)
        found = self._aggregated(where, start, end, step)
        revised = self._readings(where, start, end, [_REVISIONS])["time"]
        if not len(revised):
            return found
        first = start + (pc.min(revised).as_py() - start) // step * step
        after = start + (pc.max(revised).as_py() - start) // step * step + step
        again = summarise(self._readings(where, first, min(after, end), [_FIRST_VALUES, _REVISIONS]), start, step)
        outside = pc.or_(pc.less(found["time"], first), pc.greater_equal(found["time"], after))
        return in_order(pa.concat_tables([found.filter(outside), again]))

    def rows(self, kind: str, site: str | None = None, *, as_of: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield all rows of kind READINGS or WINDOWS, oldest first, held in memory at once: meant for one site.

        Readings come without `arrived`, `topic` and `offset`. Raises Refused for frames and `as_of`, which the archive has.
        """
        if as_of is not None or kind not in TAGS:
            raise Refused("chart history keeps neither frames nor log times; ask the archive for them")
        where = {} if site is None else {"site": site}
        if kind == READINGS:
            columns = [*SeriesKey._fields, "time", "value", "flag", "quality", "fate", "revision"]
            yield from shown(self._readings(where, FIRST, LAST, [_FIRST_VALUES, _REVISIONS]).select(columns))
        else:
            yield from shown(self._windows(where))

    def _bucket(self, share: str) -> str:
        return f"{self._name}-{share}"

    def _ask(
        self, where: Mapping[str, str], builds: Sequence[str], kinds: Mapping[str, pa.DataType], start: int, end: int
    ) -> pa.Table:
        """Return the rows of all `builds` over every bucket that may hold the period, by one query: each costs the server 10 ms.

        In a build, `$from` stands for the rows of [start, end) ms UTC, `$where` for the conditions on tags.
        """
        start, end = max(start, FIRST), min(end, LAST)
        if start >= end:
            return pa.schema(list(kinds.items())).empty_table()
        named = "".join(f" and {_is(name, value)}" for name, value in where.items())
        parts = []
        for share in [_share(where["period"])] if "period" in where else SHARES:
            source = f"from(bucket: {flux_text(self._bucket(share))}) |> range(start: {_rfc3339(start)}, stop: {_rfc3339(end)})"
            parts += [build.replace("$from", source).replace("$where", named) for build in builds]
        union = parts[0] if len(parts) == 1 else f"union(tables: [{', '.join(parts)}])"
        return self._influx.query(f"{union} |> group()", kinds)

    def _readings(self, where: Mapping[str, str], start: int, end: int, builds: Sequence[str]) -> pa.Table:
        """Return rows with their tags, time, value, arrived, offset (null but for revisions) and revision, in History's order."""
        kinds = {**_TEXTS, "_time": _NS, "value": pa.float64(), "arrived": pa.int64(), "offset": pa.int64()}
        found = self._ask(where, builds, kinds, start, end)
        columns = {name: _untagged(found[name]) for name in _TEXTS} | {"time": _ms(found["_time"])}
        columns |= {name: found[name] for name in ("value", "arrived", "offset")}
        columns["quality"] = columns["quality"].cast(pa.uint8())
        columns["revision"] = pc.equal(columns["fate"], "revised").cast(pa.int32())
        return pa.table(columns).sort_by([(column, "ascending") for column in ORDER])

    def _aggregated(self, where: Mapping[str, str], start: int, end: int, step: int) -> pa.Table:
        """Return the summary of first values, aggregated by the server for each of its own series and put together here."""
        window = f"every: {step}ms, offset: {start % step}ms, createEmpty: false, timeSrc: {flux_text('_start')}"
        kinds = {"_time": _NS, "period": pa.string(), "stat": pa.string(), "of": pa.string(), "_value": pa.float64()}
        found = self._ask(where, [_AGGREGATE.format(window=window, of=of) for of in OF], kinds, start, end)
        if not len(found):
            return SUMMARY.empty_table()
        columns = {"time": _ms(found["_time"]), "period": _untagged(found["period"]), "stat": _untagged(found["stat"])}
        for of in OF:
            columns[of] = pc.if_else(pc.equal(found["of"], of), found["_value"], pa.scalar(None, pa.float64()))
        found = pa.table(columns).group_by(["time", "period", "stat"])
        found = found.aggregate([("sum", "sum"), ("count", "sum"), ("min", "min"), ("max", "max")])
        found = found.rename_columns([c.split("_")[0] for c in found.column_names])
        return in_order(found.append_column("mean", pc.divide(found["sum"], found["count"])))

    def _windows(self, where: Mapping[str, str]) -> pa.Table:
        names = TAGS[WINDOWS]
        kinds = {
            **dict.fromkeys(names, pa.string()),
            "_time": _NS,
            "mean": pa.float64(),
            "count": pa.int64(),
            "valid": pa.bool_(),
        }
        found = self._ask(where, [_WINDOW_ROWS], kinds, FIRST, LAST)
        columns = {name: _untagged(found[name]) for name in names} | {"start": _ms(found["_time"])}
        columns |= {"mean": pc.fill_null(found["mean"], np.nan), "count": found["count"], "valid": found["valid"]}
        return pa.table(columns).sort_by([(column, "ascending") for column in ("start", "site", "point", "factor")])


_NS = pa.timestamp("ns", "UTC")
_TEXTS = dict.fromkeys(TAGS[READINGS], pa.string())
_PIVOT = 'pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")'
_FIRST_VALUES = (
    '$from |> filter(fn: (r) => r._measurement == "readings" and r._field == "value"$where and r.fate != "revised")'
    ' |> rename(columns: {_value: "value"})'
)
_REVISIONS = f'$from |> filter(fn: (r) => r._measurement == "readings"$where and r.fate == "revised") |> {_PIVOT}'
_WINDOW_ROWS = f'$from |> filter(fn: (r) => r._measurement == "windows"$where) |> {_PIVOT}'
_AGGREGATE = (
    '$from |> filter(fn: (r) => r._measurement == "readings" and r._field == "value"$where and r.fate != "revised"'
    ' and (r.quality == "1" or r.quality == "2")) |> aggregateWindow({window}, fn: {of}) |> toFloat() |> set(key: "of", value: "{of}")'
)


def _is(name: str, value: str) -> str:
    """Return the Flux condition that a tag has this value; an empty text is no tag."""
    return f"r.{name} == {flux_text(tag(value))}" if value else f"not exists r.{name}"


def _share(period: str) -> str:
    return period if period in SHARES else SHARES[-1]


def _in_share(period: pa.ChunkedArray, share: str) -> pa.ChunkedArray:
    if share == SHARES[-1]:
        return pc.invert(pc.is_in(period, pa.array(SHARES[:-1])))
    return pc.equal(period, share)


def _reading_points(table: pa.Table) -> pa.Table:
    """Return the readings a chart may show, as tags, fields, `time` in ns and `ms`."""
    table = table.filter(pc.is_in(table["fate"].cast(pa.string()), pa.array(KEPT)))
    ms, revised = table["time"].to_numpy(), table["revision"].to_numpy() > 0
    arrived, offset, value = (table[column].to_numpy() for column in ("arrived", "offset", "value"))
    quality = pa.DictionaryArray.from_arrays(pa.array(table["quality"].to_numpy().astype(np.int32)), [str(q) for q in range(10)])
    columns = {name: table[name] for name in (*SeriesKey._fields, "flag", "fate", "value")} | {"quality": quality}
    columns |= {"arrived": pa.array(arrived, mask=~revised), "offset": pa.array(offset, mask=~revised)}
    slot = np.where(revised, _slots(arrived, offset, value), 0)
    return pa.table(columns | {"time": np.clip(ms, FIRST, LAST) * MS + slot, "ms": ms})


def _slots(arrived: Any, offset: Any, value: Any) -> Any:
    """Return the nanosecond of each revision within its millisecond, 1 to SLOTS, from its content (SplitMix64's mixer)."""
    mixed = arrived.astype(np.uint64) ^ (offset.astype(np.uint64) << np.uint64(20)) ^ value.astype(np.float64).view(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return (mixed % np.uint64(SLOTS)).astype(np.int64) + 1


def _window_points(table: pa.Table) -> pa.Table:
    """Return closed windows as tags, fields, `time` in ns and `ms`; a window closed again replaces what it was."""
    ms = table["start"].to_numpy()
    return (
        table.drop_columns(["start"])
        .append_column("time", pa.array(np.clip(ms, FIRST, LAST) * MS))
        .append_column("ms", pa.array(ms))
    )


_READ = {READINGS: _reading_points, WINDOWS: _window_points}


def _untagged(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return tag values as the texts they were made of; few are distinct, so each is turned once."""
    if not len(column):
        return column
    coded = column.combine_chunks().dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    texts = pa.array([untag(value) for value in coded.dictionary.to_pylist()], pa.string())
    return pa.chunked_array([texts.take(coded.indices)])


def _ms(column: pa.ChunkedArray) -> pa.Array:
    return pa.array(column.cast(pa.int64()).to_numpy() // MS)


def _rfc3339(ms: int) -> str:
    return f"{EPOCH + timedelta(milliseconds=ms):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"
