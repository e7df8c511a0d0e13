"""The rows that views are made of: cases, alerts, leads, limits in the registry, and hours of the history, a page at a time.

Enters: a transaction, the registry, the history, the sites that may leave (None: all), and what is asked. Leaves: a page of rows and
where the next one begins. Order is by key, so that a page stays what it is while rows are added. Names of sites come from the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import pyarrow as pa
import sqlalchemy as sa

from cases import alerts as alert_rows
from cases import leads as lead_rows
from cases import matters
from cases.clocks import format_time, parse_time
from cases.db import Row, Tx
from cases.models import alerts, cases, leads
from connectors.core import Refused
from streams.limits import PERMIT, rank_of
from streams.registry_cells import write, write_bounds
from streams.registry_model import Registry

MOST = 5_000
"""Rows in a page at most."""
SPAN = 366 * 86_400_000
"""Milliseconds of history that one request may span."""
SITE = ("site_name", "enterprise", "district", "industry")
"""What every view may show of a row's site."""


class Series(Protocol):
    """The history as charts read it too."""

    def series(self, site: str, point: str, factor: str, start: int, end: int, period: str | None = None) -> pa.Table:
        """Return the readings of a factor in [start, end) ms UTC, in time order."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of a view: a site, rows from `start` to before `end` (RFC 3339), and the page after `after`."""

    site: str = ""
    start: str = ""
    end: str = ""
    after: str = ""
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, and the `after` of the next page (None: there is none)."""

    rows: Sequence[Row]
    next: str | None


@dataclass(frozen=True, slots=True)
class World:
    """What a source reads from, and which of it may leave."""

    tx: Tx
    registry: Registry
    history: Series | None
    sites: frozenset[str] | None
    where: Mapping[str, Sequence[str]]
    ask: Ask


@dataclass(frozen=True, slots=True)
class Origin:
    """A source of rows: its columns, those of them that are personal data, what a view may filter by, and how it is read."""

    columns: tuple[str, ...]
    personal: frozenset[str]
    filters: tuple[str, ...]
    read: Callable[[World], Page]


def _moment(text: str, name: str) -> int | None:
    if not text:
        return None
    try:
        return parse_time(text)
    except ValueError as error:
        raise Refused(f"{name} {text!r} is no time; write 2026-03-01T00:00:00+08:00") from error


def _desk(table: sa.Table, clock: str, query: sa.Select[Any], shown: Callable[[Row, int], Row]) -> Callable[[World], Page]:
    """Return how rows of a desk's table are read, the newest first; `clock` is the column of its time."""

    def read(world: World) -> Page:
        ask, when, key = world.ask, table.c[clock], table.c.id
        asked = query
        for column, values in world.where.items():
            asked = asked.where(table.c[column].in_(values))
        if world.sites is not None:
            asked = asked.where(table.c.site.in_(sorted(world.sites)))
        start, end = _moment(ask.start, "from"), _moment(ask.end, "to")
        asked = asked if start is None else asked.where(when >= start)
        asked = asked if end is None else asked.where(when < end)
        if ask.after:
            at, _, last = ask.after.partition("-")
            if not at.isdecimal():
                raise Refused(f"after {ask.after!r} is no page; take it from `next` of the page before")
            asked = asked.where(sa.tuple_(when, key) < sa.tuple_(sa.literal(int(at), sa.BigInteger), sa.literal(last)))
        found = world.tx.rows(asked.order_by(when.desc(), key.desc()).limit(ask.limit + 1))
        page = found[: ask.limit]
        following = f"{page[-1][clock]}-{page[-1]['id']}" if len(found) > ask.limit else None
        return Page([_named(world.registry, shown(row, world.tx.now)) for row in page], following)

    return read


def _named(registry: Registry, row: Row) -> Row:
    site = registry.site(str(row.get("site") or ""))
    return row | {name: getattr(site, "name" if name == "site_name" else name, None) for name in SITE}


def _lead(row: Row, now: int) -> Row:
    said = lead_rows.shown(row, now)
    window = said.get("window") or {}
    return said | {"start": window.get("start"), "end": window.get("end")}


def _paged(rows: Iterator[tuple[str, Row]], ask: Ask) -> Page:
    """Return the page after `ask.after` of rows that come in the order of their keys."""
    found = list(islice(((key, row) for key, row in rows if key > ask.after), ask.limit + 1))
    following = found[ask.limit - 1][0] if len(found) > ask.limit else None
    return Page([row for _, row in found[: ask.limit]], following)


def _limits(world: World) -> Page:
    """Read the permits' limits, ended ones too."""
    rows = [
        {
            "site": one.site,
            "point": one.point,
            "factor": one.factor,
            "period": one.period,
            "limit": write_bounds(one.limit),
            "unit": one.unit,
            "source": one.source,
            "valid_from": write(one.valid_from) or None,
            "valid_to": write(one.valid_to) or None,
        }
        for one in world.registry.limits
        if rank_of(one.source) == PERMIT and (world.sites is None or one.site in world.sites)
    ]
    keyed = sorted((("/".join(str(row[name] or "") for name in _LIMIT_KEY), row) for row in rows), key=lambda one: one[0])
    return _paged(((key, _named(world.registry, row)) for key, row in keyed), world.ask)


_LIMIT_KEY = ("site", "point", "factor", "period", "unit", "source", "valid_from")


def _hours(world: World) -> Page:
    """Read the hourly means of one site in a span of time, the newest revision of each."""
    ask = world.ask
    start, end = _moment(ask.start, "from"), _moment(ask.end, "to")
    if world.history is None:
        raise Refused("this process reads no history; ask the one that does")
    if not ask.site or start is None or end is None or not start < end <= start + SPAN:
        raise Refused("hours are asked for one site and at most 366 days: give site, from and to")
    if world.sites is not None and ask.site not in world.sites:
        return Page([], None)
    return _paged(_series(world, world.history, start, end), ask)


def _series(world: World, history: Series, start: int, end: int) -> Iterator[tuple[str, Row]]:
    """Yield the hours of a site by point, factor and time; series that the page before has told in full are not read."""
    registry, site, after = world.registry, world.ask.site, world.ask.after
    for factor in sorted((f for f in registry.factors if f.site == site), key=lambda f: (f.point, f.factor)):
        prefix = f"{factor.point}/{factor.factor}/"
        if after and prefix < after and not after.startswith(prefix):
            continue
        table = history.series(site, factor.point, factor.factor, start, end, "hour")
        newest = {row["time"]: row for row in table.to_pylist() if row["stat"] == "avg"}
        for time in sorted(newest):
            row = newest[time]
            told = {"site": site, "point": factor.point, "factor": factor.factor, "time": format_time(time)}
            told |= {name: row[name] for name in ("value", "flag", "quality", "revision")} | {"unit": factor.wire_unit}
            yield f"{prefix}{time:015d}", _named(registry, told)


_WORDS = ("reason_zh", "reason_en")
_BY_PEOPLE = ("finding", "conclusion", "assignee", "opened_by")
"""Persons, and what people wrote about them."""
_CASE = (
    *("number", "site", "level", "state", "state_zh", "state_en", "type", "point", "opened", "since", "due", "overdue", "closed"),
    *("verdict", "grade", "probability", "lead_withdrawn", *_WORDS, *_BY_PEOPLE),
)
_ALERT = (
    *("id", "rule", "family", "site", "point", "factor", "period", "level", "state", "active", "opened", "updated", "closed"),
    *("seen", "observed", "expected", "limit", "unit", "plan", *_WORDS),
)
_LEAD = (
    *("id", "type", "site", "point", "level", "state", "start", "end", "opened", "updated", "seen"),
    *("probability", "grade", "clause", "missing", "alerts", *_WORDS),
)
SOURCES: Mapping[str, Origin] = {
    "cases": Origin(
        (*_CASE, *SITE),
        frozenset(_BY_PEOPLE),
        ("state", "verdict"),
        _desk(
            cases,
            "opened",
            sa.select(cases, leads.c.body.label("lead_body")).join(leads, leads.c.id == cases.c.lead),
            matters.shown,
        ),
    ),
    "alerts": Origin(
        (*_ALERT, *SITE), frozenset(), ("state", "rule"), _desk(alerts, "seen", sa.select(alerts), alert_rows.shown)
    ),
    "leads": Origin((*_LEAD, *SITE), frozenset(), ("state", "type"), _desk(leads, "seen", sa.select(leads), _lead)),
    "limits": Origin((*_LIMIT_KEY, "limit", "valid_to", *SITE), frozenset(), (), _limits),
    "hours": Origin(
        ("site", "point", "factor", "time", "value", "unit", "flag", "quality", "revision", *SITE), frozenset(), (), _hours
    ),
}
"""`source` of a view → its rows. `seen` is the log time of the first version, by which alerts and leads are ordered."""
