"""Deadlines: a start, a level and a table of spans go in; an instant, a colour and a remainder come out. No clock inside.

Every span names its unit. `hours` run on the clock. `calendar_days` and `working_days` begin with the day after the start and end
at 24:00 China Standard Time of the last day (民法典 arts. 201 and 203; 0 days = the end of the same day); a span that `rolls` and ends
on a day off ends on the next working day (民法典 art. 203). Working days leave out weekends and public holidays and include the
weekend days worked in exchange (`calendar.csv`, from the yearly notice of the State Council; a year that is not in the file has
weekends only). Nothing pauses a deadline. Sources of the figures: rules F.1, F.2.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from importlib.resources import files
from typing import Literal

CST = timezone(timedelta(hours=8))
HOUR = 3_600_000
DAY = 24 * HOUR
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def parse_time(text: str) -> int:
    """Return the ms UTC of an RFC 3339 time; a time without an offset is a ValueError.

    >>> parse_time("2026-03-01T08:00:00+08:00")
    1772323200000
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset: write it as 2026-03-01T08:00:00+08:00")
    return (moment - _EPOCH) // _MS


def format_time(ms: int | None) -> str | None:
    """Return an instant as RFC 3339 in China Standard Time (null stays null).

    >>> format_time(1772323200000)
    '2026-03-01T08:00:00+08:00'
    """
    if ms is None:
        return None
    return (_EPOCH + ms * _MS).astimezone(CST).isoformat(timespec="milliseconds" if ms % 1000 else "seconds")


def year_of(ms: int) -> int:
    """Return the calendar year in China Standard Time."""
    return (_EPOCH + ms * _MS).astimezone(CST).year


@dataclass(frozen=True, slots=True)
class Calendar:
    """Public holidays, and the weekend days worked in exchange."""

    holidays: frozenset[date] = frozenset()
    worked: frozenset[date] = frozenset()

    def works(self, day: date) -> bool:
        """Say whether `day` is a working day."""
        return day in self.worked or (day.weekday() < 5 and day not in self.holidays)


@cache
def calendar() -> Calendar:
    """Return the calendar that the package carries."""
    rows = list(csv.DictReader(files("cases").joinpath("calendar.csv").read_text("utf-8").splitlines()))
    days = {kind: frozenset(date.fromisoformat(r["date"]) for r in rows if r["kind"] == kind) for kind in ("holiday", "worked")}
    return Calendar(days["holiday"], days["worked"])


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time with its unit; `rolls`: a last day off moves to the next working day."""

    amount: int
    unit: Literal["hours", "calendar_days", "working_days"]
    rolls: bool = False


def due(start: int, span: Span, days: Calendar | None = None) -> int:
    """Return when `span` from `start` ends, in ms UTC.

    >>> format_time(due(parse_time("2026-09-30T10:00:00+08:00"), Span(1, "working_days")))  # National Day lies between
    '2026-10-09T00:00:00+08:00'
    """
    if span.unit == "hours":
        return start + span.amount * HOUR
    known = days or calendar()
    day = (_EPOCH + start * _MS).astimezone(CST).date()
    if span.unit == "calendar_days":
        day += timedelta(days=span.amount)
        while span.rolls and not known.works(day):
            day += timedelta(days=1)
    else:
        left = span.amount
        while left > 0:
            day += timedelta(days=1)
            left -= known.works(day)
    end = datetime(day.year, day.month, day.day, tzinfo=CST) + timedelta(days=1)
    return (end - _EPOCH) // _MS


RESPOND: Mapping[int, Span] = {1: Span(1, "hours"), 2: Span(4, "hours"), 3: Span(8, "hours"), 4: Span(24, "hours")}
"""Acknowledge an alert within (rules F.1), by level."""

CLOSE: Mapping[int, Span] = {1: Span(24, "hours"), 2: Span(48, "hours"), 3: Span(3, "calendar_days"), 4: Span(5, "calendar_days")}
"""Close an alert within (rules F.1), by level."""

DECIDE_LEAD = Span(24, "hours")
"""Decide on a lead within (rules F.2)."""

SHELVE_LIMIT = 24 * HOUR
"""No alert is shelved longer (OPC UA part 9 `MaxTimeShelved`; ISA-18.2)."""

_CHECK: Mapping[int, Span] = {1: Span(2, "hours"), 2: Span(24, "hours"), 3: Span(3, "calendar_days"), 4: Span(3, "calendar_days")}


@dataclass(frozen=True, slots=True)
class Deadline:
    """How long a case may stay in a state, by level, and from when it is counted."""

    spans: Mapping[int, Span] = field(hash=False)
    since: Literal["state", "opened"] = "state"


CASE_DEADLINES: Mapping[str, Deadline | None] = {
    "open": Deadline(dict.fromkeys(range(1, 5), Span(0, "calendar_days"))),  # dispatched on the same day, rules F.2
    "dispatched": Deadline(_CHECK),  # checked on site, rules F.2
    "verified": Deadline(dict.fromkeys(range(1, 5), Span(15, "calendar_days", rolls=True)), "opened"),  # 立案, 令30号(2023)
    "closed": None,
}
"""Deadline of each state of a case (rules F.2)."""


def case_due(state: str, level: int, since: int, opened: int) -> int | None:
    """Return when a case must have left `state`; null where it may stay."""
    rule = CASE_DEADLINES[state]
    return None if rule is None else due(since if rule.since == "state" else opened, rule.spans[level])


def clock(due_at: int | None, now: int) -> dict[str, object] | None:
    """Return a deadline as pages show it: due, overdue, remaining seconds, and its colour (yellow: < 24 h left; rules F.2)."""
    if due_at is None:
        return None
    left = due_at - now
    colour = "red" if left < 0 else "yellow" if left < DAY else "green"
    return {"due": format_time(due_at), "overdue": left < 0, "remaining_s": left // 1000, "colour": colour}
