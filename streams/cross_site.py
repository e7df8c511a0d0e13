"""The cross-site stage, first rule: whether the silence of many points is one common cause (rules C.2 false-positive guard).

A summary of the points newly found silent enters; an answer goes back to the sites as `context`, and only the site's owner
emits. The stage is pure and idempotent: the same summary gives the same answer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from streams.plan.load import CrossSite


class Summary(NamedTuple):
    """What one tick found: how many points each operator has, and the silent ones as (site, point) → operator."""

    now: int
    known: Mapping[str, int]
    silent: Mapping[tuple[str, str], str]


def answer(summary: Summary, rule: CrossSite) -> dict[tuple[str, str], str]:
    """Return the points whose silence has a common cause, each with the words that say so."""
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for point, operator in summary.silent.items():
        groups[operator].append(point)
    excused: dict[tuple[str, str], str] = {}
    for operator, points in sorted(groups.items()):
        known = Counter(summary.known)[operator]
        if len(points) >= rule.points and len(points) >= rule.share * known:
            name = operator or "—"
            words = f"{name} 的 {known} 个点位中 {len(points)} 个同时中断，疑为共同原因（网络或平台）"
            excused |= dict.fromkeys(sorted(points), words)
    return excused
