"""Numbers given out by the database inside the transaction that uses them: no gap after a crash, no number twice.

One row a series of numbers, raised by one statement: the row stays locked until the commit, so numbers become visible in order.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cases.clocks import year_of
from cases.db import Tx
from cases.models import case_numbers, heads


def _raise(tx: Tx, table: sa.Table, key: str, value: Any, column: str, by: int) -> int:
    statement = tx.insert(table).values({key: value, column: by})
    taken = statement.on_conflict_do_update(index_elements=[key], set_={column: table.c[column] + by}).returning(table.c[column])
    return int(tx.scalar(taken))


def next_value(tx: Tx, name: str, count: int = 1) -> int:
    """Reserve `count` numbers of the series `name` and return the last of them."""
    return _raise(tx, heads, "name", name, "value", count)


def advance(tx: Tx, name: str, value: int) -> None:
    """Raise the series `name` to `value`; it never runs back."""
    statement = tx.insert(heads).values(name=name, value=value)
    larger = statement.excluded.value > heads.c.value
    tx.conn.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}, where=larger))


def last_value(tx: Tx, name: str) -> int:
    """Return the last number given out, 0 if none was."""
    return int(tx.scalar(sa.select(heads.c.value).where(heads.c.name == name)) or 0)


def case_number(tx: Tx) -> str:
    """Return the next case number of the year (China Standard Time): 案-2026-000001."""
    year = year_of(tx.now)
    return f"案-{year}-{_raise(tx, case_numbers, 'year', year, 'last', 1):06d}"
