"""The protocol of a step, without I/O: take records, judge them, and make everything the step did durable at once.

Both runtimes and the simulator drive this one function. Its order is promise 2: a step's outputs, changed state, books and the
input position that they stand for are handed to `Store.commit` together, and the store makes all of them durable or none.
Nothing of a step is visible before. If commit raises, memory is ahead of the store: it is dropped, and recovery is to restore
and to read the log again from the stored position. A record on which the judge itself fails is found by halving, and set aside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from connectors.core import Lost, Record, Retry
from streams.cross_site import Summary
from streams.model import Reject
from streams.state import Chunk


@dataclass(slots=True)
class Step:
    """All that one step of one partition did: records in the order judged, outputs, state to store, what was refused, history.

    `rejects` name their record by its number in `records`. `summary` is what the cross-site stage is told, if it is told by
    message; a tick with suspects ends the step. `books` count since the partition began.
    """

    records: Sequence[Record] = ()
    outputs: Sequence[tuple[str, str, dict[str, Any]]] = ()
    chunks: Iterable[Chunk] = ()
    rejects: Sequence[Reject] = ()
    history: dict[str, bytes] = field(default_factory=dict)
    partition: int = 0
    summary: Summary | None = None
    books: Mapping[str, int] = field(default_factory=dict)


class Part(Protocol):
    """One partition of the log with its memory; the embedded runtime has one."""

    def take(self, limit: int) -> list[Record]:
        """Return at most `limit` records that follow the last durable step, in the order they are to be judged."""

    def judge(self, records: list[Record]) -> Step:
        """Move the memory on by the first of `records`, and say in the step how many they were and what changed."""

    def clean(self) -> None:
        """Forget what was dirty: the step is durable."""


class Store(Protocol):
    """Where steps go."""

    def commit(self, steps: Sequence[Step]) -> None:
        """Make the steps durable in one transaction, or raise and change nothing.

        A store may do so while the next step is judged, if nothing of that one leaves before; where the first then fails, the
        process ends with both in memory.

        Raises Lost if another judge has taken the store over: its memory, not this one's, stands for what is stored.
        """


class Failed(Exception):
    """The judge itself failed on one of these records: what the part remembers is to be dropped and restored."""

    def __init__(self, part: Part, records: Sequence[Record], error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.part, self.records, self.error = part, records, error


def run_step(parts: Iterable[Part], store: Store, limit: int) -> int:
    """Run one step of every part that has something; return how many records were judged.

    Raises Failed for the first part whose judge fails, once the steps before it are durable.
    """
    steps: list[Step] = []
    moved: list[Part] = []
    failed = None
    for part in parts:
        records = part.take(limit)
        if not records:
            continue
        try:
            steps.append(part.judge(records))
        except (Retry, Lost):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, one record must not stop the others
            failed = Failed(part, records, error)
            break
        moved.append(part)
    if steps:
        store.commit(steps)
        for part in moved:
            part.clean()
    if failed is not None:
        raise failed from failed.error
    return sum(len(step.records) for step in steps)


class Halving:
    """Find the record on which a judge fails: each failed step is tried again with half of its records.

    A record that fails alone for the second time is set aside with the words of its failure.
    """

    def __init__(self) -> None:
        self._limit, self._left = 0, 0
        self._alone: tuple[str, int] | None = None
        self._doomed: tuple[tuple[str, int], Exception] | None = None

    def limit(self, usual: int) -> int:
        """Return how many records the next step may take."""
        return min(usual, self._limit) if self._left > 0 else usual

    def failed(self, records: Sequence[Record], error: Exception) -> None:
        """Note that a step of these records failed."""
        first = (records[0].topic, records[0].offset)
        if len(records) == 1 and self._alone == first:
            self._doomed = first, error
        self._alone = first if len(records) == 1 else None
        self._left = max(self._left, len(records))
        self._limit = max(1, len(records) // 2)

    def passed(self, count: int) -> None:
        """Note that a step of so many records is durable; behind the last failure steps are as large as ever."""
        self._left -= count
        if self._left <= 0:
            self._alone = self._doomed = None

    def doomed(self, record: Record) -> Exception | None:
        """Return the failure for which a record is to be set aside, None for a good one."""
        if self._doomed is not None and self._doomed[0] == (record.topic, record.offset):
            return self._doomed[1]
        return None
