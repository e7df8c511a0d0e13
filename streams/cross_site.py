"""The cross-site stage, first rule: whether the silence of many points is one common cause (rules C.2 false-positive guard).

A summary of the points newly found silent enters; an answer goes back to the sites as `context`, and only the site's owner
emits. The stage is pure and idempotent: the same summary gives the same answer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from streams.plan.load import CrossSite


class Summary(NamedTuple):
    """What one tick found: how many points each operator has, and the silent ones as (site, point) → operator."""

    now: int
    known: Mapping[str, int]
    silent: Mapping[tuple[str, str], str]

    def to_json(self, partition: int, books: Mapping[str, int]) -> dict[str, Any]:
        """Return the message of topic `site-summaries`; `books` are the partition's counts up to this tick."""
        silent = [[site, point, operator] for (site, point), operator in self.silent.items()]
        return {"partition": partition, "tick": self.now, "known": dict(self.known), "silent": silent, "books": dict(books)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Summary:
        """Read such a message back."""
        return cls(int(body["tick"]), body["known"], {(site, point): operator for site, point, operator in body["silent"]})


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


class Stage:
    """The cross-site stage over all partitions: what each last reported, and whom an answer is still owed.

    `partitions` is how many there are; an answer waits until all have reached the tick it is about, at most `patience` seconds.
    """

    def __init__(self, partitions: int, rule: CrossSite, *, patience: float = 1.0) -> None:
        self._partitions, self._rule, self._patience = partitions, rule, patience
        self._latest: dict[int, Summary] = {}
        self._owed: dict[int, float] = {}

    def put(self, partition: int, summary: Summary, now: float) -> None:
        """Take a partition's report at `now` (s); a later one of the same partition replaces it."""
        self._latest[partition] = summary
        self._owed.pop(partition, None)
        if summary.silent:
            self._owed[partition] = now

    def answers(self, now: float) -> list[tuple[int, int, dict[tuple[str, str], str]]]:
        """Return (partition, tick, excused points) of every answer that is due at `now` (s)."""
        due = [p for p, since in self._owed.items() if now - since >= self._patience or self._all_at(self._latest[p].now)]
        return [(partition, self._latest[partition].now, self._answer(partition)) for partition in due if self._settle(partition)]

    def _settle(self, partition: int) -> bool:
        return self._owed.pop(partition, None) is not None

    def _all_at(self, tick: int) -> bool:
        return len(self._latest) >= self._partitions and all(summary.now >= tick for summary in self._latest.values())

    def _answer(self, partition: int) -> dict[tuple[str, str], str]:
        """Judge the tick of one partition by what all of them say of it, and keep what is its own."""
        own = self._latest[partition]
        known: Counter[str] = Counter()
        silent: dict[tuple[str, str], str] = {}
        for summary in self._latest.values():
            known.update(summary.known)
            silent |= summary.silent if summary.now == own.now else {}
        excused = answer(Summary(own.now, known, silent), self._rule)
        return {point: words for point, words in excused.items() if point in own.silent}
