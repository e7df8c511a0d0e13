"""The judge of the simulated world: the real engine and the real step over a store that keeps bytes, dying at any instant.

`Durable` is what a disk would hold. A `Store` is one process's handle to it, with the semantics of `streams.store.StateStore`:
a step is there whole or not at all, chunks are bytes, and a handle that was replaced can write no more.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import orjson

from connectors.core import Log, Lost, Record
from streams.commit import Step, run_step
from streams.engine import Engine
from streams.model import Reject
from streams.plan.load import Plan
from streams.seen import ALL, Run, run_of
from streams.state import RAW_KINDS, Chunk

Output = tuple[int, str, str, dict[str, Any]]


@dataclass
class Durable:
    """The judge's disk."""

    position: int = 0
    epoch: int = 0
    chunks: dict[tuple[str, str, int], bytes] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)
    rejects: list[tuple[int, Reject]] = field(default_factory=list)

    def misc(self) -> dict[str, Any]:
        """Return the small state: books, tick and the like."""
        body = self.chunks.get(("misc", "", 0))
        return {"books": {}, "tick": 0} if body is None else dict(orjson.loads(body))


class Crash(Enum):
    """Where a step may die."""

    BEFORE_COMMIT = auto()
    IN_COMMIT = auto()
    AFTER_COMMIT = auto()


class Died(Exception):
    """The judge process was killed."""


class Store:
    """One judge's handle to the disk; `crash` is where the next commit dies."""

    def __init__(self, disk: Durable) -> None:
        self.disk = disk
        self.crash: Crash | None = None
        self._epoch = 0

    def claim(self) -> None:
        """Become the writer: every other handle is refused from now on."""
        self.disk.epoch += 1
        self._epoch = self.disk.epoch

    def position(self) -> int:
        """Return the log position up to which steps are durable."""
        return self.disk.position

    def commit(self, steps: Sequence[Step]) -> None:
        """Make the steps durable, or die and change nothing."""
        if self.crash is Crash.BEFORE_COMMIT:
            raise Died
        if self._epoch != self.disk.epoch:
            raise Lost("another judge has taken over: this one ends")
        part = copy.copy(self.disk)
        part.chunks, part.outputs, part.rejects = dict(part.chunks), list(part.outputs), list(part.rejects)
        for step in steps:
            self.put(part, step)
        if self.crash is Crash.IN_COMMIT:
            raise Died
        for name in ("chunks", "outputs", "rejects", "position"):
            setattr(self.disk, name, getattr(part, name))
        if self.crash is Crash.AFTER_COMMIT:
            raise Died

    def put(self, disk: Durable, step: Step) -> None:
        """Write the parts of a step, as `StateStore` does."""
        self.put_chunks(disk, step)
        self.put_outputs(disk, step)
        disk.rejects += [(step.records[r.frame].offset, r) for r in step.rejects]
        disk.position = step.records[-1].offset + 1

    def put_chunks(self, disk: Durable, step: Step) -> None:
        """Write the changed state."""
        for kind, name, number, body in step.chunks:
            if number == ALL:
                disk.chunks = {key: kept for key, kept in disk.chunks.items() if key[:2] != (kind, name)}
            elif body is None:
                disk.chunks.pop((kind, name, number), None)
            else:
                disk.chunks[kind, name, number] = body if isinstance(body, bytes) else orjson.dumps(body)

    def put_outputs(self, disk: Durable, step: Step) -> None:
        """Write the outputs, numbered."""
        for kind, site, body in step.outputs:
            disk.outputs.append((len(disk.outputs) + 1, kind, site, orjson.loads(orjson.dumps(body))))

    def restored(self) -> list[Chunk]:
        """Return the stored state, all but the seen runs."""
        found = self.disk.chunks.items()
        return [Chunk(k, n, i, b if k in RAW_KINDS else orjson.loads(b)) for (k, n, i), b in found if k != "seen"]

    def load_seen(self, day: int) -> dict[int, Run]:
        """Return the seen runs of a day."""
        return {i: run_of(b) for (k, n, i), b in self.disk.chunks.items() if k == "seen" and n == str(day)}


class Judge:
    """One life of the judge process."""

    def __init__(self, log: Log, store: Store, plan: Plan) -> None:
        self.log, self.store = log, store
        store.claim()
        self.engine = Engine(plan, restore=store.restored(), load_seen=store.load_seen)

    def step(self, limit: int) -> int:
        """Run one step. Raises Died or Lost: this life is over."""
        return run_step([self], self.store, limit)

    def take(self, limit: int) -> list[Record]:
        """Return the records that follow the last durable step."""
        return self.log.read(self.store.position(), limit)

    def judge(self, records: list[Record]) -> Step:
        """Judge records; the memory has moved on."""
        return self.engine.step(records)[0]

    def clean(self) -> None:
        """Forget what was dirty."""
        self.engine.clean()
