from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.limit import Limit
from detectors.range import Range
from detectors.scale import CAP

NAN = float("nan")
VALUE = st.floats(-1e9, 1e9)


def score(value, low, high, detector=None):
    detector = detector or Limit()
    values = np.array([[value, low, high]], np.float64)
    got, bound = detector.step(np.zeros(1, detector.record), np.zeros(1, np.int64), values)
    return got[0], bound[0]


@pytest.mark.parametrize(
    ("value", "low", "high", "want", "bound"),
    [
        (25.0, NAN, 50.0, 0.5, 50.0),
        (50.0, NAN, 50.0, 1.0, 50.0),
        (75.0, NAN, 50.0, 1.5, 50.0),
        (-5.0, NAN, 50.0, 0.0, 50.0),
        (7.5, 6.0, 9.0, 0.0, 9.0),
        (9.0, 6.0, 9.0, 1.0, 9.0),
        (6.0, 6.0, 9.0, 1.0, 6.0),
        (10.5, 6.0, 9.0, 2.0, 9.0),
        (3.0, 6.0, 9.0, 3.0, 6.0),
        (5.0, 5.0, NAN, 1.0, 5.0),
        (2.5, 5.0, NAN, 1.5, 5.0),
        (8.0, 5.0, NAN, 0.4, 5.0),
        (1e300, NAN, 50.0, CAP, 50.0),
    ],
)
def test_score_and_bound(value, low, high, want, bound):
    got, nearest = score(value, low, high)
    assert got == pytest.approx(want, abs=1e-12)
    assert nearest == bound


@pytest.mark.parametrize("row", [(NAN, NAN, 50.0), (20.0, NAN, NAN), (20.0, NAN, 0.0), (7.0, 9.0, 6.0), (7.0, 6.0, 6.0)])
def test_cannot_say(row):
    assert np.isnan(score(*row)[0])


@settings(deadline=None)
@given(VALUE, st.floats(1e-6, 1e9))
def test_exceeded_exactly_where_the_value_is_above_the_limit(value, high):
    assert (score(value, NAN, high)[0] > 1.0) == (value > high)


@settings(deadline=None)
@given(st.floats(1e-6, 1e9))
def test_one_step_of_a_double_above_the_limit_exceeds_it(high):
    assert score(high, NAN, high)[0] == 1.0
    assert score(np.nextafter(high, np.inf), NAN, high)[0] > 1.0
    assert score(np.nextafter(high, 0.0), NAN, high)[0] <= 1.0


@settings(deadline=None)
@given(VALUE, st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.sampled_from([Limit, Range]))
def test_two_sided_exceeded_exactly_where_outside(value, low, width, kind):
    high = low + width
    for x in (value, low, high, np.nextafter(low, -np.inf), np.nextafter(high, np.inf)):
        assert (score(x, low, high, kind())[0] > 1.0) == (x < low or x > high)


@settings(deadline=None)
@given(st.floats(1e-3, 1e6), VALUE, VALUE)
def test_a_higher_value_never_scores_less(high, a, b):
    low, up = sorted((a, b))
    assert score(low, NAN, high)[0] <= score(up, NAN, high)[0]


@settings(deadline=None)
@given(st.floats(0.0, 900.0), st.floats(1e-3, 1e6))
def test_the_score_is_value_over_limit(multiple, high):
    value = multiple * high
    assert score(value, NAN, high)[0] == pytest.approx(value / high, rel=1e-12, abs=1e-12)
