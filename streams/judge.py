"""The judge: scores become episodes, episodes become alerts. It never asks what a score means.

Scores enter one row an observation, in order for each member; changes of episodes leave (opened, level raised, closed).
An episode opens when the score has been over `enter` for `hold` observations and `on_delay`; it closes when the score has
stayed at or below `exit` (the deadband lies between exit and enter) for `off_delay`, so that chatter is one episode and not
twenty. A NaN score is bad quality: it neither raises nor clears (promise 5). All times are event times (promise 7).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.model import Float64, Int64
from streams.plan.load import HOUR, MINUTE, Rule

Members = NDArray[np.integer[Any]]
LEAST_LEVEL = 4


class Scores(NamedTuple):
    """Observations to judge, rows (n,) in order: member, start and end of the observation (ms UTC), score and figures."""

    member: Members
    start: Int64
    end: Int64
    score: Float64
    observed: Float64
    expected: Float64


@dataclass(slots=True)
class Episode:
    """One run of a score over its limit. `start` fixes the identity; `cleared` is when it first fell back, 0 while over.

    `run` is where the newest unbroken stretch of windows began: an hour that nobody could judge lies in no row (promise 5).
    """

    start: int
    last: int
    peak: float
    observed: float
    expected: float
    count: int = 1
    level: int = LEAST_LEVEL
    open: bool = False
    cleared: int = 0
    run: int = 0

    def grow(self, start: int, end: int, score: float, observed: float, expected: float) -> None:
        """Take in one more observation over the limit; the figures are those of the peak."""
        self.cleared = 0
        if end > start > self.last:
            self.run = start
        self.last = max(self.last, end)
        self.count += 1
        if score > self.peak:
            self.peak, self.observed, self.expected = score, observed, expected

    def to_json(self) -> dict[str, Any]:
        """Return the episode as plain values, for the state store."""
        return asdict(self)

    @staticmethod
    def from_json(body: dict[str, Any]) -> Episode:
        """Take an episode back from the state store."""
        return Episode(**body)


class Change(NamedTuple):
    """What the judge did to a member's episode (opened, raised or closed), the episode as it then was, and the row."""

    member: int
    kind: str
    episode: Episode
    row: int = -1


Episodes = dict[int, Episode]


def judge(rule: Rule, episodes: Episodes, scores: Scores) -> tuple[list[Change], list[int]]:
    """Move the episodes of one rule on by a batch of scores: changes in row order, and the members that were touched.

    Only rows that are over `enter`, or whose member has an episode, can change anything: the others never reach Python.
    """
    finite = np.isfinite(scores.score)
    hot = np.unique(scores.member[finite & (scores.score > rule.enter)]).tolist()
    members = sorted({*hot, *episodes})
    rows = np.flatnonzero(finite & np.isin(scores.member, np.array(members, np.int64)))
    columns = [c[rows].tolist() for c in scores]
    changes: list[Change] = []
    for row, member, *observation in zip(rows.tolist(), *columns, strict=True):
        change = _observe(rule, episodes, member, *observation)
        if change is not None:
            changes.append(change._replace(row=row, episode=replace(change.episode)))
    return changes, sorted(set(columns[0]))


def _observe(
    rule: Rule, episodes: Episodes, member: int, start: int, end: int, score: float, observed: float, expected: float
) -> Change | None:
    """Take one observation into account: begin, go on with or end the member's episode."""
    episode = episodes.get(member)
    if episode is None:
        if score > rule.enter:
            episodes[member] = episode = Episode(start, end, score, observed, expected)
            return _try_open(rule, member, episode)
        return None
    if score > (rule.exit if episode.open else rule.enter):
        episode.grow(start, end, score, observed, expected)
        return _raise(rule, member, episode) if episode.open else _try_open(rule, member, episode)
    if not episode.open:
        del episodes[member]
        return None
    return _fall_back(rule, episodes, member, episode, start)


def _try_open(rule: Rule, member: int, episode: Episode) -> Change | None:
    """Open a pending episode once hold and on-delay are served."""
    if episode.count < rule.hold or episode.last - episode.start < rule.on_delay_min * MINUTE:
        return None
    episode.open = True
    episode.level = level_of(rule, episode)
    return Change(member, "opened", episode)


def _raise(rule: Rule, member: int, episode: Episode) -> Change | None:
    """Tell it if the episode has become more severe."""
    level = level_of(rule, episode)
    if level >= episode.level:
        return None
    episode.level = level
    return Change(member, "raised", episode)


def _fall_back(rule: Rule, episodes: Episodes, member: int, episode: Episode, start: int) -> Change | None:
    """Close an open episode once its score has been back for the off-delay."""
    episode.cleared = episode.cleared or start
    if start - episode.cleared < rule.off_delay_min * MINUTE:
        return None
    del episodes[member]
    return Change(member, "closed", episode)


def level_of(rule: Rule, episode: Episode) -> int:
    """Level 1 (Ⅰ red) to 4 (Ⅳ blue) by the peak score and by hours in a row (rules F.1); the worse of the two."""
    hours = (episode.last - max(episode.run, episode.start)) / HOUR
    by_score = [level for least, level in rule.levels if episode.peak >= least]
    by_time = [level for least, level in rule.lasting if hours >= least]
    return min([LEAST_LEVEL, *by_score, *by_time])
