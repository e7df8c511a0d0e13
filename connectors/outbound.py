"""The durable queue that all outputs share: what is put leaves later, in order for each key, and is in the books for ever.

Enters: entries for a target (webhook, Kafka, HJ 212 platform), in order. Leaves: items that are due, to the target's worker; and
the sent log: what left, when, to whom, the answer and the attempts. For each target, always::

    queued = sent + waiting + refused + expired

An entry is put once, however often it is offered: by its `seq` (only grows for a target, kind and key) or, without one, by its
content. Delivery is at least once: what was sent and not yet settled when a process is killed is sent again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import sqlalchemy as sa

from connectors.core import Retry
from connectors.outbound_entries import (
    POSTPONED,
    Entry,
    Item,
    Outcome,
    Row,
    add_waiting,
    insert,
    mark,
    tally,
    unknown,
    until,
    upsert,
)
from connectors.outbound_tables import Database, cursors, items, keys, targets


class Queue:
    """The queue in a database: `sqlite:////path/outbound.sqlite` or `postgresql+psycopg://…`; its tables are made if missing.

    Thread-safe; every method is one transaction. Raises Retry or Lost.
    """

    def __init__(self, url: str) -> None:
        self._db = Database(url)

    def close(self) -> None:
        """Give back all connections."""
        self._db.close()

    # --- what feeds it

    def put(
        self,
        target: str,
        entries: Sequence[Entry],
        *,
        bound: int = 1_000_000,
        cursor: tuple[str, int] | None = None,
        skip: bool = False,
    ) -> int:
        """Queue entries, in order; return how many are new. `cursor` (source, position) is moved in the same transaction.

        Raises Retry while `bound` or more wait: nothing is taken then, and the books say so. With `skip` they are refused instead.
        """
        with self._db.write() as conn:
            self._target(conn, target)
            new = unknown(conn, target, entries)
            full = bool(new) and self._waiting(conn, target) >= bound
            why = f"{bound} wait: make the target reachable, or raise `bound`" if full else None
            conn.execute(sa.update(targets).where(targets.c.target == target).values(full=why))
            if not full or skip:
                tally(conn, target, {"queued": len(new), "refused": len(new) if full else 0})
                mark(conn, target, new)
                if not full:
                    insert(conn, target, new)
                if cursor is not None:
                    upsert(conn, cursors, [{"target": target, "source": cursor[0], "position": cursor[1]}])
                return 0 if full else len(new)
        raise Retry(f"output {target}: {why}", 5.0)

    def cursor(self, target: str, source: str, start: int) -> int:
        """Return how far a source has been read for a target; `start` is where a new target begins, and is kept."""
        with self._db.write() as conn:
            self._target(conn, target)
            where = (cursors.c.target == target, cursors.c.source == source)
            found = conn.execute(sa.select(cursors.c.position).where(*where)).scalar()
            if found is None:
                conn.execute(sa.insert(cursors).values(target=target, source=source, position=start))
            return start if found is None else int(found)

    def missed(self, target: str, source: str, count: int, position: int) -> None:
        """Note that a source had dropped `count` records before the target had room, and go on at `position`."""
        with self._db.write() as conn:
            tally(conn, target, {"missed": count})
            upsert(conn, cursors, [{"target": target, "source": source, "position": position}])

    # --- what its worker asks

    def lease(self, target: str, owner: str, now: int, until: int) -> bool:
        """Become or stay the one worker of a target until `until` (ms UTC); tell whether that is so."""
        with self._db.write() as conn:
            self._target(conn, target)
            mine = sa.or_(targets.c.owner == owner, targets.c.owner.is_(None), targets.c.lease < now)
            query = sa.update(targets).where(targets.c.target == target, mine).values(owner=owner, lease=until)
            return bool(conn.execute(query).rowcount)

    def due(self, target: str, now: int) -> list[str]:
        """Return the keys that have something waiting and are not postponed; none while the target is stopped."""
        query = sa.select(keys.c.key).where(keys.c.target == target, keys.c.waiting > 0, keys.c.retry_at <= now)
        with self._db.read() as conn:
            if conn.execute(sa.select(targets.c.stopped).where(targets.c.target == target)).scalar():
                return []
            return [str(row[0]) for row in conn.execute(query)]

    def next(self, target: str, wanted: Sequence[str], limit: int, live_from: int | None = None) -> dict[str, list[Item]]:
        """Return at most `limit` items of each key, oldest first; with `live_from` (ms UTC) those put since then come first."""
        base = sa.select(*(items.c[name] for name in Item.__dataclass_fields__)).order_by(items.c.id).limit(limit)
        found: dict[str, list[Item]] = {}
        with self._db.read() as conn:
            for key in wanted:
                query = base.where(items.c.target == target, items.c.state == "waiting", items.c.key == key)
                live = [] if live_from is None else conn.execute(query.where(items.c.at >= live_from)).all()
                rows = live or conn.execute(query).all()
                found[key] = [Item(**dict(row._mapping)) for row in rows]  # noqa: SLF001 — the public name of a row's columns
        return found

    def settle(self, target: str, owner: str, outcomes: Sequence[Outcome]) -> bool:
        """Write what became of attempts; False, and nothing, if another worker holds the target now: its books are not this one's."""
        with self._db.write() as conn:
            held = sa.update(targets).where(targets.c.target == target, targets.c.owner == owner).values(owner=owner)
            if not conn.execute(held).rowcount:
                return False
            final = [o for o in outcomes if o.fate != POSTPONED]
            for fate in {o.fate for o in outcomes}:
                conn.execute(_settled(fate), [_values(o) for o in outcomes if o.fate == fate])
            tally(conn, target, Counter(o.fate for o in final))
            add_waiting(conn, target, {key: -n for key, n in Counter(o.item.key for o in final).items()})
            until(conn, target, {o.item.key: o.retry_at for o in outcomes})
            last = outcomes[-1]
            fault = {"fault": None, "fault_at": None} if last.fate == "sent" else {"fault": last.answer, "fault_at": last.at}
            conn.execute(sa.update(targets).where(targets.c.target == target).values(**fault))
            return True

    def stop(self, target: str, reason: str) -> None:
        """Send nothing more to a target until a person lets it go on; what comes in waits."""
        with self._db.write() as conn:
            conn.execute(sa.update(targets).where(targets.c.target == target).values(stopped=reason))

    # --- what people ask

    def again(self, target: str, key: str | None = None) -> int:
        """Let a target go on at once, and put what it refused back into the queue; return how many."""
        with self._db.write() as conn:
            one = () if key is None else (items.c.key == key,)
            where = (items.c.target == target, items.c.state == "refused", *one)
            back = conn.execute(sa.select(items.c.key, sa.func.count()).where(*where).group_by(items.c.key)).all()
            conn.execute(sa.update(items).where(*where).values(state="waiting", done=None, attempts=0))
            conn.execute(sa.update(keys).where(keys.c.target == target).values(retry_at=0))
            add_waiting(conn, target, {str(name): int(n) for name, n in back})
            total = sum(int(n) for _, n in back)
            tally(conn, target, {"refused": -total})
            conn.execute(sa.update(targets).where(targets.c.target == target).values(stopped=None))
            return total

    def books(self) -> dict[str, Row]:
        """Return for each target: queued, sent, waiting, refused, expired, missed, keys waiting, oldest, fault, full, stopped."""
        waiting = sa.select(keys.c.target, sa.func.sum(keys.c.waiting), sa.func.count()).where(keys.c.waiting > 0)
        oldest = sa.select(sa.func.min(items.c.at)).where(items.c.state == "waiting")
        with self._db.read() as conn:
            rows = [dict(row) for row in conn.execute(sa.select(targets).order_by(targets.c.target)).mappings()]
            held = {name: (int(n), int(k)) for name, n, k in conn.execute(waiting.group_by(keys.c.target))}
            since = {name: conn.execute(oldest.where(items.c.target == name)).scalar() for name in held}
        names = ("queued", "sent", "refused", "expired", "missed", "fault", "fault_at", "full", "stopped")
        return {
            row["target"]: {name: row[name] for name in names}
            | dict(zip(("waiting", "keys"), held.get(row["target"], (0, 0)), strict=True))
            | {"oldest": since.get(row["target"])}
            for row in rows
        }

    def log(self, target: str | None = None, *, state: str | None = None, after: int = 0, limit: int = 200) -> list[Row]:
        """Return the log of outputs with id > `after`, oldest first: all columns but the body."""
        query = sa.select(*(c for c in items.c if c.name != "body")).where(items.c.id > after).order_by(items.c.id).limit(limit)
        query = query if target is None else query.where(items.c.target == target)
        query = query if state is None else query.where(items.c.state == state)
        with self._db.read() as conn:
            return [{str(name): value for name, value in row.items()} for row in conn.execute(query).mappings()]

    def trim(self, before: int, limit: int = 10_000) -> int:
        """Forget what was settled before `before` (ms UTC), at most `limit` at once; the books keep its count. Returns how many."""
        old = sa.select(items.c.id).where(items.c.done < before).order_by(items.c.done).limit(limit)
        with self._db.write() as conn:
            return int(conn.execute(sa.delete(items).where(items.c.id.in_(old.scalar_subquery()))).rowcount)

    # --- inside a transaction

    @staticmethod
    def _target(conn: sa.Connection, target: str) -> None:
        """Lock the target's row, made if it is missing: putting and settling follow one another."""
        query = sa.select(targets.c.target).where(targets.c.target == target).with_for_update()
        if conn.execute(query).scalar() is None:
            conn.execute(sa.insert(targets).values(target=target))

    @staticmethod
    def _waiting(conn: sa.Connection, target: str) -> int:
        return int(conn.execute(sa.select(sa.func.sum(keys.c.waiting)).where(keys.c.target == target)).scalar() or 0)


def _settled(fate: str) -> sa.Update:
    """Return the change of an item; a refused one keeps its body, so that it can be sent again."""
    change: Row = {"attempts": items.c.attempts + 1, "answer": sa.bindparam("its_answer")}
    if fate != POSTPONED:
        change |= {"state": fate, "done": sa.bindparam("its_end")}
    if fate in ("sent", "expired"):
        change["body"] = None
    return sa.update(items).where(items.c.id == sa.bindparam("its_id")).values(**change)


def _values(outcome: Outcome) -> Row:
    given = {"its_id": outcome.item.id, "its_answer": outcome.answer}
    return given if outcome.fate == POSTPONED else given | {"its_end": outcome.at}
