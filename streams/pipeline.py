"""The product on one page: readings → windows → alerts → leads. Pure: no I/O, no clock (design §2).

A segment of the log enters (readings, and at most one tick, which comes last); outputs leave, and `state` has moved on. The same
log gives the same outputs however it is cut (promise 3): every change is put back into log order before it is numbered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streams import silence
from streams.cross_site import Summary
from streams.emit import emit, forget_windows, judge_all
from streams.limit_index import LimitIndex
from streams.model import Int64, Readings
from streams.order import expire, release
from streams.plan.load import Plan
from streams.score import Scored, score_readings, score_windows
from streams.screen import ACCEPTED, Screened, epoch_of, screen
from streams.state import State
from streams.windows.hour_day import Closed, feed, pass_time


@dataclass(slots=True)
class Batch:
    """One segment of the log: readings in log order, what the cross-site stage answered, and the tick that ends it."""

    readings: Readings
    excused: Mapping[tuple[str, str], str] = field(default_factory=dict)
    tick: int | Int64 | None = None  # log time of all sites, or (in a replay) one time a site


@dataclass(slots=True)
class Outputs:
    """What a batch gave: (kind, site, body) in log order, fates of the readings, closed windows, the cross-site summary."""

    bodies: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    screened: Screened | None = None
    closed: list[Closed] = field(default_factory=list)
    summary: Summary | None = None


def advance(batch: Batch, state: State, plan: Plan, limits: LimitIndex) -> Outputs:
    """Take one batch through the product."""
    state.grow()
    out = Outputs()
    state.excuse(batch.excused)
    scored: list[Scored] = []
    if len(batch.readings):
        out.screened = screened = screen(batch.readings, state, plan)
        accepted = screened.fate == ACCEPTED
        windows = feed(screened, accepted, state, plan)
        out.closed += windows.closed
        scored += score_windows(windows.due, state, plan, limits)
        scored += score_readings(release(screened, accepted, state, plan), state, plan, limits)
        scored += silence.returned(screened, state, plan)
    if batch.tick is not None:
        scored += _tick(batch.tick, 2 * len(batch.readings), state, plan, limits, out)
    out.bodies = emit(judge_all(scored, state), state, plan, limits, out.screened)
    return out


def _tick(now: int | Int64, at: int, state: State, plan: Plan, limits: LimitIndex, out: Outputs) -> Iterator[Scored]:
    """Let log time reach `now` at every site: windows close, silence is judged, and the cross-site stage is asked."""
    sites = state.slabs["sites"]
    sites.data["clock"] = np.maximum(sites.data["clock"], now)
    sites.touch(np.arange(len(sites)))
    windows = pass_time(state, plan, np.arange(len(sites)), epoch_of(sites.data["clock"], plan), at)
    out.closed += windows.closed
    yield from score_windows(windows.due, state, plan, limits)
    yield from score_readings(expire(state, plan, sites.data["clock"], at), state, plan, limits)
    yield from silence.tick(state, plan, now, at)
    out.summary = silence.summary(state, now)
    state.seen.forget(int(np.min(now)))
    forget_windows(state, plan, int(np.max(now)))
