"""Faults: the truth that the city tells is the truth of its values."""

from __future__ import annotations

import numpy as np
import pytest

from offsite.city.emissions import NORMAL, OVER_RANGE, STOPPED, base_o2, block, converted
from offsite.city.faults import KINDS, overlay, scenario
from offsite.city.model import City
from offsite.city.reports import events
from offsite.city.tables import FACTORS, HOUR_MS, MINUTE_MS


def two_worlds(city, fault):
    """Give the healthy and the faulty minutes of a fault's outlet over its span, and the columns inside."""
    outlet = next(o for o in city.inventory.outlets if (o.site, o.point) == (fault.site, fault.point))
    start = fault.start - 30 * MINUTE_MS
    time = np.arange(start, fault.end + 30 * MINUTE_MS, MINUTE_MS, dtype=np.int64)
    healthy = block(outlet.profile, (outlet,), city.sites, time, MINUTE_MS, city.seed)
    return outlet, healthy, overlay(healthy, city.faults), (time >= fault.start) & (time < fault.end)


def of_kind(city, kind):
    found = [f for f in city.faults if f.kind == kind]
    assert found, kind
    return found


def test_every_kind_of_the_scenario_is_known_and_placed(full_city):
    assert {e["kind"] for e in scenario()} <= set(KINDS)
    assert {f.id for f in full_city.faults} == {e["id"] for e in scenario()}


def test_the_truth_names_what_is_needed(full_city):
    for row in full_city.truth():
        assert set(row) == {"id", "kind", "site", "point", "factor", "start", "end", "rules"}
        assert full_city.start_ms <= row["end"]
        assert row["rules"]


def test_something_shows_within_the_first_live_minutes(full_city):
    soon = [
        f for f in full_city.faults if -2 * HOUR_MS <= f.start - full_city.live_ms <= 12 * MINUTE_MS and f.end > full_city.live_ms
    ]
    assert len({f.kind for f in soon}) >= 5


def test_seven_past_days_hold_faults(full_city):
    past = [f for f in full_city.faults if f.end <= full_city.live_ms]
    assert len(past) >= 10
    assert len({(f.start - full_city.start_ms) // (24 * HOUR_MS) for f in past}) >= 4


@pytest.mark.parametrize("kind", ["exceedance", "spike", "stopped_treatment"])
def test_over_the_limit_when_the_truth_says_so(full_city, kind):
    for fault in of_kind(full_city, kind):
        outlet, healthy, faulty, inside = two_worlds(full_city, fault)
        plane = faulty.plane(fault.factor)
        value = faulty.values[plane]
        if fault.factor in outlet.profile.converted:
            value = converted(value, faulty.values[faulty.plane("a19001")], base_o2([outlet]))
        assert np.median(value[0, inside]) > outlet.limits[fault.factor] * 1.1
        assert np.array_equal(faulty.values[:, :, ~inside], healthy.values[:, :, ~inside])


def test_a_constant_value_is_constant_only_inside(full_city):
    for fault in of_kind(full_city, "constant"):
        _, _, faulty, inside = two_worlds(full_city, fault)
        value = faulty.values[faulty.plane(fault.factor), 0]
        assert len(set(value[inside])) == 1
        assert len(set(value[~inside])) > 30


def test_dilution_lifts_oxygen_and_lowers_pollutants_while_the_converted_value_stays(full_city):
    for fault in of_kind(full_city, "dilution"):
        outlet, healthy, faulty, inside = two_worlds(full_city, fault)
        o2 = healthy.plane("a19001")
        plane = healthy.plane(fault.factor)
        assert (faulty.values[o2, 0, inside] - healthy.values[o2, 0, inside]).min() >= 2.0
        assert (faulty.values[plane, 0, inside] / healthy.values[plane, 0, inside]).max() <= 0.7
        both = [converted(b.values[plane], b.values[o2], base_o2([outlet])) for b in (healthy, faulty)]
        assert np.allclose(*both)


def test_stopped_treatment_uses_no_power_while_production_does(full_city):
    for fault in of_kind(full_city, "stopped_treatment"):
        meters = full_city.inventory.meters
        time = np.array([fault.start - HOUR_MS, fault.start + 5 * MINUTE_MS, fault.end + MINUTE_MS], np.int64)
        power = full_city.power(time)
        share = {m.role: power[m.index] / m.rated_kw for m in meters if m.site == fault.site}
        assert share["production"].min() > 0.3
        assert share["treatment"][1] < 0.05
        assert share["treatment"][[0, 2]].min() > 0.5


def test_a_false_stop_is_flagged_while_the_power_runs(full_city):
    for fault in of_kind(full_city, "false_stop"):
        _, _, faulty, inside = two_worlds(full_city, fault)
        assert (faulty.flags[:, 0, inside] == STOPPED).all()
        assert (faulty.flags[:, 0, ~inside] == NORMAL).all()
        power = full_city.power(np.array([fault.start + 10 * MINUTE_MS], np.int64))
        assert max(power[m.index, 0] / m.rated_kw for m in full_city.inventory.meters if m.site == fault.site) > 0.3


def test_over_range_is_flagged_t_at_the_top(full_city):
    for fault in of_kind(full_city, "over_range"):
        _, _, faulty, inside = two_worlds(full_city, fault)
        plane = faulty.plane(fault.factor)
        assert (faulty.values[plane, 0, inside] == FACTORS[fault.factor].range_high).all()
        assert (faulty.flags[plane, 0, inside] == OVER_RANGE).all()


def test_a_tampered_sample_lowers_all_pollutants_but_not_the_flow(full_city):
    for fault in of_kind(full_city, "water_dilution"):
        _, healthy, faulty, inside = two_worlds(full_city, fault)
        for code in ("w01018", "w21003"):
            plane = faulty.plane(code)
            assert (faulty.values[plane, 0, inside] <= 0.5 * healthy.values[plane, 0, inside]).all()
        flow = faulty.plane("w00000")
        assert np.array_equal(faulty.values[flow], healthy.values[flow])


def test_cameras_and_doors_report_their_faults_once(full_city):
    rows = events(full_city, full_city.start_ms, full_city.live_ms + 3 * HOUR_MS)
    assert len({r["id"] for r in rows}) == len(rows)
    for fault in full_city.faults:
        kinds = {r["kind"] for r in rows if r["site"] == fault.site and r["body"].get("work_order_id") is None}
        if fault.kind == "camera_covered":
            assert "occlusion" in kinds
        if fault.kind == "intrusion":
            assert {"door_forced", "intrusion"} <= kinds


def test_events_are_cut_without_loss_or_repetition(full_city):
    begin, end = full_city.start_ms, full_city.start_ms + 48 * HOUR_MS
    whole = events(full_city, begin, end)
    parts = [events(full_city, t, t + HOUR_MS) for t in range(begin, end, HOUR_MS)]
    assert [r["id"] for p in parts for r in p] == [r["id"] for r in whole]
    assert whole


def test_a_small_city_leaves_out_what_does_not_fit():
    tiny = City(enterprises=3, days=1)
    assert len(tiny.faults) < len(scenario())
