"""Silence: points that stopped sending, judged on ticks and on return; and the pause of the platform itself.

Log time enters; scores and suspects leave. A point found silent waits one tick for the cross-site stage to say whether the
cause is common (rules C.2); a point that speaks again before anybody noticed is judged from the reading that ended the gap.
When log time itself stood still (the platform was stopped), nobody was silent: the pause is added to every last arrival.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from detectors.catalog import CATALOG
from detectors.core import SilenceDetector
from streams.cross_site import Summary
from streams.index import PERIOD_CODE
from streams.judge import Scores
from streams.model import Int64
from streams.plan.load import MINUTE, Plan, Rule
from streams.rounds import run
from streams.score import Scored
from streams.screen import REFUSED, Screened
from streams.state import State


def silence_rules(plan: Plan) -> Iterator[tuple[Rule, SilenceDetector]]:
    """Yield the rules of point scope whose detector judges silence."""
    for rule in plan.rules:
        detector = CATALOG[rule.detector]
        if rule.scope == "point" and isinstance(detector, SilenceDetector):
            yield rule, detector


def returned(screened: Screened, state: State, plan: Plan) -> Iterator[Scored]:
    """Score the silence that these rows end, one row a (point, record); a second row of score 0 closes the episode."""
    index = state.index
    series = screened.rows.series
    live = np.flatnonzero((screened.fate != REFUSED) & (index.period[series] <= PERIOD_CODE["minute"]))
    key = screened.rows.frame[live].astype(np.int64) * (len(index.points.names) + 1) + index.point[series[live]]
    _, first = np.unique(key, return_index=True)
    for part in _cut_at_pauses(live[np.sort(first)], screened, state, plan):
        for rule, detector in silence_rules(plan):
            yield _returned(part, rule, detector, screened, state)


def _returned(every: Int64, rule: Rule, detector: SilenceDetector, screened: Screened, state: State) -> Scored:
    """Score the arrivals `every` (row numbers) by one rule."""
    index = state.index
    slab = state.slabs[f"rule:{rule.id}"]
    slab.rows(len(index.points.names))
    points = index.point[screened.rows.series[every]].astype(np.int64)
    chosen = _first_of_minute(points, screened.clock[every], slab.data["last"])
    rows, point = every[chosen], points[chosen]
    clock, time = screened.clock[rows], screened.rows.time[rows]
    since = slab.data["last"][point].copy()
    values = np.column_stack([1000.0 * index.point_interval[point], clock.astype(np.float64)])
    with state.costs.of(rule.id, len(rows)):
        score, expected = run(detector, slab, point, time, values)
    since = np.maximum(since, _previous(point, clock))
    over = score > rule.enter
    back = over | np.isin(point, np.fromiter(state.episodes[rule.id], np.int64))
    for number in np.unique(point).tolist():
        state.suspects.pop(number, None)
    scores = Scores(point, since, clock, score, score, expected)
    return _out_and_back(rule, rows, np.flatnonzero(over), np.flatnonzero(back), scores)


def _cut_at_pauses(every: Int64, screened: Screened, state: State, plan: Plan) -> Iterator[Int64]:
    """Cut arrivals where log time stood still since the last tick: what arrives first after a stop of the platform ends no silence."""
    log_time = np.maximum.accumulate(screened.rows.arrived)[every]
    while state.tick and len(after := np.flatnonzero(log_time - state.tick > _longest(plan))):
        yield every[: after[0]]
        _resume(state, plan, int(log_time[after[0]]))
        every, log_time = every[after[0] :], log_time[after[0] :]
    yield every


def forgive(state: State, plan: Plan) -> None:
    """Count no silence up to each site's log time: nobody listened between the last of the log and what comes now."""
    clock = state.slabs["sites"].data["clock"]
    for rule, _detector in silence_rules(plan):
        slab = state.slabs[f"rule:{rule.id}"]
        site = state.index.point_site[: len(slab)]
        slab.data["last"] = np.where(slab.data["last"] > 0, np.maximum(slab.data["last"], clock[site]), 0)
        slab.touch(np.arange(len(slab)))


def _longest(plan: Plan) -> int:
    """Return the distance between ticks, ms, from which log time stood still."""
    return (1 + plan.time.pause_min) * MINUTE


def _resume(state: State, plan: Plan, now: int) -> None:
    """Add the pause of the platform that ends at log time `now` to every last arrival; the next tick is due a minute later."""
    pause = now - state.tick - MINUTE
    for rule, _detector in silence_rules(plan):
        slab = state.slabs[f"rule:{rule.id}"]
        last = slab.data["last"]
        slab.data["last"] = np.where(last > 0, np.minimum(last + pause, now), last)
        slab.touch(np.arange(len(slab)))
    state.tick = now - MINUTE


def _out_and_back(rule: Rule, rows: Int64, over: Int64, back: Int64, scores: Scores) -> Scored:
    """Interleave: for each reading the silence that it ended, then a score of 0 that closes the episode."""
    order = np.argsort(np.concatenate([2 * over, 2 * back + 1]), kind="stable")
    which = np.concatenate([over, back])[order]
    calm = order >= len(over)
    score = np.where(calm, 0.0, scores.score[which])
    start = np.where(calm, scores.end[which], scores.start[which])
    return Scored(
        rule,
        Scores(scores.member[which], start, scores.end[which], score, score, scores.expected[which]),
        2 * rows[which],
    )


def _first_of_minute(point: Int64, clock: Int64, last: Int64) -> Int64:
    """Return the rows that are the first of their point in a minute of log time: silence is not finer, and rounds are fewer."""
    before = np.maximum(_previous(point, clock), last[point])
    return np.flatnonzero(clock // MINUTE > before // MINUTE)


def _previous(point: Int64, clock: Int64) -> Int64:
    """Return the clock of the point's row before, 0 for its first row of the batch."""
    order = np.argsort(point, kind="stable")
    same = np.concatenate([[False], point[order][1:] == point[order][:-1]]) if len(point) else np.zeros(0, np.bool_)
    before = np.where(same, np.concatenate([[0], clock[order][:-1]]), 0) if len(point) else clock
    out = np.empty_like(clock)
    out[order] = before
    return out


def tick(state: State, plan: Plan, now: int | Int64, at: int) -> Iterator[Scored]:
    """Judge silence at log time `now` (one time, or one a site): suspects of the last tick that are still silent are scored, new ones noted."""
    if state.tick and int(np.max(now)) - state.tick > _longest(plan):
        _resume(state, plan, int(np.max(now)))
    for rule, detector in silence_rules(plan):
        slab = state.slabs[f"rule:{rule.id}"]
        by_point = np.broadcast_to(now, len(state.index.sites.names))[state.index.point_site[: len(slab)]]
        with state.costs.of(rule.id, len(slab)):
            score = detector.tick(slab.data, by_point)
        silent = np.flatnonzero(score > rule.enter)
        ripe = np.array([p for p in silent.tolist() if p in state.suspects and p not in state.episodes[rule.id]], np.int64)
        known = np.array([p for p in silent.tolist() if p in state.episodes[rule.id]], np.int64)
        rows = np.concatenate([ripe, known])
        since = slab.data["last"][rows]
        yield Scored(
            rule,
            Scores(rows, since, by_point[rows], score[rows], score[rows], np.full(len(rows), np.nan)),
            np.full(len(rows), at, np.int64),
        )
        state.suspects = {p: int(slab.data["last"][p]) for p in silent.tolist() if p not in state.episodes[rule.id]}
    state.tick = int(np.max(now))


def summary(state: State, now: int | Int64) -> Summary:
    """Tell the cross-site stage which points are suspected, and how many points each operator has."""
    facts, names = state.index.point_facts, state.index.points.names
    known = Counter(f.operator for f in facts)
    return Summary(int(np.max(now)), known, {names[p]: facts[p].operator for p in sorted(state.suspects)})
