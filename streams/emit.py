"""From scores to outputs: judged rule by rule, put back into log order, numbered by site, weighed into leads.

Scores of a batch enter; (kind, site, body) leave in an order that does not depend on how the log was cut into batches.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from streams import leads
from streams.alerts import alert_body
from streams.identity import rfc3339
from streams.judge import Change, judge
from streams.limit_index import LimitIndex
from streams.plan.load import HOUR, Plan, Rule
from streams.score import Scored
from streams.screen import Screened
from streams.state import State

Body = tuple[str, str, dict[str, Any]]


class Judged(NamedTuple):
    """A change of an episode, the rule that saw it, and its log position × 2."""

    at: int
    rule: Rule
    change: Change


def judge_all(scored: Iterable[Scored], state: State) -> list[Judged]:
    """Judge every rule's scores, and put the changes in the order of the log."""
    found: list[tuple[int, Judged]] = []
    for number, (rule, scores, at) in enumerate(scored):
        changes, touched = judge(rule, state.episodes[rule.id], scores)
        for member in touched:
            state.dirty_episode(rule.id, member)
        found += [(number, Judged(int(at[change.row]), rule, change)) for change in changes]
    return [judged for _number, judged in sorted(found, key=lambda f: (f[1].at, f[0]))]


def emit(judged: Iterable[Judged], state: State, plan: Plan, limits: LimitIndex, screened: Screened | None) -> list[Body]:
    """Write the changes as alerts, weigh them into leads, and give each output its site's next sequence."""
    bodies: list[Body] = []
    for at, rule, change in judged:
        body = alert_body(rule, change, state, plan, limits)
        site = body["site"]
        updated = rfc3339(_log_time(at, site, state, screened))
        bodies.append(("alert", site, body | {"updated": updated, "seq": state.next_seq(site)}))
        if change.kind == "opened":
            state.books["alerts"] += 1
            state.books[f"alerts.{rule.id}.{body['level']}"] += 1
        windows = state.windows.setdefault(site, [])
        known = {w.id for w in windows}
        grown = list(leads.weigh(plan, windows, site, body, change.episode.start))
        bodies += [("lead", site, lead | {"updated": updated, "seq": state.next_seq(site)}) for lead in grown]
        for lead in grown:
            if lead["id"] not in known:
                state.books["leads"] += 1
                state.books[f"leads.{lead['type']}.{lead['level']}"] += 1
        state.dirty_windows(site)
        if rule.scope == "point" and change.kind == "closed":
            state.excused.pop(change.member, None)
    return bodies


def _log_time(at: int, site: str, state: State, screened: Screened | None) -> int:
    """Return the log time of a position: of its row, or (a tick comes after all rows) of the site."""
    row = (at + 1) // 2
    if screened is not None and row < len(screened.clock):
        return int(screened.clock[row])
    return int(state.slabs["sites"].data["clock"][state.index.sites.ids[site]])


def forget_windows(state: State, plan: Plan, now: int) -> None:
    """Drop lead windows that no alert can join any more."""
    span = max((int(rule.window_h * HOUR) for rule in plan.leads), default=0)
    for site, windows in state.windows.items():
        before = len(windows)
        leads.forget(windows, now, span)
        if len(windows) != before:
            state.dirty_windows(site)
