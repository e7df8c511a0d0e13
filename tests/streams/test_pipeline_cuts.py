"""Promise 3: the same log gives the same outputs, however it is cut into batches."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.index import Facts, PointFacts, SeriesFacts
from streams.limit_index import LimitIndex
from streams.model import Readings, SeriesKey
from streams.pipeline import Batch, advance
from streams.plan import load_plan
from streams.plan.load import HOUR, MINUTE
from streams.registry_model import Registry
from streams.standards import national, plan_defaults
from streams.state import State

PLAN = load_plan()
START = 1_766_000_000_000 // HOUR * HOUR
FACTS = Facts(
    point=lambda _site, point: PointFacts(
        "water" if point.startswith("DW") else "gas", 6.0 if point == "DA002" else float("nan")
    ),
    series=lambda _site, _point, factor: SeriesFacts(*PLAN.ranges.get(factor, (-np.inf, np.inf))),
)


def day_of_traffic(seed: int, hours: int = 5) -> list[tuple[SeriesKey, int, float, int, int]]:
    """Rows (key, time, value, flag, arrived) of four points with exceedances, constants, steps, gaps, duplicates, late rows."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[SeriesKey, int, float, int, int]] = []
    points = [("S1", "DA001", "a21026"), ("S1", "DA002", "a21002"), ("S2", "DW001", "w01018"), ("S2", "DW001", "w00000")]
    for site, point, factor in points:
        level = 300.0 if factor.startswith("a") else 60.0
        for minute in range(0, hours * 60, 2):
            time = START + minute * MINUTE
            hour = minute // 60
            value = level * (2.0 if hour == 2 else 1.0) + float(rng.normal(0, level / 20))
            if hour == 3:
                value = level / 2
            flag = ord("D") if rng.random() < 0.03 else ord("N")
            arrived = time + 20_000 + int(rng.integers(0, 5000))
            if 200 <= minute < 240 and site == "S2":
                continue
            if rng.random() < 0.02:
                arrived += 50 * MINUTE
            row = (SeriesKey(site, point, factor, "realtime", "rtd"), time, round(value, 2), flag, arrived)
            rows += [row] * (2 if rng.random() < 0.05 else 1)
            if minute % 60 == 0 and minute:
                key = SeriesKey(site, point, factor, "hour", "avg")
                rows.append((key, time - HOUR, round(level * (2.1 if hour - 1 == 2 else 0.9), 2), ord("N"), arrived))
    return sorted(rows, key=lambda r: r[4])


def drive(rows: list[tuple[SeriesKey, int, float, int, int]], cuts: list[int]) -> tuple[State, list[tuple[str, str, dict]]]:
    state = State(PLAN, FACTS)
    registry = Registry()
    limits = LimitIndex(registry, national().with_defaults(plan_defaults(PLAN.replay_limits)), state.index.channels.names)
    outputs: list[tuple[str, str, dict]] = []
    edges = sorted({0, len(rows), *(c % (len(rows) + 1) for c in cuts)})
    frame = 0
    for start, end in pairwise(edges):
        part = rows[start:end]
        batch = Readings.of(
            [state.table.id(r[0]) for r in part],
            [r[1] for r in part],
            [r[2] for r in part],
            [r[3] for r in part],
            [r[4] for r in part],
            list(range(frame, frame + len(part))),
        )
        frame += len(part)
        outputs += advance(Batch(batch), state, PLAN, limits).bodies
    outputs += advance(Batch(Readings.empty(), tick=rows[-1][4] + 3 * HOUR), state, PLAN, limits).bodies
    return state, outputs


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_traffic_raises_what_was_put_in(seed: int) -> None:
    state, outputs = drive(day_of_traffic(seed), [])
    rules = {body["rule"] for kind, _site, body in outputs if kind == "alert"}
    assert {"exceed-hour", "silence"} <= rules
    fates = {k.split(".")[1]: v for k, v in state.books.items() if k.startswith("readings.")}
    assert sum(fates.values()) == len(day_of_traffic(seed))
    assert fates["duplicate"] > 0
    assert fates["late"] > 0


@given(st.integers(0, 50), st.lists(st.integers(0, 2000), max_size=12))
@settings(max_examples=25, deadline=None)
def test_any_cut_gives_the_same_outputs(seed: int, cuts: list[int]) -> None:
    rows = day_of_traffic(seed)
    whole, expected = drive(rows, [])
    state, got = drive(rows, cuts)
    assert got == expected
    assert state.books == whole.books
    for name, slab in whole.slabs.items():
        assert slab.data.tobytes() == state.slabs[name].data.tobytes(), name
