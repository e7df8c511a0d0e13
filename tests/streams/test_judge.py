"""Scores into episodes: enter, hold, exit, delays, deadband, chatter, levels (ISA-18.2 terms; rules F.1)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.judge import Episode, Scores, judge
from streams.plan.load import HOUR, MINUTE, Rule
from tests.streams.driven import T0

NAN = float("nan")


def rule(**more) -> Rule:
    return Rule("r", "limit", "limits", "reading", "", "", "", **more)


def run(rule: Rule, scores: list[float], *, cuts=(), step: int = MINUTE, span: int = 0, start: int = 0):
    """Judge one member's scores, one each `step`; return (kind, start, last, level) with times in steps, and the episodes."""
    episodes: dict[int, Episode] = {}
    told = []
    edges = sorted({0, len(scores), *(c for c in cuts if c < len(scores))})
    for first, end in pairwise(edges):
        at = T0 + step * (start + np.arange(first, end))
        part = np.array(scores[first:end])
        changes, _ = judge(rule, episodes, Scores(np.zeros(len(part), np.int64), at, at + span, part, part, part * 0))
        told += [(c.kind, (c.episode.start - T0) // step, (c.episode.last - T0) // step, c.episode.level) for c in changes]
    return told, episodes


def test_it_is_open_above_the_limit_and_not_at_it() -> None:
    assert run(rule(), [0.5, 1.0])[0] == []
    assert run(rule(), [0.5, 1.0, 1.0001, 1.0])[0] == [("opened", 2, 2, 4), ("closed", 2, 2, 4)]


def test_hold_wants_so_many_in_a_row() -> None:
    assert run(rule(hold=3), [2, 2, 0, 2, 2, 2])[0] == [("opened", 3, 5, 4)]


def test_the_on_delay_is_not_part_of_the_start() -> None:
    assert run(rule(on_delay_min=3), [2, 2, 2])[0] == []
    assert run(rule(on_delay_min=3), [2, 2, 2, 2])[0] == [("opened", 0, 3, 4)]
    assert run(rule(on_delay_min=3), [2, 2, 2, 0, 2, 2, 2])[0] == []


def test_the_off_delay_makes_chatter_one_episode() -> None:
    chatter = [2, 0, 2, 0, 0, 2, 0, 0, 0, 0]
    assert run(rule(off_delay_min=3), chatter)[0] == [("opened", 0, 0, 4), ("closed", 0, 5, 4)]
    assert [kind for kind, *_ in run(rule(), chatter)[0]] == ["opened", "closed"] * 3


def test_the_deadband_keeps_an_episode_open_and_opens_none() -> None:
    band = rule(enter=1.0, exit=0.8)
    assert run(band, [0.9, 0.9])[0] == []
    assert run(band, [1.1, 0.9, 0.85, 0.8])[0] == [("opened", 0, 0, 4), ("closed", 0, 2, 4)]


def test_levels_rise_and_never_fall() -> None:
    steps = rule(levels=((0.0, 3), (1.5, 2), (2.0, 1)))
    assert run(steps, [1.1, 1.49, 1.5, 1.2, 2.0, 1.1])[0] == [("opened", 0, 0, 3), ("raised", 0, 2, 2), ("raised", 0, 4, 1)]
    assert run(steps, [2.5])[0] == [("opened", 0, 0, 1)]


HOURS = rule(levels=((0.0, 3),), lasting=((2.0, 2), (6.0, 1)))


def test_hours_in_a_row_raise_the_level() -> None:
    told, _ = run(HOURS, [1.1] * 6, step=HOUR, span=HOUR)
    assert told == [("opened", 0, 1, 3), ("raised", 0, 2, 2), ("raised", 0, 6, 1)]


def test_hours_that_nobody_could_judge_are_not_hours_in_a_row() -> None:
    told, episodes = run(HOURS, [1.1, NAN, NAN, NAN, NAN, NAN, 1.1], step=HOUR, span=HOUR)
    assert told == [("opened", 0, 1, 3)]
    assert (episodes[0].last - episodes[0].start) // HOUR == 7
    assert run(HOURS, [1.1, NAN, 1.1, 1.1], step=HOUR, span=HOUR)[0][1:] == [("raised", 0, 4, 2)]


def test_a_closed_episode_begins_anew() -> None:
    told, _ = run(HOURS, [1.1, 1.0, 1.1], step=HOUR, span=HOUR)
    assert told == [("opened", 0, 1, 3), ("closed", 0, 1, 3), ("opened", 2, 3, 3)]


def test_figures_are_those_of_the_peak() -> None:
    _, episodes = run(rule(), [1.1, 3.0, 1.2])
    assert (episodes[0].peak, episodes[0].observed) == (3.0, 3.0)


def test_members_do_not_meet() -> None:
    episodes: dict[int, Episode] = {}
    at = np.full(3, T0)
    scores = np.array([2.0, 0.0, 2.0])
    changes, touched = judge(rule(), episodes, Scores(np.array([7, 8, 9]), at, at, scores, scores, scores))
    assert [(c.member, c.row) for c in changes] == [(7, 0), (9, 2)]
    assert sorted(episodes) == touched == [7, 9]


def test_a_change_is_a_copy() -> None:
    episodes: dict[int, Episode] = {}
    for score in (1.1, 3.0):
        one = np.array([score])
        changes, _ = judge(rule(), episodes, Scores(np.zeros(1, np.int64), np.array([T0]), np.array([T0]), one, one, one))
        if changes:
            opened = changes[0].episode
    assert opened.peak == 1.1


def test_an_episode_survives_as_plain_values() -> None:
    _, episodes = run(rule(), [1.1, 3.0])
    assert Episode.from_json(episodes[0].to_json()) == episodes[0]


SCORES = st.lists(st.sampled_from([0.0, 0.9, 1.0, 1.1, 1.6, 2.5]), max_size=40)
RULES = st.builds(
    rule,
    hold=st.integers(1, 3),
    exit=st.sampled_from([0.8, 1.0]),
    on_delay_min=st.sampled_from([0, 2]),
    off_delay_min=st.sampled_from([0, 3]),
    levels=st.just(((0.0, 3), (1.5, 2), (2.0, 1))),
)


@given(RULES, SCORES, st.lists(st.integers(0, 40), max_size=5))
def test_any_cut_judges_the_same(given_rule: Rule, scores: list[float], cuts: list[int]) -> None:
    assert run(given_rule, scores, cuts=cuts) == run(given_rule, scores)


@given(RULES, SCORES)
def test_every_episode_is_opened_once_and_closed_at_most_once(given_rule: Rule, scores: list[float]) -> None:
    told, _ = run(given_rule, scores)
    by_start: dict[int, list[str]] = {}
    for kind, start, *_ in told:
        by_start.setdefault(start, []).append(kind)
    for kinds in by_start.values():
        assert kinds[0] == "opened"
        assert kinds[1:] == ["raised"] * (len(kinds) - 1 - ("closed" in kinds)) + ["closed"] * ("closed" in kinds)
    assert all(scores[start] > given_rule.enter for start in by_start)


@given(RULES, SCORES, st.data())
@pytest.mark.filterwarnings("error")
def test_scores_of_bad_quality_change_nothing(given_rule: Rule, scores: list[float], data: st.DataObject) -> None:
    """Promise 5: rows without a judgement, as many as one likes, in between."""
    clean = run(given_rule, scores)
    episodes: dict[int, Episode] = {}
    told = []
    for i, score in enumerate(scores):
        bad = data.draw(st.integers(0, 2))
        at = np.array([T0 + i * MINUTE + s * 1000 for s in range(-bad, 1)])
        column = np.array([NAN] * bad + [score])
        changes, _ = judge(given_rule, episodes, Scores(np.zeros(bad + 1, np.int64), at, at, column, column, column * 0))
        told += [(c.kind, (c.episode.start - T0) // MINUTE, (c.episode.last - T0) // MINUTE, c.episode.level) for c in changes]
    assert (told, episodes) == clean
