from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.windows import convert as c

NAN = float("nan")
FINITE = st.floats(-1e6, 1e6)


def test_base_oxygen_vector():
    value, ok = c.converted(30.0, 9.0, 6.0)
    assert value == pytest.approx(37.5, abs=1e-12)
    assert ok


def test_excess_air_vector():
    assert c.excess_air(9.0) == pytest.approx(1.75, abs=1e-12)
    value, ok = c.converted_by_excess_air(30.0, 9.0, 1.2)
    assert value == pytest.approx(43.75, abs=1e-12)
    assert ok


def test_flow_and_rate_vector():
    assert c.actual_flow(10.0, 10.0) == 360_000.0
    qsn = c.standard_flow(10.0, 10.0, 120.0, 0.0, 8.0)
    assert qsn == pytest.approx(230_070.2, abs=0.05)
    assert c.hourly_mass(22.5, qsn) == pytest.approx(5.1766, abs=5e-5)


@pytest.mark.parametrize(
    ("least", "valid", "ok"), [(45, 44, False), (45, 45, True), (20, 19, False), (20, 20, True), (12, 11, False)]
)
def test_validity_vectors(least, valid, ok):
    values = np.full(60, NAN)
    values[:valid] = 7.0
    mean, enough = c.valid_mean(values, least)
    assert mean == 7.0
    assert enough == ok


def test_the_least_numbers_are_those_of_appendix_d():
    assert (c.GAS_MINUTE_LEAST, c.GAS_HOUR_LEAST, c.GAS_DAY_LEAST) == (12, 45, 20)


def test_mean_of_nothing_is_nan_and_not_ok():
    mean, ok = c.valid_mean([[NAN, NAN], [1.0, 3.0]], 1)
    assert np.isnan(mean[0])
    assert mean[1] == 2.0
    assert ok.tolist() == [False, True]


@pytest.mark.parametrize(
    ("o2", "ok"), [(19.99, True), (20.0, True), (20.001, False), (20.5, False), (21.0, False), (25.0, False), (NAN, False)]
)
def test_oxygen_guard(o2, ok):
    for value, good in (c.converted(30.0, o2, 6.0), c.converted_by_excess_air(30.0, o2, 1.2)):
        assert bool(good) is ok
        assert np.isnan(value) != ok


def test_no_base_in_the_standard_leaves_the_measured_value_whatever_the_oxygen():
    value, ok = c.converted([30.0, 31.0], [9.0, 20.9], NAN)
    assert value.tolist() == [30.0, 31.0]
    assert ok.all()


@settings(deadline=None)
@given(st.floats(0.01, 1e4), st.floats(0.0, 20.0), st.floats(0.0, 20.0))
def test_both_forms_of_conversion_agree(dry, o2, base):
    by_o2, _ = c.converted(dry, o2, base)
    by_alpha, _ = c.converted_by_excess_air(dry, o2, c.excess_air(base))
    assert by_alpha == pytest.approx(float(by_o2), rel=1e-12)


@settings(deadline=None)
@given(st.floats(0.0, 1e4), st.floats(0.0, 20.0))
def test_at_the_base_oxygen_nothing_changes(dry, o2):
    value, ok = c.converted(dry, o2, o2)
    assert value == pytest.approx(dry, rel=1e-15)
    assert ok


@settings(deadline=None)
@given(st.floats(0.0, 1e4), st.floats(0.0, 99.0))
def test_dry_is_never_less_than_wet(wet, humidity):
    assert c.dry(wet, humidity) >= wet


@pytest.mark.parametrize("humidity", [-0.1, 100.0, 180.0, NAN])
def test_impossible_humidity_gives_no_value(humidity):
    assert np.isnan(c.dry(10.0, humidity))
    assert np.isnan(c.standard_flow(10.0, 10.0, 120.0, 0.0, humidity))


@pytest.mark.parametrize(("temp", "static"), [(-273.0, 0.0), (-300.0, 0.0), (120.0, -101_325.0), (120.0, -2e5), (NAN, 0.0)])
def test_impossible_temperature_or_pressure_gives_no_flow(temp, static):
    assert np.isnan(c.standard_flow(10.0, 10.0, temp, static, 8.0))


def test_at_standard_conditions_dry_flow_is_actual_flow():
    assert c.standard_flow(2.0, 5.0, 0.0, 0.0, 0.0) == pytest.approx(36_000.0)
    assert c.standard_flow(2.0, 5.0, 0.0, 1_325.0, 0.0, baro_pa=100_000.0) == pytest.approx(36_000.0)


def test_no_as_no2():
    assert c.no_as_no2(100.0) == pytest.approx(153.0)


def test_water_volume_and_mass():
    assert c.water_volume(10.0, 600.0) == pytest.approx(6.0)
    assert c.water_mass(50.0, 6.0) == pytest.approx(0.3)


def test_water_mean_is_weighted_by_flow():
    assert c.water_mean([10.0, 100.0], [9.0, 1.0]) == pytest.approx(19.0)


@pytest.mark.parametrize(
    ("conc", "volume", "mean"),
    [
        ([10.0, 100.0], [NAN, NAN], 55.0),
        ([10.0, 100.0], [0.0, 0.0], 55.0),
        ([10.0, 100.0], [NAN, 2.0], 100.0),
        ([NAN, 100.0], [5.0, 2.0], 100.0),
        ([10.0, 100.0], [-5.0, 2.0], 100.0),
        ([NAN, NAN], [1.0, 1.0], NAN),
    ],
)
def test_water_mean_with_parts_missing(conc, volume, mean):
    assert c.water_mean(conc, volume) == pytest.approx(mean, nan_ok=True)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.001, 1e4), st.floats(0.001, 1e4)), min_size=1, max_size=24))
def test_water_mean_is_total_mass_over_total_volume(pairs):
    conc, volume = np.array(pairs).T
    assert c.water_mean(conc, volume) * volume.sum() / 1e3 == pytest.approx(
        c.water_mass(conc, volume).sum(), rel=1e-9, abs=1e-300
    )
    assert conc.min() * (1 - 1e-9) <= c.water_mean(conc, volume) <= conc.max() * (1 + 1e-9)


@settings(deadline=None)
@given(st.lists(st.floats(), min_size=6, max_size=6))
def test_whatever_a_device_sends_there_is_no_error(row):
    a, b, d, e, f, g = (np.array([x]) for x in row)
    c.converted(a, b, d)
    c.converted_by_excess_air(a, b, d)
    c.hourly_mass(a, c.standard_flow(b, d, e, f, g))
    c.dry(a, b)
    c.no_as_no2(a)
    c.water_mean(a, c.water_volume(b, d))
    c.valid_mean(np.array(row), 1)


def test_inputs_are_unchanged():
    dry, o2 = np.array([30.0, NAN]), np.array([9.0, 25.0])
    before = dry.tobytes(), o2.tobytes()
    c.converted(dry, o2, np.array([6.0, 6.0]))
    assert (dry.tobytes(), o2.tobytes()) == before
