"""What the detectors say about measurements that nobody here made (provenance: PROVENANCE.md beside the data)."""

from __future__ import annotations

import numpy as np
from pyarrow import csv

from detectors.catalog import CATALOG
from streams.rounds import run
from streams.slab import Slab

MINUTE = 60_000
HOUR = 60 * MINUTE
START = 1_293_840_000_000
NAN = float("nan")


def columns(path, *names):
    table = csv.read_csv(
        path, convert_options=csv.ConvertOptions(include_columns=names, column_types=dict.fromkeys(names, "double"))
    )
    return [table[name].to_numpy().copy() for name in names]


def judge(name, series, period, *constants):
    """Score equally long series side by side: (s, n) → (s, n)."""
    count, length = series.shape
    members = np.tile(np.arange(count), length)
    time = np.repeat(START + np.arange(length) * period, count)
    value = series.T.ravel()
    values = np.column_stack([value, *(np.full(len(value), c) for c in constants)])
    score, _ = run(CATALOG[name], Slab(name, CATALOG[name].record), members, time, values)
    return score.reshape(length, count).T


def turbine(shared_data):
    """Hourly NOx of a gas turbine, mg/m³, 2011–2013, padded with NaN to one length."""
    years = [columns(shared_data / f"gas_turbine_emission/gt_{year}.csv", "NOX")[0] for year in (2011, 2012, 2013)]
    longest = max(map(len, years))
    return np.array([np.pad(year, (0, longest - len(year)), constant_values=NAN) for year in years])


def test_a_real_analyser_that_stood_still_for_102_hours_is_found_and_nothing_else_in_three_years(shared_data):
    nox = turbine(shared_data)
    found = judge("constant", nox, HOUR, NAN, 3 * HOUR, 1.0) >= 1.0
    assert found.sum(axis=1).tolist() == [99, 0, 0]
    rows = np.flatnonzero(found[0])
    assert (rows[0], rows[-1]) == (1339, 1437), "from the fourth equal hour to the last"
    assert set(nox[0, 1336:1438]) == {60.38}


def test_faults_planted_in_real_emissions_are_found_by_constant_and_spike_but_not_by_null(shared_data):
    nox = turbine(shared_data)[1:]
    random = np.random.default_rng(11)
    at = np.sort(random.choice(np.arange(30, 7000, 40), 60, replace=False))
    quiet = judge("spike", nox, HOUR, 120.0, 1.0) > 1.0
    frozen, thrown = nox.copy(), nox.copy()
    for row in at:
        frozen[:, row : row + 6] = nox[:, row, None]
        thrown[:, row] = nox[:, row] + 120.0
    stuck = judge("constant", frozen, HOUR, NAN, 3 * HOUR, 1.0)
    spike = judge("spike", thrown, HOUR, 120.0, 1.0)
    assert (stuck[:, at + 4] > 1.0).mean() == 1.0
    assert (spike[:, at] > 1.0).mean() > 0.95
    assert quiet.mean() < 0.01, "hours of a clean turbine that look like a step"
    assert not judge("null", thrown, HOUR).any()


def test_steps_in_real_drinking_water_are_nearly_all_inside_its_labelled_events(shared_data):
    """GECCO 2018: 139,566 minutes, 1.2 % of them labelled. Cut into 100 stretches, so that the test is quick."""
    *water, event = columns(shared_data / "gecco2018/gecco2018.csv", "tp", "ph", "redox", "leit", "event")
    length = len(event) // 100
    series = np.concatenate([w[: 100 * length].reshape(100, length) for w in water])
    labelled = np.tile(event[: 100 * length].reshape(100, length) > 0.0, (len(water), 1))
    found = judge("spike", series, MINUTE, NAN, 1.0) > 1.0
    assert found.sum() > 50
    assert (found & labelled).sum() / found.sum() > 0.9
