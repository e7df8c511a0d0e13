"""Cases: a matter is an append-only stream of events (`case_events`) projected into one row (`cases`).

A lead goes in and at most one case comes out; then moves of the table `moves.MOVES`, each one event, one version, one audit row. Two people
moving at once: the row is locked, the version is compared, the second one is Refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from cases import alerts, events, leads, outbox
from cases.audit import Person, record
from cases.clocks import case_due, clock, format_time
from cases.db import Row, Tx, canonical, content_id
from cases.models import case_events, cases
from cases.models import leads as lead_table
from cases.moves import CASE_STATES, MOVES, OPENERS, Move, allow, check_move, choices
from cases.numbers import case_number
from cases.people import who
from connectors.core import Refused

_FROM_LEAD = ("point", "type", "reason_zh", "reason_en", "probability", "grade")


def shown(row: Mapping[str, Any], now: int) -> Row:
    """Return a case as lists show it. `row` carries the lead's body as `lead_body`."""
    lead = orjson.loads(row["lead_body"])
    timer = clock(row["due"], now)
    state_zh, state_en = CASE_STATES[row["state"]]
    return {
        name: row[name] for name in ("id", "number", "site", "level", "state", "version", "opened_by", "assignee", "verdict")
    } | {
        "lead_id": row["lead"],
        "state_zh": state_zh,
        "state_en": state_en,
        "finding": row["finding"],
        "conclusion": row["conclusion"],
        "opened": format_time(row["opened"]),
        "since": format_time(row["since"]),
        "closed": format_time(row["closed"]),
        "due": format_time(row["due"]),
        "overdue": bool(timer and timer["overdue"]),
        "clock": timer,
        "lead_withdrawn": withdrawn(lead),
        **{name: lead.get(name) for name in _FROM_LEAD},
    }


def withdrawn(body: Mapping[str, Any]) -> bool:
    """Say whether the judge took an alert or lead back: it names `withdrawn`, or what it was `merged_into`."""
    return bool(body.get("withdrawn")) or body.get("merged_into") is not None


def _query() -> sa.Select[Any]:
    return sa.select(cases, lead_table.c.body.label("lead_body")).join(lead_table, lead_table.c.id == cases.c.lead)


def listed(
    tx: Tx, *, state: str | None = None, site: str | None = None, level: int | None = None, limit: int | None = 200
) -> list[Row]:
    """Return cases, newest first; `limit` None = all."""
    query = _query()
    for name, value in {"state": state, "site": site, "level": level}.items():
        if value is not None:
            query = query.where(cases.c[name] == value)
    return [shown(row, tx.now) for row in tx.rows(query.order_by(cases.c.opened.desc(), cases.c.number.desc()).limit(limit))]


def find(tx: Tx, key: str, *, lock: bool = False) -> Row | None:
    """Return the row of a case by its id or number, with its lead's body."""
    query = _query().where(sa.or_(cases.c.id == key, cases.c.number == key))
    return tx.row(query.with_for_update(of=cases) if lock else query)


def detail(tx: Tx, key: str, role: str | None) -> Row | None:
    """Return a case with its lead, alerts, events, and the moves that `role` (None: anybody) can make now."""
    row = find(tx, key)
    if row is None:
        return None
    lead = leads.get(tx, row["lead"])
    assert lead is not None  # a foreign key holds it
    of_lead = alerts.of_lead(tx, row["lead"])
    return shown(row, tx.now) | {
        "lead": leads.shown(lead, tx.now),
        "alerts": of_lead,
        "withdrawn_alerts": [one["id"] for one in of_lead if one["state"] == "withdrawn"],
        "events": ledger(tx, row["id"]),
        "moves": choices(row["state"], role),
    }


def ledger(tx: Tx, case: str) -> list[Row]:
    """Return the events of a case, oldest first, with the names of the moves."""
    found = tx.rows(sa.select(case_events).where(case_events.c.case == case).order_by(case_events.c.version))
    opened = Move("open", "建案", "Case opened", (), "open", OPENERS)
    return [
        row | {"at": format_time(row["at"]), "body": orjson.loads(row["body"]), "name_zh": move.name_zh, "name_en": move.name_en}
        for row in found
        for move in [MOVES.get(row["move"], opened)]
    ]


def opened(tx: Tx, lead: Row, person: Person) -> None:
    """Open the case of a lead that has none, in the transaction that decided so and holds the lead's lock."""
    case = content_id(["case", lead["id"]])
    due_at = case_due("open", lead["level"], tx.now, tx.now)
    row = {
        "id": case, "number": case_number(tx), "lead": lead["id"], "site": lead["site"], "level": lead["level"], "state": "open",
        "version": 1, "opened": tx.now, "opened_by": person.person, "since": tx.now, "due": due_at, "assignee": None,
        "verdict": None, "finding": None, "conclusion": None, "closed": None,
    }  # fmt: skip
    tx.add(cases, [row])
    _append(tx, row, "", "open", person, {})
    leads.save(tx, [lead | {"state": "cased", "due": None}])
    tell(tx, [row | {"lead_body": lead["body"]}])


def open_case(tx: Tx, lead_id: str, by: str) -> str:
    """Open the one case of a lead, or find it; return its id. Raises Refused (no such lead, withdrawn, not this role)."""
    lead = leads.get(tx, lead_id, lock=True)
    if lead is None:
        raise Refused(f"there is no lead {lead_id!r}: read the list again")
    person = who(tx, by)
    allow(f"opening a case from lead {lead_id}", OPENERS, person.role)
    there = leads.case_of(tx, lead_id)
    if there is not None:
        return str(there["id"])
    if lead["state"] == "withdrawn":
        raise Refused(f"lead {lead_id} was withdrawn by a later judgement: there is nothing to open a case on")
    case = content_id(["case", lead_id])
    record(tx, person, "case.open", case, {"lead": lead_id})
    opened(tx, lead, person)
    return case


def move(tx: Tx, key: str, name: str, by: str, body: Mapping[str, Any]) -> str:
    """Make one move; return the case's id. `body` holds the move's fields, and `version` if the mover insists on what they saw."""
    row = find(tx, key, lock=True)
    if row is None:
        raise Refused(f"there is no case {key!r}: read the list again")
    if body.get("version", row["version"]) != row["version"]:
        raise Refused(f"case {row['number']} has changed (version {row['version']}, you saw {body['version']}): read it again")
    person = who(tx, by)
    made, said = check_move(row["number"], row["state"], name, person.role, body)
    alerts.in_scope(person, row["site"])
    changed = row | _after(row, made, said, tx.now)
    values = {column.name: changed[column.name] for column in cases.columns}
    same = (cases.c.id == row["id"], cases.c.version == row["version"])
    if tx.conn.execute(sa.update(cases).where(*same).values(**values)).rowcount != 1:
        raise Refused(f"case {row['number']} was moved by somebody else just now: read it again")
    _append(tx, changed, row["state"], name, person, said)
    record(tx, person, f"case.{name}", row["id"], {"number": row["number"], "version": changed["version"], **said})
    if changed["verdict"] != row["verdict"]:
        verdict = {"case": row["id"], "lead": row["lead"], "verdict": changed["verdict"], "by": by}
        outbox.put(tx, outbox.CONTEXT, row["site"], "verdict", verdict)
    tell(tx, [changed])
    return str(row["id"])


def _after(row: Row, made: Move, said: Mapping[str, str], now: int) -> Row:
    """Return the columns that a move changes."""
    changed: Row = {"version": row["version"] + 1} | dict.fromkeys(made.clears)
    changed |= {field.column: said[field.name] for field in made.fields if field.column and field.name in said}
    if made.to is not None:
        changed |= {"state": made.to, "since": now, "due": case_due(made.to, row["level"], now, row["opened"])}
    if made.to == "closed":
        changed["closed"] = now
    return changed


def _append(tx: Tx, row: Mapping[str, Any], before: str, name: str, person: Person, body: Mapping[str, Any]) -> None:
    line = {"at": tx.now, "by": person.person, "role": person.role, "move": name, "before": before, "after": row["state"]}
    tx.add(case_events, [{"case": row["id"], "version": row["version"], **line, "body": canonical(dict(body))}])
    did = outbox.Did(person.person, person.role, name, before, row["state"], {"number": row["number"], **body})
    outbox.happened(tx, "case", row["id"], row["site"], did)


def tell(tx: Tx, rows: Sequence[Row]) -> None:
    """Tell the pages about changed cases (rows with their lead's body)."""
    events.publish(tx, [events.Change("case", row["id"], row["site"], shown(row, tx.now)) for row in rows])


def follow(tx: Tx, changed: Mapping[str, Row]) -> None:
    """Carry leads that were judged anew (by id) into their cases: the level, and a deadline that only ever comes nearer."""
    for row in tx.among(cases.c.lead, changed, lock=True):
        lead = changed[row["lead"]]
        due_at = row["due"]
        if lead["level"] < row["level"] and due_at is not None:
            due_at = min(due_at, case_due(row["state"], lead["level"], row["since"], row["opened"]) or due_at)
        tx.change(cases, row["id"], {"level": lead["level"], "due": due_at})
        tell(tx, [row | {"level": lead["level"], "due": due_at, "lead_body": lead["body"]}])
