"""The embedded judge: reads the log, judges, commits a step in SQLite, and keeps history moving. One process, one thread.

Records enter from the log that the I/O process writes; outputs leave through the state store. Crash-only: any exception outside
a decoder ends the process uncommitted, and a restart restores the state and reads the log again from the stored position.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from connectors.core import Log, Record
from streams import history
from streams.commit import Failed, Halving, Step, run_step
from streams.engine import Engine
from streams.plan.load import Plan
from streams.store import StateStore
from streams.vitals import Vitals

_log = logging.getLogger("offsite")
LIMIT = 20_000
"""Records a step: enough to spread its cost, few enough that an alert waits no second behind it."""
FULL = 2_000
"""Records from which the next step follows at once."""
FLUSH_EVERY = 400
"""Steps between two moves of pending history to Parquet."""


@dataclass(slots=True)
class Embedded:
    """The judge of one data directory: the one part of its log. `engine()` gives the memory of the last durable step."""

    log: Log
    store: StateStore
    restored: Callable[[], Engine]
    kept: history.History
    steps: int = 0
    halving: Halving = field(default_factory=Halving)
    vitals: Vitals = field(default_factory=Vitals)
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = self.restored()

    def run_once(self, limit: int = LIMIT) -> int:
        """Run one step; return how many records it took. After a failure of the judge itself, memory is restored and it took none."""
        self.vitals.begin()
        try:
            taken = run_step([self], self, self.halving.limit(limit))
        except Failed as failed:
            _log.exception("the judge failed; it is restored and tries %d records by halves", len(failed.records))
            self.halving.failed(failed.records, failed.error)
            self.engine = self.restored()
            return 0
        self.halving.passed(taken)
        if taken:
            self.steps += 1
            if self.steps % FLUSH_EVERY == 0:
                self.kept.flush()
        return taken

    def run(self, stopped: Callable[[], bool], wait: Callable[[], None]) -> None:
        """Run until `stopped`; at the end history is moved.

        `wait` is called after a step that was not full: a step costs the same fsync and chunks for ten records as for a thousand.
        """
        while not stopped():
            if self.run_once() < FULL:
                wait()
        self.kept.flush()

    def take(self, limit: int) -> list[Record]:
        """Return the records that follow the last durable step."""
        return self.log.read(self.store.position(), limit)

    def judge(self, records: list[Record]) -> Step:
        """Judge records; the step carries their history."""
        error = self.halving.doomed(records[0])
        if error is not None:
            return self.engine.set_aside(records[0], error)
        step, judged = self.engine.step(records)
        step.history = history.packed(records, judged.outputs, self.engine.state)
        return step

    def commit(self, steps: Sequence[Step]) -> None:
        """Make the step durable."""
        self.store.commit(steps)
        self.vitals.done(steps)

    def clean(self) -> None:
        """Forget what was dirty."""
        self.engine.clean()


def open_embedded(data: Path, log: Log, plan: Plan, *, durable: bool = True, vitals: Vitals | None = None) -> Embedded:
    """Open the judge of `data`, restored to its last durable step."""
    store = StateStore(data / "state.sqlite", durable=durable)
    kept = history.History(data, store)
    kept.flush()  # a crash between writing files and forgetting their rows is put right here
    watched = vitals or Vitals()

    def restored() -> Engine:
        return Engine(plan, restore=store.chunks(), load_seen=store.load_seen, costs=watched.costs)

    return Embedded(log, store, restored, kept, vitals=watched)
