"""`/api/v1/cases`: cases, their ledger, and the moves the table allows."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from console.actor import Actor, Role
from console.names import Names
from console.ports import Parts, Row
from console.problems import missing

router = APIRouter(prefix="/api/v1/cases", tags=["cases"])


class Move(BaseModel):
    """One move of the table with the fields it requires; `body.version` is the version the person saw."""

    move: str
    body: dict[str, Any] = {}


@router.get("")
def cases(
    parts: Parts,
    state: str | None = None,
    site: str | None = None,
    level: int | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> Row:
    """Return cases, newest first."""
    return {
        "cases": Names(parts.registry).labels(parts.desk.cases(state=state, site=site, level=level, limit=limit)),
        "next": None,
    }


@router.get("/{case_id}")
def case(parts: Parts, case_id: str, role: Role) -> Row:
    """Return one case (id or number) with its lead, alerts, ledger, clock and the moves allowed to the chosen person."""
    row = parts.desk.case(case_id, role=role)
    if row is None:
        raise missing("case", case_id)
    return Names(parts.registry).label(row)


@router.post("/{case_id}/moves")
def move(parts: Parts, case_id: str, body: Move, person: Actor) -> Row:
    """Make one move. 409 says what forbids it and the remedy."""
    if parts.desk.case(case_id) is None:
        raise missing("case", case_id)
    return parts.desk.move(case_id, body.move, str(person["person"]), body.body)
