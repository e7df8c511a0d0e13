"""Values: a pure function of seed, place and time; plausible where nothing is wrong."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from offsite.city.emissions import NORMAL, STOPPED, Block, averaged, base_o2, converted
from offsite.city.model import START_MS, City
from offsite.city.noise import hashed, noise
from offsite.city.tables import FACTORS, HOUR_MS, MINUTE_MS, PROFILES


def test_noise_is_centred_bounded_and_uncorrelated_between_channels():
    sample = hashed(1, np.arange(200), np.arange(500))
    assert abs(sample.mean()) < 0.02
    assert abs(sample.std() - 1.0) < 0.02
    assert np.abs(sample).max() < 3.5
    assert abs(np.corrcoef(sample[0], sample[1])[0, 1]) < 0.2


@given(st.integers(0, 2**31), st.integers(0, 10**12), st.integers(1, 40))
def test_noise_does_not_depend_on_what_else_is_asked(seed, start, count):
    time = start + np.arange(count, dtype=np.int64) * MINUTE_MS
    channels = np.arange(5, dtype=np.int64)
    whole = noise(seed, channels, time)
    assert np.array_equal(whole[3:4, -1:], noise(seed, channels[3:4], time[-1:]))


def test_noise_remembers_over_an_hour():
    path = noise(5, np.arange(300), np.arange(0, 6 * HOUR_MS, 10 * MINUTE_MS, dtype=np.int64))
    assert np.corrcoef(path[:, 0], path[:, 1])[0, 1] > 0.3


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 11))
def test_cutting_a_span_changes_nothing(small_city, cut):
    outlets = next(iter(small_city.groups(hourly=False)))
    whole = small_city.block(outlets, START_MS, 10 * MINUTE_MS, 12)
    head = small_city.block(outlets, START_MS, 10 * MINUTE_MS, cut)
    tail = small_city.block(outlets, START_MS + cut * 10 * MINUTE_MS, 10 * MINUTE_MS, 12 - cut)
    assert np.array_equal(whole.values, np.concatenate([head.values, tail.values], axis=2))
    assert np.array_equal(whole.flags, np.concatenate([head.flags, tail.flags], axis=2))


def test_seeds_differ():
    one, two = City(seed=1, enterprises=9), City(seed=2, enterprises=9)
    values = [c.block(next(iter(c.groups(hourly=False))), START_MS, HOUR_MS, 3).values for c in (one, two)]
    assert values[0].shape == values[1].shape
    assert not np.array_equal(*values)


def test_nothing_exceeds_a_limit_where_nothing_is_wrong(full_city):
    touched = {index for f in full_city.faults for index in f.outlets if f.kind not in ("outage", "operator_outage")}
    for block in full_city.hours(START_MS, 168, full_city.minutes(START_MS, 168)):
        for f, code in enumerate(block.profile.factors):
            value = block.values[f]
            if code in block.profile.converted:
                value = converted(value, block.values[block.plane("a19001")], base_o2(block.outlets))
            for n, outlet in enumerate(block.outlets):
                if code in outlet.limits and outlet.index not in touched:
                    assert value[n].max() < 0.95 * outlet.limits[code]


def test_shift_plants_stop_at_night_and_say_so(full_city):
    coating = tuple(
        o for o in full_city.inventory.outlets if full_city.sites[o.site].industry and full_city.sites[o.site].industry.shift
    )
    night = START_MS - 9 * HOUR_MS + 26 * HOUR_MS  # 02:00
    block = full_city.block(coating, night, HOUR_MS, 10)
    assert (block.flags[:, :, 0] == STOPPED).all()
    assert (block.flags[:, :, 8] == NORMAL).all()
    assert (block.values[block.plane("a00000"), :, 8] > 5 * block.values[block.plane("a00000"), :, 0]).all()


def test_conversion_follows_the_standard_and_its_guard():
    value = converted(np.array([30.0, 30.0]), np.array([9.0, 20.5]), np.array([6.0, 6.0]))
    assert value.tolist() == [37.5, 30.0]


def test_a_mean_counts_normal_readings_only():
    values = np.array([[[1.0, 1.0, 1.0, 9.0, 5.0, 7.0, 5.0, 7.0]]])
    flags = np.array([[list(b"NNNFFFFF")]], np.uint8)
    sent = np.array([[True] * 7 + [False]])
    source = Block(PROFILES["voc"], (), np.arange(8, dtype=np.int64), 1, values, flags, sent)
    mean = averaged(source, 4)
    assert mean.values.tolist() == [[[1.0, 6.0]]]
    assert mean.flags.tobytes() == b"NF"
    assert mean.sent.tolist() == [[True, False]]
    assert mean.time.tolist() == [0, 4]


def test_no_healthy_value_stands_still(full_city):
    """A value that repeats by rounding alone would look like a frozen analyser (A-DT-4: gas four in a row, water six; pH is slow by nature)."""
    touched = {index for f in full_city.faults for index in f.outlets if f.kind == "constant"}
    for members in full_city.groups(hourly=False):
        for block in full_city.minute_data(members, START_MS, 168):
            for f, code in enumerate(block.profile.factors):
                if code == "w01001":
                    continue
                value = np.round(block.values[f], FACTORS[code].decimals)
                same = (value[:, 1:] == value[:, :-1]) & (block.flags[f, :, 1:] == NORMAL)
                run = 3 if block.profile.medium == "gas" else 5
                frozen = np.lib.stride_tricks.sliding_window_view(same, run, axis=1).all(axis=2).any(axis=1)
                assert not [o.site for o, bad in zip(members, frozen, strict=True) if bad and o.index not in touched], code
