"""`/api/v1/leads`: violation leads, and the one case each may open."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from console import steps
from console.actor import Actor, Role
from console.names import Names
from console.ports import Parts, Row, Services
from console.problems import missing

router = APIRouter(prefix="/api/v1/leads", tags=["leads"])


class Dismissal(BaseModel):
    """Why a lead becomes no case."""

    reason: str


@router.get("")
def leads(
    parts: Parts,
    state: str | None = None,
    site: str | None = None,
    level: int | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> Row:
    """Return leads, newest first."""
    return {
        "leads": Names(parts.registry).labels(parts.desk.leads(state=state, site=site, level=level, limit=limit)),
        "next": None,
    }


def found(parts: Services, lead_id: str) -> Row:
    """Return one lead. Raises Problem 404."""
    row = parts.desk.lead(lead_id)
    if row is None:
        raise missing("lead", lead_id)
    return row


@router.get("/{lead_id}")
def lead(parts: Parts, lead_id: str, role: Role) -> Row:
    """Return one lead with its alerts and its case, and what the chosen person may decide (`allowed`)."""
    row = found(parts, lead_id)
    return {**Names(parts.registry).label(row), "allowed": steps.of_lead(str(row["state"]), role)}


@router.post("/{lead_id}/case")
def open_case(parts: Parts, lead_id: str, person: Actor) -> Row:
    """Open the case of a lead; a second request finds the same case."""
    found(parts, lead_id)
    return parts.desk.open_case(lead_id, str(person["person"]))


@router.post("/{lead_id}/dismissal")
def dismiss(parts: Parts, lead_id: str, body: Dismissal, person: Actor) -> Row:
    """Decide that a lead becomes no case."""
    found(parts, lead_id)
    return parts.desk.dismiss_lead(lead_id, str(person["person"]), body.reason)
