"""Who works at the desk: the roles, the persons of `people.csv`, and who an action is made by (design §7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from cases.audit import SYSTEM, Person, record
from cases.db import Row, Tx
from cases.models import people
from connectors.core import Refused

ROLES: Mapping[str, str] = {
    "operator": "值班员",
    "shift_lead": "值班长",
    "officer": "执法人员",
    "enterprise": "企业",
    "responsible_unit": "责任单位",
    "leader": "领导",
    "admin": "管理员",
    "auditor": "审计",
}
"""The eight roles and their Chinese names."""

COLUMNS = ("person", "name", "role", "org", "org_level", "district", "site", "phone")
"""The columns of people.csv; others are not kept here."""

DEFAULT: tuple[Mapping[str, str], ...] = tuple(
    {"person": role, "name": name, "role": role} for role, name in ROLES.items() if role != "enterprise"
)
"""One person a role, for a desk that has no people.csv yet (an enterprise's person needs a site)."""


def who(tx: Tx, person: str) -> Person:
    """Return the acting person. Raises Refused if the desk does not know them."""
    found = tx.row(sa.select(people).where(people.c.person == person))
    if found is None:
        raise Refused(
            f"the desk knows no person {person!r}: put them into people.csv of the registry, then `offsite run --registry` or `offsite registry publish`"
        )
    return Person(found["person"], found["role"], found["name"], found["site"])


def everyone(tx: Tx) -> list[Row]:
    """Return all persons, ordered by role and id, with the Chinese name of the role."""
    order = list(ROLES)
    rows = tx.rows(sa.select(people).order_by(people.c.person))
    return sorted(({**row, "role_zh": ROLES[row["role"]]} for row in rows), key=lambda row: order.index(row["role"]))


def put(tx: Tx, rows: Iterable[Mapping[str, Any]], by: str) -> int:
    """Add or change persons; return how many changed. Only an admin, or the product itself at its start, may do it.

    Raises Refused naming every faulty row; then none is kept.
    """
    wanted = [{name: (str(row[name]) if row.get(name) not in (None, "") else None) for name in COLUMNS} for row in rows]
    faults = [f"row {k}: {text}" for k, row in enumerate(wanted, 1) for text in _faults(row)]
    if faults:
        raise Refused("people: " + "; ".join(faults))
    actor = SYSTEM if by == SYSTEM.person else who(tx, by)
    if actor.role not in ("admin", SYSTEM.role):
        raise Refused(f"{by} is {actor.role}: only an admin changes people")
    known = {row["person"]: row for row in tx.among(people.c.person, [row["person"] or "" for row in wanted], lock=True)}
    changed = {str(row["person"]): row for row in wanted if known.get(row["person"]) != row}
    tx.upsert(people, [changed[person] for person in sorted(changed)])
    for person, row in changed.items():
        record(tx, actor, "people.put", person, row)
    return len(changed)


def _faults(row: Mapping[str, str | None]) -> list[str]:
    missing = [f"{name} is missing" for name in ("person", "name", "role") if not row[name]]
    if row["role"] and row["role"] not in ROLES:
        missing.append(f"role {row['role']!r} is not one of {', '.join(ROLES)}")
    if row["role"] == "enterprise" and not row["site"]:
        missing.append("an enterprise's person needs its site")
    if row["person"] == SYSTEM.person:
        missing.append("the name system is the product's own")
    return missing
