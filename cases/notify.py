"""Who is told what by mail, and when: rules, an event and an instant enter; addresses, or how many events go now, leave. Pure.

A person is told each event that a rule of theirs wants, once. What is not urgent waits through the quiet hours and is told in one
letter afterwards; of more events than a person may get letters in a span, all that wait go into one. Nothing is left out: what is
not told at once is told later, in order (promise 8).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from cases.clocks import CST

MINUTE = 60_000
DAY_MINUTES = 1440
LATER = " later"
"""Behind an address: the lane of what may wait. Urgent events have the lane with the bare address, so none waits behind another's."""
ALL = ("*",)


@dataclass(frozen=True, slots=True)
class Rule:
    """Tell `to` (addresses) events of these kinds, of `level` and more severe, of sites and districts that match (`*`, `?`, `[…]`).

    Case events have no level. `ends`: also tell that an alert's condition has ended.
    """

    to: tuple[str, ...]
    send: tuple[str, ...] = ("alert", "lead", "case-event")
    level: int = 4
    sites: tuple[str, ...] = ALL
    districts: tuple[str, ...] = ALL
    ends: bool = True

    def wants(self, kind: str, site: str, district: str, body: Mapping[str, Any]) -> bool:
        """Tell whether the rule is about this event."""
        return (
            kind in self.send
            and body.get("level", 0) <= self.level
            and _matches(site, self.sites)
            and _matches(district, self.districts)
            and (self.ends or kind != "alert" or bool(body.get("active")))
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules of one set of letters.

    `quiet` (start, end) in minutes of the day, China Standard Time, may pass midnight; `urgent`: alerts and leads of this level and more
    severe are never held by it; a person gets at most `most` letters in any `span` ms, urgent ones counted on their own.
    """

    rules: tuple[Rule, ...]
    quiet: tuple[int, int] | None = None
    urgent: int = 1
    most: int = 20
    span: int = 10 * MINUTE


class Step(NamedTuple):
    """What to do about the events that wait in a lane: send the first `tell` in one letter, or wait until `until` (ms UTC). `why`: the reason of both."""

    tell: int
    until: int
    why: str = ""
    why_zh: str = ""


def lanes(policy: Policy, kind: str, site: str, district: str, body: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the lanes that an event goes into: one for each person whom a rule wants to tell, in the order of the rules."""
    behind = "" if is_urgent(policy, kind, body) else LATER
    told = [address for rule in policy.rules if rule.wants(kind, site, district, body) for address in rule.to]
    return tuple(address + behind for address in dict.fromkeys(told))


def is_urgent(policy: Policy, kind: str, body: Mapping[str, Any]) -> bool:
    """Tell whether an event wakes people: a severe lead, or a severe alert whose condition holds."""
    return kind in ("alert", "lead") and body["level"] <= policy.urgent and body.get("active") is not False


def address_of(lane: str) -> str:
    """Return whom a lane belongs to.

    >>> address_of("duty@example.com later")
    'duty@example.com'
    """
    return lane.removesuffix(LATER)


def step(policy: Policy, lane: str, now: int, waiting: Sequence[int], sent: Iterable[int]) -> Step:
    """Decide about a lane: `waiting`, when each event came, oldest first (at least one); `sent`, when the last letters left; ms UTC."""
    if lane.endswith(LATER) and (ends := quiet_until(policy.quiet, now)):
        return Step(0, ends, f"held until {_clock(ends)}: quiet hours")
    recent = sorted(at for at in sent if now - at < policy.span)
    minutes = policy.span // MINUTE
    room = policy.most - len(recent)
    if room <= 0:
        until = recent[-policy.most] + policy.span
        return Step(0, until, f"held until {_clock(until)}: {policy.most} letters in {minutes} min")
    if lane.endswith(LATER) and quiet_until(policy.quiet, waiting[0]):
        return Step(len(waiting), now, "came in the quiet hours", "静默时段内到达")
    if len(waiting) > room:
        return Step(
            len(waiting), now, f"more than {policy.most} letters in {minutes} min", f"{minutes} 分钟内超过 {policy.most} 封"
        )
    return Step(1, now)


def quiet_until(quiet: tuple[int, int] | None, now: int) -> int:
    """Return when the quiet hours that `now` lies in end (ms UTC), 0 outside of them.

    >>> quiet_until((22 * 60, 7 * 60), 1795532400000)  # 2026-11-24T23:00+08:00
    1795561200000
    """
    if quiet is None:
        return 0
    minute = (now // MINUTE + 8 * 60) % DAY_MINUTES
    start, end = quiet
    inside = start <= minute < end if start < end else minute >= start or minute < end
    return (now // MINUTE + (end - minute) % DAY_MINUTES) * MINUTE if inside else 0


def quiet_hours(text: str) -> tuple[int, int] | None:
    """Read `22:00-07:00`; None for an empty text. Raises ValueError.

    >>> quiet_hours("22:00-07:30")
    (1320, 450)
    """
    if not text:
        return None
    start, _, end = text.partition("-")
    read = [datetime.strptime(part.strip(), "%H:%M").replace(tzinfo=CST) for part in (start, end)]
    found = (read[0].hour * 60 + read[0].minute, read[1].hour * 60 + read[1].minute)
    if found[0] == found[1]:
        raise ValueError(f"{text!r} begins when it ends")
    return found


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _clock(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, CST):%H:%M}"
