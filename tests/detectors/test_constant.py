from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.constant import Constant

MINUTE = 60_000
START = 1_767_225_600_000
NAN = float("nan")


def scores(rows, *, floor=NAN, window=60 * MINUTE):
    """rows: (minute, value) or (minute, value, usable); returns one score a row."""
    detector, out = Constant(), []
    state = np.zeros(1, detector.record)
    for minute, value, *usable in rows:
        values = np.array([[value, floor, window, usable[0] if usable else 1.0]])
        score, expected = detector.step(state, np.array([START + minute * MINUTE]), values)
        assert np.isnan(expected[0])
        out.append(score[0])
    return np.array(out)


def test_a_run_grows_to_its_limit():
    got = scores([(m, 12.5) for m in range(62)])
    assert got[:3].tolist() == [0.0, 0.0, 0.0]
    assert got[3] == pytest.approx(3 / 60)
    assert got[60] == 1.0
    assert got[61] > 1.0


def test_hours_four_alike():
    assert scores([(60 * h, 3.0) for h in range(5)], window=180 * MINUTE)[3] == 1.0


def test_long_but_few_is_no_run():
    assert scores([(0, 5.0), (55, 5.0), (110, 5.0)]).tolist() == [0.0, 0.0, 0.0]


def test_another_value_breaks_the_run():
    got = scores([*((m, 12.5) for m in range(60)), (60, 12.6), *((m, 12.5) for m in range(61, 70))])
    assert got.max() < 1.0
    assert got[60] == 0.0
    assert got[64] == pytest.approx(3 / 60)


def test_the_last_digit_counts():
    assert scores([(m, 12.5 + (m % 2) * 1e-9) for m in range(100)]).max() == 0.0


def test_at_or_below_the_detection_limit_is_exempt_and_ends_the_run():
    assert scores([(m, 0.5) for m in range(100)], floor=0.5).max() == 0.0
    got = scores([*((m, 2.0) for m in range(50)), (50, 0.4), *((m, 2.0) for m in range(51, 70))], floor=0.5)
    assert got[49] > 0.8
    assert got[50:54].tolist() == [0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("gap", [(30, NAN), (30, 99.0, 0.0), (30, np.inf)])
def test_an_unusable_value_neither_grows_nor_breaks(gap):
    got = scores([*((m, 12.5) for m in range(30)), gap, *((m, 12.5) for m in range(31, 62))])
    assert np.isnan(got[30])
    assert got[61] > 1.0


def test_time_going_back_is_ignored():
    got = scores([*((m, 12.5) for m in range(10)), (3, 44.0), (9, 44.0), *((m, 12.5) for m in range(10, 62))])
    assert np.isnan(got[10:12]).all()
    assert got[-1] > 1.0


def test_a_gap_longer_than_the_window_breaks_the_run():
    got = scores([*((m, 12.5) for m in range(10)), *((m, 12.5) for m in range(10 + 61, 90))])
    assert got.max() < 0.5


@pytest.mark.parametrize("window", [NAN, 0.0, -1.0])
def test_without_a_window_it_cannot_say(window):
    assert np.isnan(scores([(m, 1.0) for m in range(5)], window=window)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(-1440, 1440), st.floats(1.0, 1e6))
def test_when_and_how_large_does_not_matter(minutes, value):
    plain = scores([(m, 7.0) for m in range(70)])
    moved = scores([(m + minutes, value) for m in range(70)])
    assert plain.tobytes() == moved.tobytes()
