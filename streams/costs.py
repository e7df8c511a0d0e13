"""What each rule costs: seconds and rows, counted where the rule is scored. Pure: the clock is an argument, and there may be none.

Entered around a rule's step; read by whoever shows it. A step that raises is counted for its rule, and the exception goes on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import Self

Seconds = Callable[[], float]


class Costs:
    """Seconds and rows by rule since the start of the process. Without a clock no seconds are counted.

    >>> ticks = iter((1.0, 1.5))
    >>> costs = Costs(lambda: next(ticks))
    >>> with costs.of("exceed-hour", 300):
    ...     pass
    >>> costs.seconds["exceed-hour"], costs.rows["exceed-hour"]
    (0.5, 300)
    """

    __slots__ = ("_began", "_clock", "_rows", "_rule", "failures", "rows", "seconds")

    def __init__(self, clock: Seconds | None = None) -> None:
        self._clock = clock or (lambda: 0.0)
        self._rule, self._rows, self._began = "", 0, 0.0
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.rows: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    def of(self, rule: str, rows: int) -> Self:
        """Count what is done in the `with` for `rule`, one at a time; an exception is its failure and carries its name on."""
        self._rule, self._rows = rule, rows
        return self

    def __enter__(self) -> None:
        self._began = self._clock()

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None) -> None:
        if isinstance(error, Exception):
            self.failures[self._rule] += 1
            error.add_note(f"while rule {self._rule!r} scored {self._rows} rows")
            return
        self.seconds[self._rule] += self._clock() - self._began
        self.rows[self._rule] += self._rows
