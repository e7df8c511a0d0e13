"""Order: what detectors of reading cadence may see, strictly in event-time order for each cell.

Accepted readings enter in log order; observations leave. A reading that is not newer than the newest one released for its cell
is stored and counted, and no detector sees it here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.model import Float64, Int64, UInt8
from streams.screen import Screened
from streams.state import State

RAW_ROLES = (1, 3)
"""Real-time values and minute means as measured; converted ones say nothing new about a sensor."""


class Observations(NamedTuple):
    """Rows (n,) for detectors of reading cadence: cell, event time, value, quality, and log position × 2."""

    cell: Int64
    time: Int64
    value: Float64
    quality: UInt8
    at: Int64

    def take(self, which: NDArray[Any]) -> Observations:
        """Return the rows selected by a mask or an index array."""
        return Observations(*(column[which] for column in self))


def release(screened: Screened, accepted: NDArray[np.bool_], state: State) -> Observations:
    """Release the rows that are newer than all before them in their cell."""
    index, slab = state.index, state.slabs["order"]
    series = screened.rows.series
    rows = np.flatnonzero(accepted & np.isin(index.role[series], RAW_ROLES))
    cell = index.cell[series[rows]].astype(np.int64)
    order = np.argsort(cell, kind="stable")
    cell, rows = cell[order], rows[order]
    time = screened.rows.time[rows]
    before = slab.data["newest"][cell]
    first = np.concatenate([[True], cell[1:] != cell[:-1]]) if len(cell) else np.zeros(0, np.bool_)
    span = int(time.max(initial=0)) + 1
    group = np.cumsum(first) - 1
    running = np.maximum.accumulate(group * span + np.maximum(time, np.minimum(before, span - 1))) - group * span
    earlier = np.where(first, before, np.maximum(before, np.concatenate([[0], running[:-1]]))) if len(cell) else before
    newer = time > earlier
    last = np.flatnonzero(np.diff(cell, append=-1))
    slab.data["newest"][cell[last]] = np.maximum(running[last], before[last])
    slab.touch(cell[last])
    kept = np.sort(rows[newer])
    mine = screened.rows.series[kept]
    return Observations(
        index.cell[mine].astype(np.int64), screened.rows.time[kept], screened.rows.value[kept], screened.quality[kept], 2 * kept
    )
