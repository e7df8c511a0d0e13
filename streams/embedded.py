"""The embedded judge: reads the log, judges, commits a step in SQLite, and keeps history moving. One process, one thread.

Records enter from the log that the I/O process writes; outputs leave through the state store. Crash-only: any exception outside
a decoder ends the process uncommitted, and a restart restores the state and reads the log again from the stored position.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from connectors.core import Log, Record
from streams import history
from streams.commit import Step, run_step
from streams.engine import Engine
from streams.plan.load import Plan
from streams.store import StateStore

LIMIT = 20_000
"""Records a step: enough to spread its cost, few enough that an alert waits no second behind it."""
FULL = 2_000
"""Records from which the next step follows at once."""
FLUSH_EVERY = 400
"""Steps between two moves of pending history to Parquet."""


@dataclass(slots=True)
class Embedded:
    """The judge of one data directory."""

    log: Log
    store: StateStore
    engine: Engine
    kept: history.History
    steps: int = 0

    def run_once(self, limit: int = LIMIT) -> int:
        """Run one step; return how many records it took."""
        taken = run_step(self.log, self.store, self._judge, self.engine.clean, limit)
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

    def _judge(self, records: list[Record]) -> Step:
        step, judged = self.engine.step(records)
        state = self.engine.state
        offsets = np.array([r.offset for r in records], np.int64)
        tables = {
            history.READINGS: history.readings_table(judged.outputs, state, offsets),
            history.WINDOWS: history.windows_table(judged.outputs, state),
            history.FRAMES: history.frames_table(records),
        }
        step.history = {kind: history.pack(table) for kind, table in tables.items() if table is not None and len(table)}
        return step


def open_embedded(data: Path, log: Log, plan: Plan, *, durable: bool = True) -> Embedded:
    """Open the judge of `data`, restored to its last durable step."""
    store = StateStore(data / "state.sqlite", durable=durable)
    engine = Engine(plan, restore=store.chunks(), load_seen=store.load_seen)
    kept = history.History(data, store)
    kept.flush()  # a crash between writing files and forgetting their rows is put right here
    return Embedded(log, store, engine, kept)
