"""How far the judging has come, by partition: what a worker reports goes in, the sum over all partitions comes out.

The desk of the distributed runtime has no worker beside it; this is what it can honestly say of their books and their log time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from cases.db import Tx, canonical
from cases.models import judged


@dataclass(frozen=True, slots=True)
class Judged:
    """Log time (ms UTC) that every partition heard of has reached, how many they are, and their counts together."""

    at: int
    partitions: int
    counts: dict[str, int]


def note(tx: Tx, partition: int, at: int, counts: Mapping[str, int]) -> None:
    """Keep what the worker of a partition has counted up to log time `at`; an older report changes nothing."""
    statement = tx.insert(judged).values(partition=partition, at=at, counts=canonical(dict(counts)))
    newer = {name: statement.excluded[name] for name in ("at", "counts")}
    later = statement.excluded.at >= judged.c.at
    tx.conn.execute(statement.on_conflict_do_update(index_elements=["partition"], set_=newer, where=later))


def total(tx: Tx) -> Judged | None:
    """Return how far all partitions have come, None while none has reported."""
    rows = tx.rows(sa.select(judged))
    if not rows:
        return None
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(json.loads(row["counts"]))
    return Judged(min(row["at"] for row in rows), len(rows), dict(counts))
