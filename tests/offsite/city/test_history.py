"""The past and the live hour as frames: complete, in order, the same bytes for the same seed."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from connectors.hj212.commands import parse_cst
from connectors.hj212.header import parse
from offsite.city.history import DELAY_MS, chunks, live_steps, steps
from offsite.city.model import POURED, TEN_MINUTES_MS, City
from offsite.city.tables import CST_MS, DAY_MS, HOUR_MS, MINUTE_MS
from offsite.city.wire import Renderer


def digest(city, hours=30):
    total = hashlib.sha256()
    for step in steps(city, city.start_ms, city.start_ms + hours * HOUR_MS):
        total.update(b"%d" % step.now_ms)
        for frame in step.frames:
            total.update(frame.data)
    return total.hexdigest()


def segments(step_list, outlet=None):
    return [(s.now_ms, f, parse(f.data[6:-6])) for s in step_list for f in s.frames if outlet in (None, f.outlet)]


@pytest.fixture(scope="module")
def live_hour(full_city):
    return live_steps(full_city, Renderer(), full_city.live_ms)


def undisturbed(city, profile):
    touched = {index for f in city.faults for index in f.outlets}
    return next(o for o in city.inventory.outlets if o.profile.name == profile and o.index not in touched).index


def test_the_same_seed_gives_the_same_bytes():
    one, two, three = (digest(City(seed=seed, enterprises=12)) for seed in (7, 7, 8))
    assert one == two
    assert one != three


def test_chunks_end_at_midnight(small_city):
    spans = list(chunks(small_city.start_ms, small_city.live_ms))
    assert [(b - a) // HOUR_MS for a, b in spans] == [15, 9]
    assert (spans[0][1] + CST_MS) % DAY_MS == 0


def test_every_period_is_sent_once_after_its_end(small_city):
    quiet = City(enterprises=18, days=1, seed=small_city.seed)
    object.__setattr__(quiet, "faults", ())
    all_steps = list(steps(quiet, quiet.start_ms, quiet.live_ms))
    assert [s.now_ms for s in all_steps] == [quiet.start_ms + TEN_MINUTES_MS * k + DELAY_MS for k in range(1, 145)]
    count = Counter()
    for now, frame, header in segments(all_steps):
        length = {"2051": POURED * TEN_MINUTES_MS, "2061": HOUR_MS, "2031": DAY_MS}[header.cn]
        assert now == frame.time + length + DELAY_MS
        count[frame.outlet, header.cn] += 1
    for outlet in quiet.inventory.outlets:
        assert count[outlet.index, "2061"] == 24
        assert count[outlet.index, "2051"] == (0 if outlet.profile.hourly_only else 144 // POURED)


def test_a_whole_day_gets_its_day_data(small_city):
    midnight = small_city.start_ms + 15 * HOUR_MS
    found = segments(steps(small_city, midnight, midnight + DAY_MS))
    days = [(f.outlet, f.time) for _, f, h in found if h.cn == "2031"]
    assert sorted(days) == [(o.index, midnight) for o in small_city.inventory.outlets]


def test_request_numbers_are_unique_for_each_device(full_city):
    fault = next(f for f in full_city.faults if f.id == "operator-outage-past")
    begin = fault.start // HOUR_MS * HOUR_MS - HOUR_MS
    keys = [f.key for s in steps(full_city, begin, begin + 5 * HOUR_MS) for f in s.frames]
    assert len(keys) == len(set(keys))


def test_an_outage_is_silent_and_then_made_good(full_city):
    fault = next(f for f in full_city.faults if f.id == "outage-past")
    begin = fault.start // HOUR_MS * HOUR_MS - HOUR_MS
    mine = segments(steps(full_city, begin, begin + 6 * HOUR_MS), fault.outlets[0])
    assert not [now for now, _, _ in mine if fault.start + DELAY_MS <= now < fault.end]
    poured = POURED * TEN_MINUTES_MS
    poured = POURED * TEN_MINUTES_MS
    late = [f.time for now, f, h in mine if h.cn == "2051" and now > f.time + poured + DELAY_MS]
    assert len(late) == (fault.end - fault.start) // poured
    for cn, step in (("2051", poured), ("2061", HOUR_MS)):
        assert sorted(f.time for _, f, h in mine if h.cn == cn) == list(range(begin, begin + 6 * HOUR_MS, step))


def test_a_live_outage_is_made_good_in_ten_minutes(full_city):
    fault = next(f for f in full_city.faults if f.id == "outage-live")
    hours = [live_steps(full_city, Renderer(), full_city.live_ms + k * HOUR_MS) for k in range(2)]
    mine = [x for hour in hours for x in segments(hour, fault.outlets[0])]
    for cn, step in (("2051", TEN_MINUTES_MS), ("2061", HOUR_MS)):
        times = list(range(full_city.live_ms, full_city.live_ms + 2 * HOUR_MS, step))
        assert sorted(f.time for _, f, h in mine if h.cn == cn) == times
    quiet = [now for now, _, _ in mine if fault.start + DELAY_MS <= now < fault.end - MINUTE_MS]  # a real-time value a step off
    assert quiet == []
    keys = [f.key for _, f, _ in mine]
    assert len(keys) == len(set(keys))


def test_an_operator_outage_takes_all_of_the_operator(full_city):
    fault = next(f for f in full_city.faults if f.id == "operator-outage-past")
    operators = {full_city.inventory.outlets[index].operator for index in fault.outlets}
    assert len(operators) == 1
    assert len(fault.outlets) >= 30
    begin = fault.start // HOUR_MS * HOUR_MS
    heard = {f.outlet for s in steps(full_city, begin, begin + HOUR_MS) for f in s.frames if s.now_ms > fault.start + DELAY_MS}
    assert heard
    assert heard.isdisjoint(fault.outlets)


def test_a_live_hour_brings_each_minute(full_city, live_hour):
    moments = [s.now_ms for s in live_hour]
    assert moments == sorted(moments)
    mine = [(now, h) for now, _, h in segments(live_hour, undisturbed(full_city, "flue"))]
    assert Counter(h.cn for _, h in mine) == {"2011": 60, "2051": 6, "2061": 1}
    assert all(now - 1000 < parse_cst(h.qn) < now + 1000 for now, h in mine)
    keys = [f.key for s in live_hour for f in s.frames]
    assert len(keys) == len(set(keys))


def test_the_last_live_hour_of_a_day_brings_day_data(small_city):
    last = small_city.start_ms + 14 * HOUR_MS
    cns = Counter(h.cn for _, _, h in segments(live_steps(small_city, Renderer(), last)))
    assert cns["2031"] == len(small_city.inventory.outlets)
    assert moments_end(small_city, last) == last + HOUR_MS + DELAY_MS


def moments_end(city, hour):
    return max(s.now_ms for s in live_steps(city, Renderer(), hour))


def test_live_minutes_are_means_of_real_time(full_city, live_hour):
    found = segments(live_hour, undisturbed(full_city, "sewage"))
    value = {(h.cn, f.time): float(f.data.split(b"w00000-")[1].split(b"=")[1].split(b",")[0]) for _, f, h in found}
    rtd = [value["2011", full_city.live_ms + k * MINUTE_MS] for k in range(60)]
    assert abs(sum(rtd[:10]) / 10 - value["2051", full_city.live_ms]) < 0.011
    assert abs(sum(rtd) / 60 - value["2061", full_city.live_ms]) < 0.011
