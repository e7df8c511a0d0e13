"""What leaves the desk: rows collected while a transaction works, numbered and written just before it commits.

Two tables are outlets: `outbox` (messages for Kafka and the judge) and `desk_events` (what pages follow). Each has a head that hands
out its ids; the head is locked from here to the commit, so ids become visible in order and without gaps: a reader that has seen 7 will
never meet a late 6. Because all of it is written last, the heads of different outlets are always locked in one order.
"""

from __future__ import annotations

from collections.abc import Hashable

import sqlalchemy as sa

from cases.db import Leaving, Row, Tx
from cases.models import desk_events, outbox
from cases.numbers import next_value

ORDER = (outbox, desk_events)
"""The outlets, in the order in which their heads are locked."""


def leave(tx: Tx, table: sa.Table, row: Row, key: Hashable = None, *, kept: int | None = None) -> None:
    """Let a row leave with the transaction. Of several rows with one `key` only the last does; without a key each does.

    Of a flood in one transaction only the newest `kept` rows are written; all of them are numbered, so that a reader can tell.
    """
    leaving = tx.leaving.setdefault(table.name, Leaving())
    leaving.kept = kept
    own = ("row", len(leaving.rows)) if key is None else key
    leaving.rows.pop(own, None)
    leaving.rows[own] = row


def flush(tx: Tx) -> None:
    """Write all that leaves, with its numbers."""
    for table in ORDER:
        leaving = tx.leaving.pop(table.name, Leaving())
        rows = list(leaving.rows.values())
        if rows:
            last = next_value(tx, table.name, len(rows))
            written = rows[-leaving.kept :] if leaving.kept else rows
            tx.add(table, [{"id": last - len(written) + k, "at": tx.now} | row for k, row in enumerate(written, 1)])
