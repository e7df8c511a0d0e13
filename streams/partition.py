"""One partition in a worker's memory: its inputs merged by log time, its engine, and the state that a step stores.

Records enter as they are consumed, steps leave for the transaction. The memory is made from the changelog and dropped with the
partition; what the cross-site stage answers to the last tick is judged when it comes, for its place in the log may be far off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from connectors.core import Clock, Record
from streams import history
from streams.changelog import CHUNK_BYTES, Position, Restored, remember
from streams.commit import Halving, Step
from streams.costs import Costs
from streams.engine import Engine
from streams.gate import Gate
from streams.merge import Merge
from streams.plan.load import Plan
from streams.records import CONTEXT, control_of, is_answer
from streams.state import Chunk
from streams.topics import INPUTS

PATIENCE = 5.0
"""Seconds that the next tick waits for the cross-site stage; then silence is judged without its word."""


class Partition:
    """A `streams.commit.Part`. `ids` are the ids of the input topics, `partitions` how many each has."""

    def __init__(
        self,
        number: int,
        found: Restored,
        plan: Plan,
        *,
        ids: Mapping[str, str],
        partitions: int,
        clock: Clock,
        seconds: Callable[[], float],
        infer: bool = False,
        halving: Halving | None = None,
        costs: Costs | None = None,
    ) -> None:
        self.number, self.plan = number, plan
        self._ids, self._partitions, self._clock, self._seconds = ids, partitions, clock, seconds
        self._seen = found.seen
        gate = Gate(number, partitions, infer=infer)
        self.engine = Engine(
            plan,
            infer=infer,
            gate=gate,
            asks=True,
            restore=found.chunks,
            load_seen=found.load_seen,
            chunk_bytes=CHUNK_BYTES,
            costs=costs,
        )
        start, tick = (found.position.offsets(), found.position.tick) if found.position else ({}, 0)
        self.merge = Merge({topic: start.get(topic, 0) for topic in INPUTS}, tick)
        self.halving = halving or Halving()
        self._answer: Record | None = None
        self._deaf = False
        self._asked = seconds() if self.engine.state.suspects else None

    def put(self, records: Sequence[Record]) -> None:
        """Take consumed records in, in the order of their offsets a topic."""
        for record in records:
            if record.topic == CONTEXT and is_answer(record):
                self._deaf = False
                if control_of(record.body).get("tick") == self.engine.state.tick:
                    self._answer = record
        self.merge.put(records)

    def take(self, limit: int) -> list[Record]:
        """Return the records to judge next; no tick while the answer to the last one is waited for."""
        waits = self._asked is not None and self._answer is None and self._waits()
        taken = self.merge.take(self.halving.limit(limit), self._clock(), ticks=not waits)
        if self._answer is not None:
            taken.insert(0, self._answer)
        return taken

    def _waits(self) -> bool:
        """Say whether to wait for the answer: not where one did not come before, until the stage is heard of again."""
        assert self._asked is not None
        if self._seconds() - self._asked >= PATIENCE:
            self._deaf = True
        return not self._deaf

    def judge(self, records: list[Record]) -> Step:
        """Judge; what the engine did not get to goes back to the inputs."""
        error = self.halving.doomed(records[0])
        if error is not None:
            step = self.engine.set_aside(records[0], error)
        else:
            step, judged = self.engine.step(records)
            step.history = history.packed(step.records, judged.outputs, self.engine.state)
        self.merge.give_back(records[len(step.records) :], self.engine.state.tick or self.merge.tick)
        if step.summary is not None:
            self._asked = self._seconds() if step.summary.silent else None
        elif self._answer is not None:
            self._asked = None
        self._answer = None
        step.partition, step.books = self.number, dict(self.engine.state.books)
        step.chunks = remember(self._seen, chain(step.chunks, self._position()))
        return step

    def clean(self) -> None:
        """Forget what was dirty."""
        self.engine.clean()

    def books(self) -> dict[str, Any]:
        """Return the books of what was judged here."""
        return dict(self.engine.state.books)

    def _position(self) -> Iterator[Chunk]:
        topics = {topic: (self._ids[topic], offset) for topic, offset in self.merge.positions.items()}
        yield Position(topics, self._partitions, self.engine.plan_named or self.plan.hash, self.merge.tick).chunk()
