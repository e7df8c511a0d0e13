from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.core import SilenceDetector
from detectors.missing import Missing

MINUTE = 60_000
HOUR = 60 * MINUTE
START = 1_767_225_600_000
NAN = float("nan")


class Point:
    """One point, fed minute by minute: (event minute, arrival minute)."""

    def __init__(self, interval=NAN):
        self.detector, self.interval = Missing(), interval
        self.state = np.zeros(1, self.detector.record)

    def hear(self, event, arrived=None):
        at = START + (event if arrived is None else arrived) * MINUTE
        score, expected = self.detector.step(self.state, np.array([START + event * MINUTE]), np.array([[self.interval, at]]))
        self.interval_in_use = expected[0]
        return score[0]

    def tick(self, minute):
        return self.detector.tick(self.state, START + minute * MINUTE)[0]


def test_it_is_a_silence_detector():
    assert isinstance(Missing(), SilenceDetector)


def test_never_seen_is_no_silence():
    assert np.isnan(Point().tick(10_000))


def test_ten_minutes_is_the_least_silence():
    point = Point(interval=MINUTE)
    point.hear(0)
    assert point.tick(10) == 1.0
    assert point.tick(11) > 1.0
    assert point.tick(5) == 0.5


def test_three_intervals_of_a_slow_device():
    point = Point(interval=2 * HOUR)
    point.hear(0)
    assert point.tick(6 * 60) == 1.0


def test_until_it_knows_better_an_hour_is_assumed():
    point = Point()
    point.hear(0)
    assert point.interval_in_use == HOUR
    assert point.tick(3 * 60) == 1.0


def test_the_interval_is_learnt_from_what_comes_regularly():
    point = Point()
    for minute in range(4):
        point.hear(minute)
    assert point.interval_in_use == MINUTE
    assert point.tick(3 + 20) == 2.0


def test_two_alike_gaps_are_not_yet_regular():
    point = Point()
    for minute in range(3):
        point.hear(minute)
    assert point.interval_in_use == HOUR


def test_frames_of_one_hour_in_one_burst_teach_an_hour():
    point = Point()
    for hour in range(6):
        for second in range(3):
            point.hear(60 * hour, 60 * hour + 61 + second)
    assert point.interval_in_use == HOUR


def test_history_sent_after_an_outage_teaches_nothing():
    point = Point()
    for minute in range(100):
        point.hear(minute, 10_000)
    assert point.interval_in_use == HOUR


def test_an_outage_does_not_lengthen_what_was_learnt():
    point = Point()
    for minute in [*range(10), *range(600, 900, 60)]:
        point.hear(minute)
    assert point.interval_in_use == MINUTE


def test_a_registered_interval_wins_and_can_be_withdrawn():
    point = Point()
    for minute in range(5):
        point.hear(minute)
    point.interval = 30 * MINUTE
    point.hear(5)
    assert point.interval_in_use == 30 * MINUTE
    point.interval = NAN
    point.hear(6)
    assert point.interval_in_use == MINUTE


def test_the_reading_that_ends_a_silence_says_how_long_it_was():
    point = Point(interval=MINUTE)
    assert point.hear(0) == 0.0
    assert point.hear(45) == 4.5
    assert point.hear(46) == pytest.approx(0.1)


def test_a_late_arrival_does_not_turn_the_clock_back():
    point = Point(interval=MINUTE)
    point.hear(30)
    assert point.hear(10) == 0.0
    assert point.tick(40) == 1.0


def test_a_device_clock_years_ahead_teaches_nothing_and_is_got_over():
    point = Point()
    point.hear(10_000_000, 0)
    for minute in range(1, 6):
        point.hear(minute)
    assert point.interval_in_use == MINUTE


@settings(deadline=None)
@given(st.lists(st.integers(0, 5000), min_size=1, max_size=30), st.integers(0, 10_000))
def test_silence_is_counted_from_the_latest_arrival(arrivals, now):
    point = Point(interval=MINUTE)
    for minute in arrivals:
        point.hear(minute)
    assert point.tick(now) == pytest.approx(min(max(0.0, (now - max(arrivals)) / 10), 1000.0))
