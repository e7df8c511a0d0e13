"""The contract of `detectors/core.py`, on every detector of the catalogue; a detector without a scenario here fails."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.catalog import CATALOG
from detectors.core import Detector, SilenceDetector
from streams.rounds import run
from streams.slab import Slab

MINUTE = 60_000
START = 1_767_225_600_000  # 2026-01-01 00:00 UTC
NAN = float("nan")
NAMES = sorted(CATALOG)

every = pytest.mark.parametrize("name", NAMES)


def bits(column):
    """The bytes of a column, with one NaN only: a NaN's sign and payload say nothing."""
    return np.where(np.isnan(column), np.nan, column).tobytes()


@st.composite
def batches(draw, columns):
    """Rows of a few members with values a device may send: repeated, missing, infinite, huge; time goes back now and then."""
    n = draw(st.integers(0, 70))
    seed = draw(st.integers(0, 2**32))
    random = np.random.default_rng(seed)
    palette = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 2.5, -3.0, 40.0, 3.6e6, 1e308, -1e308, 5e-324, NAN, np.inf, -np.inf])
    wild = palette[random.integers(0, len(palette), (n, columns))]
    tame = np.round(random.normal(10.0, 3.0, (n, columns)), 1)
    values = np.where(random.random((n, columns)) < draw(st.sampled_from([0.0, 0.1, 0.9])), wild, tame)
    members = random.integers(0, draw(st.integers(1, 6)), n)
    steps = random.choice([-5, 0, 1, 1, 1, 1, 60, 3000], n) * MINUTE
    return members, START + np.cumsum(steps), values


def feed(detector, members, time, values, edges=()):
    slab = Slab(detector.name, detector.record)
    cuts = [0, *sorted(min(e, len(members)) for e in edges), len(members)]
    parts = [run(detector, slab, members[a:b], time[a:b], values[a:b]) for a, b in pairwise(cuts)]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]), slab


@every
def test_it_says_what_it_is(name):
    detector = CATALOG[name]
    assert isinstance(detector, Detector)
    assert detector.name == name
    assert detector.family in {"statistics", "limits", "parameters", "power", "video", "quality", "manual"}
    assert detector.scope in {"series", "point", "unit", "site"}
    assert detector.cadence in {"reading", "minute", "hour", "day"}
    assert len(set(detector.inputs)) == len(detector.inputs) > 0
    assert not detector.record.hasobject
    assert (type(detector).__doc__ or "").count("inputs"), "the docstring names the inputs and their units"


@every
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_cut_gives_bit_identical_scores_and_state(name, data):
    detector = CATALOG[name]
    members, time, values = data.draw(batches(len(detector.inputs)))
    score, expected, slab = feed(detector, members, time, values)
    edges = data.draw(st.one_of(st.just(range(len(members))), st.lists(st.integers(0, 70), max_size=8)))
    again = feed(detector, members, time, values, edges)
    assert bits(again[0]) == bits(score)
    assert bits(again[1]) == bits(expected)
    assert again[2].data.tobytes() == slab.data.tobytes()


@every
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_members_do_not_touch_each_other(name, data):
    detector = CATALOG[name]
    members, time, values = data.draw(batches(len(detector.inputs)))
    score, _, _ = feed(detector, members, time, values)
    for member in set(members.tolist()):
        mine = members == member
        alone, _, _ = feed(detector, members[mine], time[mine], values[mine])
        assert bits(alone) == bits(score[mine])


@every
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_scores_are_on_the_scale_and_inputs_unchanged(name, data):
    detector = CATALOG[name]
    members, time, values = data.draw(batches(len(detector.inputs)))
    before = members.tobytes(), time.tobytes(), values.tobytes()
    score, expected, slab = feed(detector, members, time, values)
    assert (members.tobytes(), time.tobytes(), values.tobytes()) == before
    assert score.shape == expected.shape == (len(members),)
    assert score.dtype == expected.dtype == np.float64
    assert not (score < 0.0).any()
    assert not np.isinf(score).any()
    if isinstance(detector, SilenceDetector):
        state = slab.data.tobytes()
        silence = detector.tick(slab.data, START)
        assert silence.shape == (len(slab),)
        assert not (silence < 0.0).any()
        assert not np.isinf(silence).any()
        assert slab.data.tobytes() == state, "a tick judges, it does not remember"


@every
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_state_goes_through_bytes(name, data):
    """Restored half way from the chunks written so far, a detector goes on as if nothing had happened."""
    detector = CATALOG[name]
    members, time, values = data.draw(batches(len(detector.inputs)))
    score, _, slab = feed(detector, members, time, values)
    half = len(members) // 2
    _, _, first = feed(detector, members[:half], time[:half], values[:half])
    restored = Slab(name, detector.record)
    for number, raw in first.dirty_chunks():
        restored.load(number, raw)
    rest, _ = run(detector, restored, members[half:], time[half:], values[half:])
    assert bits(rest) == bits(score[half:])
    assert restored.data.tobytes() == slab.data[: len(restored)].tobytes()


@every
def test_nan_neither_scores_nor_is_remembered(name):
    detector = CATALOG[name]
    slab = Slab(name, detector.record)
    rows = np.arange(3)
    values = clean(name)[1][:3]
    run(detector, slab, rows, np.full(3, START), values)
    before = slab.data.tobytes()
    score, _ = run(detector, slab, rows, np.full(3, START + MINUTE), np.full((3, len(detector.inputs)), NAN))
    assert slab.data.tobytes() == before
    assert name == "null" or np.isnan(score).all()


def test_state_budget():
    """All detectors of a series at reading cadence together: at most 400 bytes a series (design §10: 1.5 KB with windows)."""
    sizes = {n: d.record.itemsize for n, d in CATALOG.items() if (d.scope, d.cadence) == ("series", "reading")}
    assert sum(sizes.values()) <= 400, sizes


# Scenarios: minute values of a quiet gas outlet with a limit of 50 mg/m³, and the same with the fault the detector is for.


def quiet(n=600):
    random = np.random.default_rng(20260101)
    return np.round(20.0 + 3.0 * np.sin(np.arange(n) / 60.0) + random.normal(0.0, 0.8, n), 2)


def table(n, *columns):
    return np.column_stack([np.broadcast_to(np.asarray(c, np.float64), (n,)) for c in columns])


COLUMNS = {
    "constant": lambda x: (x, 1.0, 60 * MINUTE, 1.0),
    "limit": lambda x: (x, NAN, 50.0),
    "range": lambda x: (x, -2.0, 196.0),
    "spike": lambda x: (x, 50.0, 1.0),
    "null": lambda x: (x,),
}


def clean(name):
    time = START + np.arange(600) * MINUTE
    if name == "missing":
        return time, table(600, NAN, time + 5_000)
    return time, table(600, *COLUMNS[name](quiet()))


def faulty(name):
    """Return time, values and which rows the fault covers."""
    time, values = clean(name)
    fault = np.zeros(len(time), np.bool_)
    if name == "missing":
        keep = (np.arange(600) < 300) | (np.arange(600) >= 345)
        fault[345] = True
        return time[keep], values[keep], fault[keep]
    start, end, what = {
        "constant": (300, 420, 21.37),
        "limit": (300, 330, 51.0),
        "range": (300, 301, -9.0),
        "spike": (300, 305, 95.0),
    }[name]
    values[start:end, 0] = what
    fault[start:end] = True
    return time, values, fault


@every
def test_silent_on_its_clean_scenario(name):
    time, values = clean(name)
    score, _, _ = feed(CATALOG[name], np.zeros(len(time), np.int64), time, values)
    assert not (score > 1.0).any()


@pytest.mark.parametrize("name", [n for n in NAMES if n != "null"])
def test_beats_the_null_detector_on_its_faulty_scenario(name):
    time, values, fault = faulty(name)
    members = np.zeros(len(time), np.int64)
    score, _, _ = feed(CATALOG[name], members, time, values)
    nothing, _, _ = feed(CATALOG["null"], members, time, values[:, :1])
    assert (score[fault] > 1.0).any()
    assert not (score[: np.flatnonzero(fault)[0]] > 1.0).any()
    assert not (nothing > 1.0).any()
