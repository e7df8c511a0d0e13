"""How a judge fares: steps, their seconds and sizes, the log time reached, the cost of each rule, the size of the state.

`begin` and `done` enclose each step, in both runtimes; `tell` returns plain values that travel between processes. No I/O; the clock
(monotonic seconds) is an argument. Nothing here is promised across a restart: the books are (streams/state.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from connectors.histogram import SECONDS, SIZES, Histogram
from streams.commit import Step
from streams.costs import Costs
from streams.state import State


class Vitals:
    """The vital signs of one judging process. Without a clock nothing is timed."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or (lambda: 0.0)
        self.costs = Costs(clock)
        self.seconds, self.records = Histogram(SECONDS), Histogram(SIZES)
        self.arrived: dict[int, int] = {}
        self._began = 0.0

    def begin(self) -> None:
        """Note that a step begins."""
        self._began = self._clock()

    def done(self, steps: Sequence[Step]) -> None:
        """Note that steps are judged and on their way out: their log time (ms UTC, by partition) is reached."""
        self.seconds.observe(self._clock() - self._began)
        self.records.observe(sum(len(step.records) for step in steps))
        for step in steps:
            reached = next((record.arrived for record in reversed(step.records) if record.arrived >= 0), None)
            if reached is not None:
                self.arrived[step.partition] = reached

    def assigned(self, partitions: Iterable[int]) -> None:
        """Forget the log time of partitions that others judge now."""
        self.arrived = {partition: self.arrived[partition] for partition in partitions if partition in self.arrived}

    def tell(self, states: Iterable[State]) -> dict[str, Any]:
        """Return everything as plain values; `states` are those of the partitions judged here."""
        series = state_bytes = 0
        for state in states:
            series += len(state.table)
            state_bytes += sum(slab.nbytes for slab in state.slabs.values())
        costs = self.costs
        return {
            "steps": self.seconds.to_json(),
            "records": self.records.to_json(),
            "arrived": {str(partition): ms for partition, ms in self.arrived.items()},
            "cost": {rule: [seconds, costs.rows[rule]] for rule, seconds in costs.seconds.items()},
            "failures": dict(costs.failures),
            "series": series,
            "state_bytes": state_bytes,
        }
