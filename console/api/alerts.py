"""`/api/v1/alerts`: the queue, one alert, its chart, and what a person decides about it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from cases.clocks import parse_time
from console import series, steps
from console.actor import Actor, Role
from console.names import Names
from console.ports import History, Parts, Row, Services
from console.problems import Problem, missing
from streams.summary import window_length

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])

MOST_COMPANIONS = 6


class Action(BaseModel):
    """What a person decides: `until` (RFC 3339) only for shelve."""

    action: str
    reason: str | None = None
    until: str | None = None


@router.get("")
def alerts(
    parts: Parts,
    state: str | None = None,
    active: bool | None = None,  # noqa: FBT001 - a query parameter
    level: int | None = None,
    site: str | None = None,
    rule: str | None = None,
    folded: bool | None = None,  # noqa: FBT001
    overdue: bool | None = None,  # noqa: FBT001
    before: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Row:
    """Return alerts, newest first, with names; `next` is the `before` of the following page."""
    rows = parts.desk.alerts(
        state=state, active=active, level=level, site=site, rule=rule, folded=folded, overdue=overdue, before=before, limit=limit
    )
    return {"alerts": Names(parts.registry).labels(rows), "next": rows[-1]["id"] if len(rows) == limit else None}


def found(parts: Services, alert_id: str) -> Row:
    """Return one alert. Raises Problem 404."""
    row = parts.desk.alert(alert_id)
    if row is None:
        raise missing("alert", alert_id)
    return row


@router.get("/{alert_id}")
def alert(parts: Parts, alert_id: str, role: Role) -> Row:
    """Return one alert with its actions, leads and case, and what the chosen person may do about it (`allowed`)."""
    return shown(parts, found(parts, alert_id), role)


def shown(parts: Services, row: Row, role: str | None) -> Row:
    """Return an alert as the page shows it."""
    return {**Names(parts.registry).label(row), "allowed": steps.of_alert(str(row["state"]), role)}


@router.get("/{alert_id}/series")
def chart(parts: Parts, alert_id: str, period: str | None = None, factor: str | None = None) -> Row:
    """Return one strip around the episode, in as many points as a screen shows, and the names of its companions at the point.

    A span with more readings than that is told in windows: `strip.window` is their length in ms (null: single readings), and its
    lines have `low` and `high` beside `value`, the mean.

    Without `factor` it is the alert's own. A page asks for the companions one after the other, so that the judged line is there
    at once and a chart costs the history one short query at a time.
    """
    row = found(parts, alert_id)
    names = Names(parts.registry)
    shown = period or str(row.get("period") or "hour")
    opened = parse_time(str(row["opened"]))
    closed = parse_time(str(row["closed"])) if row.get("closed") else None
    updated = parse_time(str(row.get("updated") or row["opened"]))
    start, end = series.window(opened, closed, updated, parts.clock(), shown)
    own, *companions = factors(names, row) or [""]
    asked = factor or own
    return {
        "start": start,
        "end": end,
        "period": shown,
        "episode": {"start": opened, "end": closed},
        "strip": strip(parts, names, row, asked, (start, end), shown) if asked else None,
        "companions": companions,
    }


def factors(names: Names, row: Row) -> list[str]:
    """Return the alert's factor first, then its companions at the point in the registry's order."""
    known = [str(one["factor"]) for one in names.point(str(row["site"]), row.get("point")).get("factors") or ()]
    own = str(row.get("factor") or "")
    return ([own] if own else []) + [one for one in known if one != own][:MOST_COMPANIONS]


def strip(parts: Services, names: Names, row: Row, factor: str, span: tuple[int, int], period: str) -> Row:
    """Return one strip of the chart: a factor's names, unit, limit (the alert's own factor only) and lines."""
    site, point = str(row["site"]), str(row.get("point") or "")
    entry = names.factor(site, point, factor)
    own = factor == row.get("factor")
    window, lines = drawn(parts.history, (site, point, factor), span, period)
    return {
        "factor": factor,
        "name_zh": entry.get("name_zh") or factor,
        "name_en": entry.get("name_en") or factor,
        "unit": (row.get("unit") if own else None) or entry.get("unit") or "",
        "limit": row.get("limit") if own else entry.get("limit"),
        "window": window,
        "lines": lines,
    }


def drawn(history: History, channel: tuple[str, str, str], span: tuple[int, int], period: str) -> tuple[int | None, list[Row]]:
    """Return the length of the windows (ms; None: single readings) and the lines of a channel (site, point, factor)."""
    if not series.is_long(*span, period):
        return None, series.lines(history.series(*channel, *span, period))
    most = series.MOST_WINDOWS
    return window_length(*span, most), series.bands(history.summary(*channel, *span, period, most))


def act(parts: Services, alert_id: str, body: Action, person: str) -> Row:
    """Hand one decision to the desk."""
    found(parts, alert_id)
    try:
        until = parse_time(body.until) if body.until else None
    except ValueError as error:
        raise Problem(422, f"until: {error}", "write it as 2026-11-24T08:00:00+08:00") from error
    return parts.desk.act(alert_id, body.action, person, reason=body.reason, until=until)


@router.post("/{alert_id}/actions")
def decide(parts: Parts, alert_id: str, body: Action, person: Actor) -> Row:
    """Do what the person decided: ack, unack, shelve (reason, until ≤ 24 h), unshelve, close (reason), reopen, note."""
    return shown(parts, act(parts, alert_id, body, str(person["person"])), str(person["role"]))
