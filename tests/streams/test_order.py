"""Promise 3 within the waits: any order of arrival inside the wait ends in the same observations."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.model import Readings, SeriesKey
from streams.order import expire, release
from streams.plan import load_plan
from streams.plan.load import MINUTE
from streams.screen import screen
from streams.state import State

PLAN = load_plan()
START = 1_766_000_040_000
KEY = SeriesKey("S1", "DA001", "a21026", "realtime", "rtd")


def fed(arrivals: list[tuple[int, int]]) -> list[int]:
    """Feed (event minute, arrival minute) one record at a time; return the event minutes in the order detectors see them."""
    state = State(PLAN)
    state.table.id(KEY)
    state.grow()
    seen: list[int] = []
    for minute, arrived in arrivals:
        rows = Readings.of([0], [START + minute * MINUTE], [float(minute)], [ord("N")], [START + arrived * MINUTE], [0])
        screened = screen(rows, state, PLAN)
        seen += release(screened, screened.fate == 0, state, PLAN).value.astype(int).tolist()
    end = np.array([START + (arrivals[-1][1] + 60) * MINUTE])
    return seen + expire(state, PLAN, end, 0).value.astype(int).tolist()


def test_an_orderly_stream_never_waits() -> None:
    state = State(PLAN)
    state.table.id(KEY)
    state.grow()
    for minute in range(20):
        rows = Readings.of([0], [START + minute * MINUTE], [float(minute)], [0], [START + minute * MINUTE], [0])
        screened = screen(rows, state, PLAN)
        assert release(screened, screened.fate == 0, state, PLAN).value.tolist() == [float(minute)]


def test_a_gap_is_waited_for_and_filled() -> None:
    start = [(m, m) for m in range(6)]
    assert fed([*start, (7, 7), (6, 8), (8, 8)]) == list(range(9))


def test_a_wait_that_expires_lets_the_rest_go_and_is_not_repeated() -> None:
    start = [(m, m) for m in range(6)]
    assert fed([*start, (7, 7), (8, 8), (9, 9), (10, 10)]) == [0, 1, 2, 3, 4, 5, 7, 8, 9, 10]
    assert fed([*start, (7, 7), (8, 8), (9, 9), (10, 10), (6, 11), (12, 12)]) == [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12]


@given(st.lists(st.integers(0, 1), min_size=30, max_size=30))
def test_disorder_within_the_wait_changes_nothing(delays: list[int]) -> None:
    start = [(m, m) for m in range(10)]
    rest = sorted(((m, m + delays[m - 10]) for m in range(10, 40)), key=lambda r: r[1])
    assert fed([*start, *rest]) == list(range(40))
