"""Messages of the topic `history` as workers write them: several sites and days, late rows, revisions, frames with any bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from connectors.core import HJ212, Record
from connectors.kafka import partition_of
from streams import history
from streams.archive import Archive, Message

HOUR, DAY = 3_600_000, 86_400_000
T0 = 1_795_449_600_000
"""2026-11-24T00:00:00+08:00."""
PARTITIONS = 4


def site_of(partition: int, number: int = 0) -> str:
    """Return a site that belongs to a partition."""
    found = (f"S{k:04d}" for k in range(10_000) if partition_of(f"S{k:04d}", PARTITIONS) == partition)
    return next(site for n, site in enumerate(found) if n == number)


def reading(site: str, time: int, value: float, *, late: int = 30_000, fate: str = "accepted", offset: int = 0) -> dict[str, Any]:
    return {
        "site": site,
        "point": "DA001",
        "factor": "a21026",
        "period": "realtime",
        "stat": "rtd",
        "time": time,
        "value": value,
        "flag": "N",
        "quality": 1,
        "fate": fate,
        "revision": int(fate == "revised"),
        "arrived": time + late,
        "topic": "emission-monitoring",
        "offset": offset,
    }


def table(kind: str, rows: Sequence[dict[str, Any]]) -> pa.Table:
    return history.unpack(history.pack(pa.Table.from_pylist(list(rows), history.EMPTY[kind].schema)))


def messages(partition: int = 0, steps: int = 20, per_step: int = 6) -> list[Message]:
    """Return the history of so many steps of a partition: one step in four holds a late day, one in five a revision."""
    sites = [site_of(partition, n) for n in range(3)]
    found: list[Message] = []
    for step in range(steps):
        time = T0 + step * 2 * HOUR
        rows = [reading(sites[n % 3], time + n * 60_000, step + n / 8, offset=10 * step + n) for n in range(per_step)]
        if step % 4 == 3:
            rows.append(reading(sites[0], time - 2 * DAY, -float(step), late=2 * DAY, offset=10 * step + 8))
        if step % 5 == 4:
            rows.append(reading(sites[1], time - 8 * HOUR + 60_000, 99.0, late=8 * HOUR, fate="revised", offset=10 * step + 9))
            rows.append(reading(sites[1], time + 60_000, step + 1 / 8, fate="duplicate", offset=10 * step + 9))
        frames = [
            Record("emission-monitoring", r["site"], r["arrived"], HJ212, b"##\xff\x00%d" % r["offset"], r["offset"])
            for r in rows
        ]
        window = {"site": sites[0], "point": "DA001", "factor": "a21026", "period": "hour", "start": time, "mean": 1.0}
        at = 7 * step  # offsets of a transactional topic have gaps
        found.append((at, history.READINGS, table(history.READINGS, rows)))
        if step % 2:
            found.append((at + 1, history.WINDOWS, table(history.WINDOWS, [window | {"count": 60, "valid": True}])))
        found.append((at + 2, history.FRAMES, history.unpack(history.pack(history.frames_table(frames)))))
    return found


def told(archive: Archive) -> dict[str, list[str]]:
    """Return every row that the archive shows, in an order of its own."""
    return {kind: sorted(map(repr, archive.rows(kind))) for kind in history.EMPTY}


def truth(given: Sequence[Message]) -> dict[str, list[str]]:
    """Return what it must show: every row once."""
    return {
        kind: sorted(repr(row) for _, found, rows in given if found == kind for row in history.shown(rows))
        for kind in history.EMPTY
    }
