"""Alerts: a change of an episode becomes the body that people read.

A judge's change enters; the alert's body leaves, with figures, the limit that held, a reason in two languages and the plan's
hash. The id is the content id of [rule, series, episode start], so a replay upserts and never doubles.
"""

from __future__ import annotations

import csv
import math
from functools import cache
from pathlib import Path
from typing import Any

from streams.identity import content_id, rfc3339
from streams.judge import Change, Episode
from streams.limit_index import LimitIndex
from streams.plan.load import Plan, Rule
from streams.state import State
from streams.units import shown

FACTORS = Path(__file__).parent / "plan" / "factors.csv"
DEFAULT_SOURCE = ("默认限值", "default limit")
PERIOD_OF_ROLE = {1: "realtime", 3: "minute"}


@cache
def factor_names() -> dict[str, tuple[str, str, str]]:
    """Return factor code → (Chinese name, English name, usual unit) from HJ 212-2017 Annex B."""
    with FACTORS.open(encoding="utf-8", newline="") as lines:
        return {r["code"]: (r["name_zh"], r.get("name_en") or r["code"], r["unit"]) for r in csv.DictReader(lines)}


def alert_body(rule: Rule, change: Change, state: State, plan: Plan, limits: LimitIndex) -> dict[str, Any]:
    """Write the alert of a change; the per-site `seq` is given by the pipeline."""
    site, point, factor, period, channel = _place(rule, change.member, state)
    episode = change.episode
    found = limits.found(channel, episode.start, period=period) if rule.family == "limits" else None
    limit = _number(episode.expected) if rule.family == "limits" else None  # the bound that the peak was measured against
    words = _words(rule, episode, factor, limit, found.source if found else "", found.unit if found else "")
    closed = change.kind == "closed"
    return {
        "id": content_id(rule.id, f"{site}/{point}/{factor}/{period}", episode.start),
        "rule": rule.id,
        "family": rule.family,
        "site": site,
        "point": point,
        "factor": factor,
        "period": period,
        "level": episode.level,
        "active": not closed,
        "opened": rfc3339(episode.start),
        "closed": rfc3339(episode.last) if closed else None,
        "observed": _number(episode.observed),
        "expected": _number(episode.expected),
        "limit": limit,
        "unit": words["unit"],
        "score": _number(episode.peak),
        "reason_zh": rule.zh.format(**words, factor=words["factor_zh"], source=words["source_zh"]),
        "reason_en": rule.en.format(**words, factor=words["factor_en"], source=words["source_en"]),
        "plan": plan.hash,
        "folded": state.excused.get(change.member) if rule.scope == "point" else None,
    }


def _place(rule: Rule, member: int, state: State) -> tuple[str, str, str, str, int]:
    """Return site, point, factor, period and channel number of a rule's member."""
    index = state.index
    if rule.scope == "point":
        site, point = index.points.names[member]
        return site, point, "", "", -1
    if rule.cadence == "reading":
        channel = int(index.cell_channel[member])
        return (*index.channels.names[channel], PERIOD_OF_ROLE[int(index.cell_role[member])], channel)
    return (*index.channels.names[member], rule.cadence, member)


def _words(rule: Rule, episode: Episode, factor: str, limit: float | None, source: str, unit: str) -> dict[str, Any]:
    name_zh, name_en, usual = factor_names().get(factor, (factor, factor, ""))
    source_zh, source_en = DEFAULT_SOURCE if source == "plan" else (source or "—", source or "—")
    multiple = episode.observed / limit if limit else math.nan
    return {
        "factor_zh": name_zh,
        "factor_en": name_en,
        "observed": _text(episode.observed),
        "expected": _text(episode.expected),
        "limit": _text(limit if limit is not None else math.nan),
        "unit": shown(unit or (usual if rule.scope != "point" else "")),
        "multiple": _text(round(multiple, 2)),
        "source_zh": source_zh,
        "source_en": source_en,
        "minutes": round(episode.peak * rule.window(factor)),
        "last": rfc3339(episode.start),
    }


def _text(number: float) -> str:
    """Write a number as a person would: at most four significant decimals, no trailing zeros."""
    return "—" if not math.isfinite(number) else f"{number:.6g}"


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
