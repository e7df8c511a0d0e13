"""The words of the product: a reading's key, a batch of readings as columns, an event, a reject.

A batch is columns, never one object a reading. What is text (site, point, factor, period, stat) is interned once in a
`SeriesTable`, and a reading carries the number of its series. Times are int64 ms UTC, event time = start of the period
for minute/hour/day and the instant for real-time (design §3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
UInt8 = NDArray[np.uint8]
Float64 = NDArray[np.float64]

PERIODS = ("realtime", "minute", "hour", "day", "month", "quarter")
STATS = ("rtd", "min", "avg", "max", "sum", "zs_rtd", "zs_min", "zs_avg", "zs_max", "zs_sum")
"""Standard statistics; a vendor's own suffix is kept in lower case as its own stat (HJ 212-2017 table 7)."""

NO_FLAG = 0
UNKNOWN_FLAG = ord("?")
"""A canonical data flag is one byte: the ASCII code of N F M S D C T B (HJ 212-2017 table 8), 0 where the sender gave none,
`?` for a flag no table knows. Only N and "none" are usable (rules A.1, promise 5)."""


class SeriesKey(NamedTuple):
    """(site, point, factor, period, stat): what a series is. `factor` is a 2017 code where one exists."""

    site: str
    point: str
    factor: str
    period: str
    stat: str

    def __str__(self) -> str:
        """Return the short form used in ids and pages: site/point/factor/period/stat."""
        return "/".join(self)


class SeriesTable:
    """Append-only dictionary of series: key ↔ number, numbered in the order of first appearance in the log.

    >>> table = SeriesTable()
    >>> table.id(SeriesKey("S1", "DA001", "a21026", "hour", "avg"))
    0
    >>> table.keys[0].factor
    'a21026'
    """

    __slots__ = ("_ids", "keys")

    def __init__(self, keys: Iterable[SeriesKey] = ()) -> None:
        self.keys: list[SeriesKey] = list(keys)
        self._ids: dict[SeriesKey, int] = {key: i for i, key in enumerate(self.keys)}

    def id(self, key: SeriesKey) -> int:
        """Return the number of `key`, giving it the next one if it is new."""
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = len(self.keys)
            self.keys.append(key)
        return found

    def __len__(self) -> int:
        """Return how many series are known."""
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class Readings:
    """A batch of readings as columns, all of length n, rows in arrival order.

    series (n,) int32 row of the SeriesTable · time (n,) int64 ms UTC event time · value (n,) float64 (finite)
    · flag (n,) uint8 canonical data flag · arrived (n,) int64 ms UTC log time · frame (n,) int32 index of the record of the
    batch that the row was parsed from.
    """

    series: Int32
    time: Int64
    value: Float64
    flag: UInt8
    arrived: Int64
    frame: Int32

    def __len__(self) -> int:
        """Return n."""
        return len(self.series)

    def take(self, rows: NDArray[Any]) -> Readings:
        """Return the rows selected by a mask or an index array."""
        return Readings(*(getattr(self, name)[rows] for name in self.__slots__))

    @staticmethod
    def empty() -> Readings:
        """Return a batch of no rows."""
        return Readings.of([], [], [], [], [], [])

    @staticmethod
    def of(
        series: Sequence[int] | Int32,
        time: Sequence[int] | Int64,
        value: Sequence[float] | Float64,
        flag: Sequence[int] | UInt8,
        arrived: Sequence[int] | Int64,
        frame: Sequence[int] | Int32,
    ) -> Readings:
        """Build a batch from plain sequences."""
        return Readings(
            np.asarray(series, np.int32),
            np.asarray(time, np.int64),
            np.asarray(value, np.float64),
            np.asarray(flag, np.uint8),
            np.asarray(arrived, np.int64),
            np.asarray(frame, np.int32),
        )

    @staticmethod
    def concat(parts: Sequence[Readings]) -> Readings:
        """Put batches one after the other."""
        if not parts:
            return Readings.empty()
        return Readings(*(np.concatenate([getattr(p, name) for p in parts]) for name in Readings.__slots__))


@dataclass(frozen=True, slots=True)
class Event:
    """A video, door or context event, or a device notice (design §3). Times int64 ms UTC."""

    id: str
    kind: str
    site: str
    start: int
    end: int | None = None
    point: str | None = None
    by: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reject:
    """Input that could not become a reading: why (a word of a closed list), what exactly, and its raw bytes.

    `frame` is the index of the record it came from; `rows` how many readings it would have been (0 for a whole frame).
    """

    reason: str
    detail: str
    raw: bytes
    frame: int = -1
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a codec returns for a batch of records: rows, rejects, and what is not a reading. Nothing vanishes."""

    readings: Readings
    events: list[Event] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
