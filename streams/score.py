"""Scoring: which rule looks at which rows, with which columns; detectors do the rest.

Observations and statutory values enter; `Scores` for the judge leave, rule by rule, each row with its log position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.catalog import CATALOG
from streams.judge import Scores
from streams.limit_index import LimitIndex
from streams.model import Float64, Int64
from streams.order import Observations
from streams.plan.load import MINUTE, Plan, Rule
from streams.rounds import run
from streams.screen import FAIL, GOOD
from streams.slab import Slab
from streams.state import State
from streams.windows.hour_day import RT, Due

OVER_RANGE = 0.98
"""Share of the measuring range from which a value counts as over it (rules A-DT-3)."""


class Scored(NamedTuple):
    """The scores of one rule, and the log position × 2 of each row."""

    rule: Rule
    scores: Scores
    at: Int64


class Columns(NamedTuple):
    """What an input name of a detector is looked up in, for the rows at hand."""

    rows: Observations
    channel: Int64
    state: State
    limits: LimitIndex
    rule: Rule


def _bounds(columns: Columns) -> tuple[Float64, Float64]:
    index = columns.state.index
    series = index.cell_series[columns.rows.cell]
    return index.low[series], index.high[series]


def _range(columns: Columns) -> tuple[Float64, Float64]:
    """Return the bounds of what can be; a value flagged T, whatever it says, lies over a range that it does not tell (A-DT-3)."""
    (low, high), value = _bounds(columns), columns.rows.value
    flagged = (columns.rows.quality == FAIL) & (low <= value) & (value <= high)
    under = value - np.where(value == 0.0, 1.0, (1.0 - OVER_RANGE) * np.abs(value))
    return np.where(flagged, np.nan, _finite(low)), np.where(flagged, under, _finite(high))


def _windows(rule: Rule, state: State) -> Float64:
    """Return the rule's window for each channel, in ms."""
    return state.index.by_factor(f"window:{rule.id}", lambda factor: rule.window(factor) * MINUTE)


def _finite(bound: Float64) -> Float64:
    return np.where(np.isfinite(bound), bound, np.nan)


INPUTS: dict[str, Callable[[Columns], Float64]] = {
    "value": lambda c: c.rows.value,
    "floor": lambda c: c.state.index.floor[c.channel],
    "window_ms": lambda c: _windows(c.rule, c.state)[c.channel],
    "usable": lambda c: (c.rows.quality == GOOD).astype(np.float64),
    "limit": lambda c: c.limits.at(c.channel.astype(np.int32), c.rows.time, period="hour")[1],
    "low": lambda c: _range(c)[0],
    "high": lambda c: _range(c)[1],
}
"""Input name of a detector of reading cadence → its column."""


def score_readings(rows: Observations, state: State, plan: Plan, limits: LimitIndex) -> Iterator[Scored]:
    """Run every rule of reading cadence over the released observations."""
    rows = rows.take(_preferred(rows, state))
    channel = state.index.cell_channel[rows.cell].astype(np.int64)
    for rule in plan.rules:
        if rule.cadence != "reading" or rule.scope != "series":
            continue
        mine = np.flatnonzero(_serves(rule, state)[channel])
        if rule.detector == "range":
            mine = mine[(rows.quality[mine] == GOOD) | (rows.quality[mine] == FAIL)]
        if not len(mine):
            continue
        part = rows.take(mine)
        columns = Columns(part, channel[mine], state, limits, rule)
        detector = CATALOG[rule.detector]
        with state.costs.of(rule.id, len(mine)):
            values = np.column_stack([INPUTS[name](columns) for name in detector.inputs])
            score, expected = run(detector, _slab(state, rule), part.cell, part.time, values)
        yield Scored(rule, Scores(part.cell, part.time, part.time, score, part.value, expected), part.at)


def _preferred(rows: Observations, state: State) -> NDArray[np.bool_]:
    """Keep real-time rows, and minute rows of channels that have sent no real-time value before: one alert a sensor, not two."""
    index, slab = state.index, state.slabs["channel"]
    channel = index.cell_channel[rows.cell].astype(np.int64)
    live = index.cell_role[rows.cell] == RT
    first = np.full(len(index.channels.names), np.iinfo(np.int64).max)
    np.minimum.at(first, channel[live], rows.at[live])
    known = slab.data["live"][channel] > 0
    new = channel[live & ~known]
    slab.data["live"][new] = 1
    slab.touch(new)
    kept: NDArray[np.bool_] = live | ~(known | (first[channel] < rows.at))
    return kept


def _slab(state: State, rule: Rule) -> Slab:
    """Return the rule's slab; a detector without memory gets one that is never stored."""
    name = f"rule:{rule.id}"
    return state.slabs[name] if name in state.slabs else Slab(name, CATALOG[rule.detector].record)


def _serves(rule: Rule, state: State) -> NDArray[np.bool_]:
    """Say for each channel whether the rule looks at it."""
    return state.index.by_factor(f"serves:{rule.id}", rule.serves) > 0


def score_windows(due: list[Due], state: State, plan: Plan, limits: LimitIndex) -> Iterator[Scored]:
    """Hold statutory values against the limits that were in force, basis by basis (rules B note 2)."""
    for part in due:
        low, high = limits.at(part.channel.astype(np.int32), part.start, period=part.cadence)
        limited = np.isfinite(low) | np.isfinite(high)
        for rule in plan.rules:
            if rule.cadence != part.cadence:
                continue
            rows = np.flatnonzero(limited & _serves(rule, state)[part.channel])
            detector = CATALOG[rule.detector]
            values = np.column_stack([part.value, low, high])[rows]
            with state.costs.of(rule.id, len(rows)):
                score, expected = detector.step(np.zeros(len(rows), detector.record), part.start[rows], values)
            scores = Scores(part.channel[rows], part.start[rows], part.end[rows], score, part.value[rows], expected)
            yield Scored(rule, scores, part.at[rows])
