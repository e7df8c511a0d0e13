from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detectors.scale import CAP
from detectors.spike import _NETWORK, NETWORK_FROM, WIDTH, Spike, median_mad

NAN = float("nan")


def scores(values, *, limit=NAN, usable=None):
    detector, out = Spike(), []
    state = np.zeros(1, detector.record)
    for i, value in enumerate(values):
        row = np.array([[value, limit, 1.0 if usable is None else usable[i]]])
        score, expected = detector.step(state, np.array([i]), row)
        out.append((score[0], expected[0]))
    return np.array(out).T


def test_the_network_sorts_everything():
    """The 0-1 principle: a network that sorts every sequence of zeros and ones sorts every sequence (Knuth 5.3.4)."""
    columns = list(np.array(list(product((0, 1), repeat=WIDTH))).T)
    for i, j in _NETWORK:
        columns[i], columns[j] = np.minimum(columns[i], columns[j]), np.maximum(columns[i], columns[j])
    assert (np.diff(np.array(columns), axis=0) >= 0).all()
    assert len(_NETWORK) == 39


@settings(deadline=None)
@given(arrays(np.float64, (5, WIDTH), elements=st.floats(-1e6, 1e6)))
def test_median_and_mad_are_those_of_numpy(ring):
    median, mad = median_mad(ring)
    want = np.median(ring, axis=1)
    assert np.allclose(median, want, rtol=1e-12, atol=1e-9)
    assert np.allclose(mad, np.median(np.abs(ring - want[:, None]), axis=1), rtol=1e-12, atol=1e-9)


def test_a_row_has_the_same_bits_in_any_company():
    """Above NETWORK_FROM rows the network sorts, below numpy does."""
    random = np.random.default_rng(3)
    odd = np.array([0.0, -0.0, 5e-324, -5e-324, 1e308, -1e308, 1.0, 1.0, 0.1, 0.3])
    ring = np.where(
        random.random((2 * NETWORK_FROM, WIDTH)) < 0.5, odd[random.integers(0, len(odd), (2 * NETWORK_FROM, WIDTH))], 7.7
    )
    with np.errstate(over="ignore"):
        together = median_mad(ring)
        pieces = [median_mad(ring[a : a + 37]) for a in range(0, len(ring), 37)]
    for column in (0, 1):
        assert np.concatenate([p[column] for p in pieces]).tobytes() == together[column].tobytes()


def test_nothing_is_said_before_twelve_values():
    score, expected = scores([10.0] * 12 + [11.0], limit=50.0)
    assert np.isnan(score[:12]).all()
    assert np.isnan(expected[:12]).all()
    assert score[12] == pytest.approx(1.0 / 15.0)
    assert expected[12] == 10.0


def test_the_ring_holds_the_previous_twelve_and_only_those():
    values = np.round(np.random.default_rng(5).normal(50.0, 20.0, 80), 1)
    _, expected = scores(values)
    assert np.allclose(expected[12:], [np.median(values[i - 12 : i]) for i in range(12, 80)], rtol=1e-14)


def test_thirty_percent_of_the_limit_is_the_least_step():
    score, _ = scores([10.0] * 12 + [25.0, 25.1], limit=50.0)
    assert score[12] == pytest.approx(1.0)
    assert score[13] > 1.0


def test_a_noisy_series_is_measured_by_its_mad():
    noisy = [10.0, 20.0] * 6
    score, expected = scores([*noisy, 46.0], limit=1.0)
    assert expected[12] == 15.0
    assert score[12] == pytest.approx(31.0 / 30.0)


@pytest.mark.parametrize("limit", [NAN, 0.0, -5.0])
def test_without_a_limit_the_share_is_of_the_median(limit):
    score, _ = scores([100.0] * 12 + [130.0, 131.0], limit=limit)
    assert score[12] == pytest.approx(1.0)
    assert score[13] > 1.0


def test_down_counts_like_up():
    up, _ = scores([100.0] * 12 + [190.0])
    down, _ = scores([100.0] * 12 + [10.0])
    assert up[12] == pytest.approx(down[12])


def test_a_step_that_persists_is_the_new_normal():
    score, _ = scores([10.0] * 12 + [40.0] * 12, limit=50.0)
    assert (score[12:18] > 1.0).all()
    assert score[19] < 1.0
    assert score[23] == 0.0


def test_one_outlier_does_not_move_the_median():
    score, _ = scores([10.0] * 12 + [40.0, 10.0], limit=50.0)
    assert score[12] > 1.0
    assert score[13] == 0.0


@pytest.mark.parametrize("bad", [NAN, np.inf, 40.0])
def test_an_unusable_value_is_neither_judged_nor_remembered(bad):
    usable = [1.0] * 12 + [0.0 if bad == 40.0 else 1.0] * 12 + [1.0]
    score, expected = scores([10.0] * 12 + [bad] * 12 + [10.0], limit=50.0, usable=usable)
    assert np.isnan(score[12:24]).all()
    assert expected[24] == 10.0
    assert score[24] == 0.0


def test_from_plain_zero_the_score_is_capped():
    score, _ = scores([0.0] * 12 + [5.0])
    assert score[12] == CAP


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(1.0, 1e4), min_size=13, max_size=30), st.sampled_from([0.25, 2.0, 1024.0]))
def test_the_unit_does_not_matter(values, factor):
    plain, _ = scores(values, limit=100.0)
    scaled, _ = scores([v * factor for v in values], limit=100.0 * factor)
    assert np.array_equal(plain, scaled, equal_nan=True)
