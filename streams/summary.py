"""A long span of history in few points: a table of readings enters, one row a window with count, mean, minimum and maximum leaves.

Only the newest revision of each instant counts, and only if its quality lets it judge (promise 5). Every store of history answers
`summary` with these columns, computed here or where the data lies.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

USABLE = 2
"""QARTOD: 1 good and 2 not evaluated are usable."""
KEYS = ("time", "period", "stat")
SUMMARY = pa.schema(
    [
        ("time", pa.int64()),
        ("period", pa.string()),
        ("stat", pa.string()),
        ("count", pa.int64()),
        ("mean", pa.float64()),
        ("min", pa.float64()),
        ("max", pa.float64()),
    ]
)
"""`time` is the start of the window in ms UTC; values are in the factor's unit."""


def window_length(start: int, end: int, most: int) -> int:
    """Return the length in ms of windows that cut [start, end) into at most `most`.

    >>> window_length(0, 365 * 86_400_000, 2000)
    15768000
    """
    return max(1, -(-(end - start) // most))


def summarise(table: pa.Table, start: int, step: int) -> pa.Table:
    """Summarise readings (columns of `History.series`, in its order) by windows of `step` ms that begin at `start`."""
    if not len(table):
        return SUMMARY.empty_table()
    newest = table.append_column("row", pa.array(np.arange(len(table)))).group_by(list(KEYS)).aggregate([("row", "max")])
    rows = table.take(newest["row_max"].sort())
    quality = rows["quality"].to_numpy().astype(np.int64)
    rows = rows.filter(pa.array((quality <= USABLE) & np.isfinite(rows["value"].to_numpy())))
    window = start + (rows["time"].to_numpy() - start) // step * step
    rows = pa.table({"time": window, "period": rows["period"], "stat": rows["stat"], "value": rows["value"]})
    found = rows.group_by(list(KEYS)).aggregate([("value", of) for of in ("count", "mean", "min", "max")])
    return in_order(found.rename_columns([c.removeprefix("value_") for c in found.column_names]))


def in_order(table: pa.Table) -> pa.Table:
    """Return rows of a summary with its columns, oldest first."""
    return table.select(SUMMARY.names).cast(SUMMARY).sort_by([(column, "ascending") for column in KEYS])
