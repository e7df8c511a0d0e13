"""Fakes that ship with the product: a log in memory, and a log that fails as told, for tests and the seeded simulator.

    log = FaultyLog(MemoryLog(clock), {2: Fault.LOST_ACK, 5: Fault.CRASH_BEFORE})

makes the third append (numbered from 0) durable but unacknowledged, and "kills" the process at the sixth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto

from connectors.core import Clock, Log, Lost, Record, Retry


class MemoryLog:
    """A `connectors.core.Log` in a list; the same contract as `SqliteLog`, log time that never runs backwards included."""

    def __init__(self, clock: Clock) -> None:
        self.records: list[Record] = []
        self._clock = clock
        self._arrived = 0

    def append(self, records: Sequence[Record]) -> int:
        """Keep the records, in order; return the offset of the first. Stamps `arrived` where it is < 0."""
        first = len(self.records)
        now = max(self._clock(), self._arrived)
        for i, record in enumerate(records):
            arrived = record.arrived if record.arrived >= 0 else now
            self.records.append(replace(record, arrived=arrived, offset=first + i))
            self._arrived = max(self._arrived, arrived)
        return first

    def read(self, start: int, limit: int) -> list[Record]:
        """At most `limit` records with offset >= `start`, in order."""
        begin = max(start, 0)
        return self.records[begin : begin + limit]

    def end(self) -> int:
        """Return the offset that the next record will get."""
        return len(self.records)


class Fault(Enum):
    """What may go wrong with one append."""

    FULL = auto()
    """The disk is full: nothing written, Retry."""
    LOST_ACK = auto()
    """Everything written, but the caller is told Retry and will repeat it."""
    DOUBLED = auto()
    """Written twice, as when a retry crosses its acknowledgement."""
    CRASH_BEFORE = auto()
    """The process dies before the write: Lost, and everything after it is Lost until `restart`."""
    CRASH_AFTER = auto()
    """The process dies after the write and before the acknowledgement."""


class FaultyLog:
    """A log around `inner` that fails at the appends named in `faults` (number of the append, from 0 → what happens)."""

    def __init__(self, inner: Log, faults: Mapping[int, Fault]) -> None:
        self.inner = inner
        self.appends = 0
        self.dead = False
        self._faults = dict(faults)

    def append(self, records: Sequence[Record]) -> int:
        """Append, or fail as told. Raises Retry or Lost."""
        if self.dead:
            raise Lost("the process has crashed: restart it")
        fault = self._faults.pop(self.appends, None)
        self.appends += 1
        if fault is Fault.FULL:
            raise Retry("the disk is full: free space")
        if fault is Fault.CRASH_BEFORE:
            self.dead = True
            raise Lost("crashed before the write")
        first = self.inner.append(records)
        if fault is Fault.DOUBLED:
            self.inner.append(records)
        if fault is Fault.LOST_ACK:
            raise Retry("written, but the acknowledgement was lost")
        if fault is Fault.CRASH_AFTER:
            self.dead = True
            raise Lost("crashed after the write, before the acknowledgement")
        return first

    def read(self, start: int, limit: int) -> list[Record]:
        """Read as the log inside does. Raises Lost after a crash."""
        if self.dead:
            raise Lost("the process has crashed: restart it")
        return self.inner.read(start, limit)

    def end(self) -> int:
        """Return the end of the log inside."""
        return self.inner.end()

    def restart(self) -> None:
        """Come back to life with what is durable, as a new process would."""
        self.dead = False
