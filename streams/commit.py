"""The protocol of a step, without I/O: read, judge, and make everything the step did durable at once.

Both runtimes and the simulator drive this one function. Its order is promise 2: a step's outputs, changed state, books and the
input position that they stand for are handed to `Store.commit` together, and the store makes all of them durable or none.
Nothing of a step is visible before. If commit raises, the process must end: memory is ahead of the store, and recovery is to
restore and read the log again from the stored position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from connectors.core import Record
from streams.model import Reject
from streams.state import Chunk


@dataclass(slots=True)
class Step:
    """All that one step did: log positions [start, end), outputs in log order, state to store, what was refused, history."""

    start: int
    end: int
    outputs: Sequence[tuple[str, str, dict[str, Any]]] = ()
    chunks: Iterable[Chunk] = ()
    rejects: Sequence[Reject] = ()
    history: dict[str, bytes] = field(default_factory=dict)


class Source(Protocol):
    """Where records come from: the log."""

    def read(self, start: int, limit: int) -> list[Record]:
        """Return at most `limit` records with offset >= start, in order."""


class Store(Protocol):
    """Where a step goes."""

    def position(self) -> int:
        """Return the log position up to which steps are durable."""

    def commit(self, step: Step) -> None:
        """Make the whole step durable in one transaction, or raise and change nothing.

        Raises Lost if another judge has taken the store over: its memory, not this one's, stands for what is stored.
        """


def run_step(source: Source, store: Store, judge: Callable[[list[Record]], Step], clean: Callable[[], None], limit: int) -> int:
    """Run one step; return how many records it took, 0 if there was nothing to read.

    `judge` moves the memory on and says what changed; `clean` is called once that is durable.
    """
    records = source.read(store.position(), limit)
    if not records:
        return 0
    store.commit(judge(records))
    clean()
    return len(records)
