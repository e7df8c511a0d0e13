"""The desk: one thread-safe object through which everybody reads and changes alerts, leads and cases.

Every method is one short transaction: all of it happens or none. A person's change, its ledger line, its audit row and the event for the
pages are written together (promises 2, 8 and 9). Raises Refused (the message names the thing and the remedy), Retry or Lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from cases import alerts, audit, events, inbox, judged, keys, leads, matters, outbox, people
from cases.database import Database
from cases.db import Row, Tx
from cases.keys import Grant
from cases.migrate import upgrade
from cases.models import alerts as alert_table
from cases.models import cases as case_table
from cases.models import leads as lead_table
from cases.moves import CASE_STATES
from connectors.core import Clock


class Desk:
    """The desk on a database: `sqlite:////path/desk.sqlite` or `postgresql+psycopg://…`.

    `clock` gives ms UTC. The tables are brought up to date unless `migrate` is false (then they must be). Raises Refused if they are
    of a newer version than this program, Retry while the server is away.
    """

    def __init__(self, url: str, *, clock: Clock, migrate: bool = True) -> None:
        self._db = Database(url, clock=clock)
        if not migrate:
            return
        try:
            with self._db.write() as tx:
                upgrade(tx.conn)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Give back all connections."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # --- the judge's side

    def project(self, outputs: Sequence[inbox.Output], position: int | None = None) -> int:
        """Take in the judge's outputs; return how many alerts and leads changed. Idempotent, in any order, by any number at once.

        `position` is remembered in the same transaction; leave it out where the caller keeps its own (Kafka's committed offsets).
        """
        return self._db.do(lambda tx: inbox.project(tx, outputs, position))

    def position(self) -> int:
        """Return the position up to which outputs were taken in."""
        with self._db.read() as tx:
            return inbox.position(tx)

    def tick(self) -> int:
        """Let time act: end shelves that are over, mark overdue answers, drop old events; return how many alerts changed."""
        changed = self._db.do(alerts.expire)
        self._db.do(events.trim)
        return changed

    def outgoing(self, topic: str = outbox.CONTEXT, limit: int = 100) -> list[Row]:
        """Return the messages for `context` or `case-events` that wait, oldest first (`cases.outbox.waiting`)."""
        with self._db.read() as tx:
            return outbox.waiting(tx, topic, limit)

    def sent(self, topic: str, up_to: int) -> int:
        """Drop the messages of a topic with seq <= `up_to`, now durable elsewhere; return how many."""
        return self._db.do(lambda tx: outbox.drop(tx, topic, up_to))

    def note_judged(self, partition: int, at: int, counts: Mapping[str, int]) -> None:
        """Keep how far a partition was judged (log time in ms UTC) and its books; an older report changes nothing."""
        self._db.do(lambda tx: judged.note(tx, partition, at, counts))

    def judged(self) -> judged.Judged | None:
        """Return how far all partitions were judged and their books together, None while none has reported."""
        with self._db.read() as tx:
            return judged.total(tx)

    # --- alerts

    def alerts(self, **filters: Any) -> list[Row]:
        """Return alerts, those seen last first; filters and paging: `cases.alerts.listed`."""
        with self._db.read() as tx:
            return alerts.listed(tx, **filters)

    def alert(self, id: str) -> Row | None:  # noqa: A002 - an alert's key is called id everywhere
        """Return one alert with its `actions`, `leads` and `case` (or null)."""
        with self._db.read() as tx:
            return _alert(tx, id)

    def act(self, alert_id: str, action: str, by: str, *, reason: str | None = None, until: int | None = None) -> Row:
        """Do what a person decided (`moves.ACTIONS`); `until` in ms UTC. Returns the alert. Raises Refused."""

        def work(tx: Tx) -> Row:
            alerts.act(tx, alert_id, action, by, reason=reason, until=until)
            return _alert(tx, alert_id) or {}

        return self._db.do(work)

    def counts(self) -> Row:
        """Return what waits: unhandled and overdue alerts (folded ones not counted), `by_level`, leads, cases by state."""
        with self._db.read() as tx:
            return _counts(tx)

    # --- leads and cases

    def leads(self, **filters: Any) -> list[Row]:
        """Return leads, those seen last first; filters: `cases.leads.listed`."""
        with self._db.read() as tx:
            return leads.listed(tx, **filters)

    def lead(self, id: str) -> Row | None:  # noqa: A002
        """Return one lead with its alerts as `alert_rows` and its `case` (or null)."""
        with self._db.read() as tx:
            row = leads.get(tx, id)
            if row is None:
                return None
            there = leads.case_of(tx, id)
            case = there and matters.detail(tx, there["id"], None)
            return leads.shown(row, tx.now) | {"alert_rows": alerts.of_lead(tx, id), "case": case and _brief(case)}

    def dismiss_lead(self, lead_id: str, by: str, reason: str | None) -> Row:
        """Decide that a lead becomes no case. Returns the lead. Raises Refused."""
        self._db.do(lambda tx: leads.dismiss(tx, lead_id, by, reason))
        return self.lead(lead_id) or {}

    def cases(self, **filters: Any) -> list[Row]:
        """Return cases, newest first; filters: `cases.matters.listed`."""
        with self._db.read() as tx:
            return matters.listed(tx, **filters)

    def case(self, id_or_number: str, *, role: str | None = None) -> Row | None:
        """Return one case with `lead`, `alerts`, `events`, `clock` and the `moves` that `role` (None: anybody) can make now."""
        with self._db.read() as tx:
            return matters.detail(tx, id_or_number, role)

    def open_case(self, lead_id: str, by: str) -> Row:
        """Open the one case of a lead; asked again, it returns the case that is there. Raises Refused."""
        return self._db.do(lambda tx: matters.detail(tx, matters.open_case(tx, lead_id, by), None) or {})

    def move(self, case_id: str, move: str, by: str, body: Mapping[str, Any]) -> Row:
        """Make one move of `moves.MOVES`; `body` holds its fields, and `version` to insist on what was seen. Raises Refused."""

        def work(tx: Tx) -> Row:
            role = people.who(tx, by).role
            return matters.detail(tx, matters.move(tx, case_id, move, by, body), role) or {}

        return self._db.do(work)

    # --- events for the pages

    def events_since(self, id: int, limit: int = 500) -> list[Row]:  # noqa: A002
        """Return what changed after event `id`, oldest first: id, at, kind, subject, site, body."""
        with self._db.read() as tx:
            return events.since(tx, id, limit)

    def last_event_id(self) -> int:
        """Return the id of the newest event, 0 if there was none."""
        with self._db.read() as tx:
            return events.last(tx)

    def first_event_id(self) -> int:
        """Return the id of the oldest event kept: a reader who saw less than this minus one must read everything again."""
        with self._db.read() as tx:
            return events.first(tx)

    # --- audit, people, keys

    def record(self, by: str, what: str, subject: str, body: Mapping[str, Any]) -> None:
        """Write into the audit what a person changed elsewhere (a device adopted, a setting sent). Raises Refused."""
        self._db.do(lambda tx: audit.record(tx, people.who(tx, by), what, subject, body))

    def audit_verify(self) -> audit.Verified:
        """Recompute the chain: (ok, count, number of the first bad row)."""
        with self._db.read() as tx:
            return audit.verify(tx)

    def audit_entries(self, *, subject: str | None = None, after: int = 0, limit: int = 200) -> list[Row]:
        """Return audit rows with seq > `after`, oldest first."""
        with self._db.read() as tx:
            return audit.entries(tx, subject=subject, after=after, limit=limit)

    def people(self) -> list[Row]:
        """Return everybody: person, name, role, role_zh, org, org_level, district, site, phone."""
        with self._db.read() as tx:
            return people.everyone(tx)

    def put_people(self, rows: Iterable[Mapping[str, Any]], by: str = "system") -> int:
        """Add or change persons (columns of people.csv); return how many changed. Raises Refused naming every faulty row."""
        wanted = list(rows)
        return self._db.do(lambda tx: people.put(tx, wanted, by))

    def create_key(self, name: str, sites: Sequence[str] | None = None, by: str = "system") -> Row:
        """Make an API key for `sites` (None: all); its `secret` is in this answer and never again."""
        return self._db.do(lambda tx: keys.create(tx, name, sites, by))

    def keys(self) -> list[Row]:
        """Return all API keys without their secrets."""
        with self._db.read() as tx:
            return keys.listed(tx)

    def revoke_key(self, key: str, by: str) -> Row:
        """End an API key at once."""
        return self._db.do(lambda tx: keys.revoke(tx, key, by))

    def check_key(self, secret: str) -> Grant | None:
        """Return what a secret allows, None if it is wrong or revoked."""
        with self._db.read() as tx:
            return keys.check(tx, secret)


def _brief(case: Row) -> Row:
    return {name: value for name, value in case.items() if name not in ("lead", "alerts", "events", "moves")}


def _alert(tx: Tx, key: str) -> Row | None:
    row = tx.row(sa.select(alert_table).where(alert_table.c.id == key))
    if row is None:
        return None
    found = leads.of_alert(tx, key)
    there = next((one for lead in found if (one := leads.case_of(tx, lead["id"])) is not None), None)
    case = there and matters.detail(tx, there["id"], None)
    return alerts.shown(row, tx.now) | {"actions": alerts.actions(tx, key), "leads": found, "case": case and _brief(case)}


def _counts(tx: Tx) -> Row:
    table = alert_table
    late = sa.func.sum(sa.case((table.c.due < tx.now, 1), else_=0))
    on = sa.func.sum(sa.case((table.c.active, 1), else_=0))
    groups = tx.rows(
        sa.select(table.c.state, table.c.level, sa.func.count().label("n"), late.label("late"), on.label("on"))
        .where(table.c.folded.is_(None))
        .group_by(table.c.state, table.c.level)
    )
    waiting = [row for row in groups if row["state"] == "open"]
    case_late = sa.select(sa.func.count()).select_from(case_table).where(case_table.c.due < tx.now)
    return {
        "unhandled": sum(row["n"] for row in waiting),
        "overdue": sum(row["late"] for row in waiting),
        "active": sum(row["on"] for row in groups if row["state"] != "withdrawn"),
        "by_level": {str(level): sum(row["n"] for row in waiting if row["level"] == level) for level in (1, 2, 3, 4)},
        "by_state": {state: sum(row["n"] for row in groups if row["state"] == state) for state in _STATES},
        "leads": tx.scalar(sa.select(sa.func.count()).select_from(lead_table).where(lead_table.c.state == "open")),
        "cases": {
            state: n
            for state in CASE_STATES
            for n in [tx.scalar(sa.select(sa.func.count()).select_from(case_table).where(case_table.c.state == state))]
        },
        "cases_overdue": tx.scalar(case_late),
    }


_STATES = ("open", "acked", "shelved", "closed", "withdrawn")
