"""The legal basis of an act: chosen by the date of the act, never by today's (rules §G).

A clause key of the plan, the medium and the time of the act enter; the words of the law leave. The table is data.
"""

from __future__ import annotations

import csv
from datetime import date
from functools import cache
from pathlib import Path
from typing import NamedTuple

from streams.limits import cst_day

CLAUSES = Path(__file__).parent / "plan" / "clauses.csv"


class Clause(NamedTuple):
    """One row: key of rules §G, medium (empty: any), first and last day of acts it applies to, and its words."""

    key: str
    medium: str
    first: date
    last: date
    zh: str
    en: str


@cache
def clauses() -> tuple[Clause, ...]:
    """Return the table of clauses."""
    with CLAUSES.open(encoding="utf-8", newline="") as lines:
        return tuple(
            Clause(
                row["clause"],
                row["medium"],
                date.fromisoformat(row["valid_from"]) if row["valid_from"] else date.min,
                date.fromisoformat(row["valid_to"]) if row["valid_to"] else date.max,
                row["zh"],
                row["en"],
            )
            for row in csv.DictReader(lines)
        )


def clause_at(key: str, medium: str, act_ms: int) -> str:
    """Return the law in Chinese that an act at `act_ms` (ms UTC) falls under, the key itself if the table has none.

    >>> clause_at("G-04", "gas", 1472000400000)
    '《大气污染防治法》第二十条、第九十九条第三项'
    """
    day = cst_day(act_ms)
    found = [c for c in clauses() if c.key == key and c.medium in ("", medium) and c.first <= day <= c.last]
    return found[0].zh if found else key
