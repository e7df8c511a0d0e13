from __future__ import annotations

import numpy as np
import pytest

from detectors.range import Range

NAN = float("nan")


@pytest.mark.parametrize(
    ("what", "value", "low", "high", "outside"),
    [
        ("O2", 21.6, 0.0, 21.5, True),
        ("O2", 21.5, 0.0, 21.5, False),
        ("O2", -0.1, 0.0, 21.5, True),
        ("pH", 14.2, 0.0, 14.0, True),
        ("pH", 7.0, 0.0, 14.0, False),
        ("temperature", -41.0, -40.0, 800.0, True),
        ("humidity", 60.1, 0.0, 60.0, True),
        ("SO2, full scale 200", -2.1, -2.0, NAN, True),
        ("SO2, full scale 200", -1.9, -2.0, NAN, False),
        ("flow", -0.001, 0.0, NAN, True),
        ("flow", 0.0, 0.0, NAN, False),
        ("over range 0.98 × 200", 196.5, NAN, 196.0, True),
        ("over range 0.98 × 200", 195.5, NAN, 196.0, False),
    ],
)
def test_physical_ranges_of_a_dt_2_and_3(what, value, low, high, outside):
    score, _ = Range().step(np.zeros(1, Range.record), np.zeros(1, np.int64), np.array([[value, low, high]]))
    assert (score[0] > 1.0) == outside, what


def test_without_any_end_it_cannot_say():
    score, bound = Range().step(np.zeros(1, Range.record), np.zeros(1, np.int64), np.array([[5.0, NAN, NAN]]))
    assert np.isnan(score[0])
    assert np.isnan(bound[0])
