"""What the console is handed: the desk, the history of readings, and a few functions. Nothing is reached for.

Enters: the parts, from the composition root. Leaves: one frozen `Services` that every handler receives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import pyarrow as pa
from fastapi import Depends, Request

from cases.store import Desk
from connectors.core import Clock

Row = dict[str, Any]
"""One JSON object: an alert, a lead, a case, a person (shapes: design §8 and `cases`)."""


class History(Protocol):
    """The history store as charts read it."""

    def series(self, site: str, point: str, factor: str, start_ms: int, end_ms: int, period: str | None = None) -> pa.Table:
        """Return the readings of one factor with event time in [start_ms, end_ms), in time order.

        Columns: time int64 ms UTC · stat str · period str · value float64 · flag str or uint8 · quality uint8 (QARTOD: 1 good,
        2 not evaluated, 3 suspect, 4 fail, 9 missing) · revision int. Raises Retry while the store is busy.
        """

    def summary(
        self, site: str, point: str, factor: str, start: int, end: int, period: str | None = None, most: int = 2000
    ) -> pa.Table:
        """Return usable readings of one factor in [start, end) ms UTC, summed up in at most `most` windows, in time order.

        Columns: time int64 ms UTC, the start of the window · period str · stat str · count int64 · mean, min, max float64. A window
        without usable readings has no row; of each instant the newest revision counts. Raises Retry while the store is busy.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of a console.

    `clock` now in ms UTC (virtual in a demonstration) · `books` the books of design §4 · `people` who may act: person, name, role
    · `registry` site id → names, points, factors · `devices` one row a device · `clock_info` now, judged (ms UTC log time up to
    which the judge has read, or None), speed · `stopping` true once the server wants its streams to end.
    """

    desk: Desk
    history: History
    clock: Clock
    books: Callable[[], Row]
    people: Callable[[], Sequence[Row]]
    registry: Callable[[str], Row]
    devices: Callable[[], Sequence[Row]]
    clock_info: Callable[[], Row]
    stopping: Callable[[], bool]
    title: str


def services(request: Request) -> Services:
    """Return the parts that `create_app` was given."""
    found = request.app.state.services
    assert isinstance(found, Services)
    return found


Parts = Annotated[Services, Depends(services)]
