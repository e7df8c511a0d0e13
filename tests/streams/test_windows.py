"""Averaging and validity (HJ 212-2017 appendix D; rules A.2, A.3), through the pipeline."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.plan.load import MINUTE
from tests.streams.driven import Product, clock, outlet, own_day, own_hour, rt

SO2, O2, COD, FLOW = "S1/DA001/a21026", "S1/DA001/a19001", "S1/DW001/w01018", "S1/DW001/w00000"


def hour_of(records, factor="a21026", **more):
    """Feed records as one batch, close the first hour, and return its (mean, valid minutes, valid)."""
    product = Product(**more)
    product.feed(sorted(records, key=lambda r: r[0].arrived), tick=95)
    [(start, *rest)] = product.windows("hour", factor)
    assert start == clock(0)
    return tuple(rest)


@pytest.mark.parametrize(("minutes", "valid"), [(44, False), (45, True), (60, True)])
def test_an_hour_needs_45_valid_minutes(minutes: int, valid: bool) -> None:
    assert hour_of([rt(m, 50.0) for m in range(minutes)]) == (50.0, minutes, valid)


@pytest.mark.parametrize(("minutes", "valid"), [(44, False), (45, True)])
def test_minute_means_of_the_device_count_the_same(minutes: int, valid: bool) -> None:
    assert hour_of([rt(m, 50.0, stat="avg") for m in range(minutes)]) == (50.0, minutes, valid)


@pytest.mark.parametrize(("samples", "minutes", "valid"), [(11, 44, False), (12, 60, True)])
def test_a_minute_at_five_seconds_needs_12_samples(samples: int, minutes: int, valid: bool) -> None:
    records = [rt(m + s / 12, 50.0) for m in range(60) for s in range(samples if m < 16 else 12)]
    assert hour_of(records) == (50.0, minutes, valid)


@pytest.mark.parametrize(("flagged", "minutes"), [(4, 60), (5, 0)])
def test_a_gas_minute_needs_three_quarters_of_its_samples_good(flagged: int, minutes: int) -> None:
    records = [
        rt(m + s / 16, 900.0 if s < flagged else 50.0, flag="D" if s < flagged else "N") for m in range(60) for s in range(16)
    ]
    assert hour_of(records)[1:] == (minutes, minutes > 0)


@pytest.mark.parametrize(("sent", "covered", "valid"), [(6, 60, True), (5, 50, True), (4, 40, False)])
def test_ten_minute_data_covers_ten_minutes(sent: int, covered: int, valid: bool) -> None:
    assert hour_of([rt(10 * i, 50.0) for i in range(sent)]) == (50.0, covered, valid)


def test_a_lone_value_stands_for_one_minute() -> None:
    assert hour_of([rt(7, 50.0)]) == (50.0, 1, False)


def test_one_flagged_sample_spoils_a_minute_of_water() -> None:
    records = [rt(m + s / 2, 50.0, flag="D" if (m, s) == (3, 1) else "N", at=COD) for m in range(60) for s in range(2)]
    assert hour_of(records, "w01018") == (50.0, 59, True)


def test_water_is_weighted_by_its_flow() -> None:
    records = [[*rt(m, 10.0 if m < 30 else 100.0, at=COD), *rt(m, 9.0 if m < 30 else 1.0, at=FLOW)] for m in range(60)]
    assert hour_of(records, "w01018") == (19.0, 60, True)
    assert hour_of([rt(m, 10.0 if m < 30 else 100.0, at=COD) for m in range(60)], "w01018") == (55.0, 60, True)


def test_water_without_flow_in_the_hour_is_a_plain_mean() -> None:
    records = [[*rt(m, 10.0 if m < 30 else 100.0, at=COD), *rt(m, 0.0, at=FLOW)] for m in range(60)]
    assert hour_of(records, "w01018") == (55.0, 60, True)


def test_a_minute_with_more_values_than_can_be_counted_is_not_valid() -> None:
    records = [rt(m + s / 12, 50.0) for m in range(1, 60) for s in range(12)] + [rt(s / 300, 50.0) for s in range(300)]
    assert hour_of(records) == (50.0, 59, True)


@given(st.permutations(range(50)), st.lists(st.integers(1, 49), max_size=4))
@settings(max_examples=20)
def test_neither_order_nor_cut_changes_a_mean(order: list[int], cuts: list[int]) -> None:
    product = Product()
    values = [rt(m, 50.0 + 0.1 * m, late=60 - m) for m in order]
    edges = sorted({0, 50, *cuts})
    for start, end in itertools.pairwise(edges):
        product.feed(values[start:end])
    product.feed([], tick=95)
    assert product.windows("hour") == [(clock(0), 52.45, 50, True)]


# --- days


@pytest.mark.parametrize(("hours", "valid"), [(19, False), (20, True), (24, True)])
def test_a_day_needs_20_valid_hours(hours: int, valid: bool) -> None:
    product = Product()
    product.feed([own_hour(h, 50.0 + h) for h in range(hours)], tick=26 * 60)
    mean = 50.0 + (hours - 1) / 2
    assert product.windows("day") == [(clock(0), mean, hours, valid)]


def test_a_flagged_hour_is_no_hour_of_the_day() -> None:
    product = Product(outlet(("a21026", "day", 40.0)))
    product.feed([own_hour(h, 50.0, flag="D" if h in {3, 4, 5, 6, 7} else "N") for h in range(24)], tick=26 * 60)
    assert product.windows("day") == [(clock(0), 50.0, 19, False)]
    assert product.said() == []


def test_a_day_of_water_is_weighted_by_the_flow_of_its_hours() -> None:
    product = Product()
    both = [[*own_hour(h, 10.0 if h < 12 else 100.0, at=COD), *own_hour(h, 9.0 if h < 12 else 1.0, at=FLOW)] for h in range(24)]
    product.feed(both, tick=26 * 60)
    assert product.windows("day", "w01018") == [(clock(0), 19.0, 24, True)]


def test_a_day_closes_at_half_past_one() -> None:
    product = Product()
    product.feed([own_hour(h, 50.0) for h in range(24)], tick=25.5 * 60 - 1)
    assert product.windows("day") == []
    product.feed([], tick=25.5 * 60)
    assert len(product.windows("day")) == 1


def test_the_days_of_the_device_count_before_the_recomputed() -> None:
    product = Product(outlet(("a21026", "day", 40.0)))
    product.feed([*(own_hour(h, 50.0) for h in range(24)), own_day(0, 39.0)], tick=26 * 60)
    assert product.said() == []
    assert product.windows("day") == [(clock(0), 50.0, 24, True)]


def test_the_sites_keep_their_own_time() -> None:
    product = Product()
    product.feed([rt(m, 50.0) for m in range(50)])
    product.feed([rt(200, 50.0, at="S2/DA001/a21026")])
    assert product.windows("hour") == []
    product.feed([rt(90, 50.0)])
    assert product.windows("hour") == [(clock(0), 50.0, 50, True)]


# --- conversion to base O2


def test_an_hour_of_the_device_is_converted_by_the_oxygen_of_its_record() -> None:
    product = Product(outlet(("a21026", "hour", 37.4), base_o2=6.0))
    product.feed([[*own_hour(0, 30.0), *own_hour(0, 9.0, at=O2)]])
    [alert] = product.said()
    assert (alert["observed"], alert["limit"], alert["factor"]) == (37.5, 37.4, "a21026")


def test_a_value_the_device_converted_itself_is_taken_as_it_is() -> None:
    product = Product(outlet(("a21026", "hour", 37.4), base_o2=6.0))
    product.feed([[*own_hour(0, 30.0), *own_hour(0, 37.3, stat="zs_avg"), *own_hour(0, 9.0, at=O2)]], tick=95)
    assert product.said() == []


def test_each_hour_of_one_batch_is_converted_by_its_own_oxygen() -> None:
    product = Product(outlet(("a21026", "hour", 37.4), base_o2=6.0))
    batch = [row for h, o2 in ((0, 6.0), (1, 9.0)) for row in (*own_hour(h, 30.0), *own_hour(h, o2, at=O2))]
    late = max(row.arrived for row in batch) - 40 * MINUTE
    product.feed([[row._replace(arrived=late) for row in batch]])
    assert [(a["opened"], a["observed"]) for a in product.said()] == [(clock(60), 37.5)]


@pytest.mark.parametrize("oxygen_first", [True, False])
def test_oxygen_in_a_frame_of_its_own_is_waited_for_until_the_hour_closes(oxygen_first: bool) -> None:
    product = Product(outlet(("a21026", "hour", 37.4), base_o2=6.0))
    frames = [own_hour(0, 30.0), own_hour(0, 9.0, at=O2)]
    product.feed(frames[::-1] if oxygen_first else frames)
    assert product.said() == []
    product.feed([], tick=95)
    assert [(a["observed"], a["opened"]) for a in product.said()] == [(37.5, clock(0))]


def test_minutes_are_converted_by_the_oxygen_of_their_hour() -> None:
    product = Product(outlet(("a21026", "hour", 37.4), base_o2=6.0))
    product.feed([[*rt(m, 30.0), *rt(m, 9.0, at=O2)] for m in range(60)], tick=95)
    assert [a["observed"] for a in product.said("alert", rule="exceed-hour")] == [37.5]


def test_an_invalid_hour_of_oxygen_converts_nothing() -> None:
    product = Product(outlet(("a21026", "hour", 37.4), base_o2=6.0))
    product.feed([[*rt(m, 300.0 + m), *(rt(m, 9.0 + m / 60, at=O2) if m < 44 else [])] for m in range(60)], tick=95)
    assert product.said("alert", rule="exceed-hour") == []


@pytest.mark.parametrize(("oxygen", "judged"), [(20.0, True), (20.01, False), (21.0, False), (None, False)])
def test_too_much_oxygen_or_none_gives_no_judgement(oxygen: float | None, judged: bool) -> None:
    product = Product(outlet(("a21026", "hour", 37.4), base_o2=6.0))
    record = own_hour(0, 30.0) + ([] if oxygen is None else own_hour(0, oxygen, at=O2))
    product.feed([record], tick=95)
    assert bool(product.said()) == judged


def test_a_point_without_base_oxygen_is_judged_as_measured() -> None:
    product = Product(outlet(("a21026", "hour", 37.4)))
    product.feed([[*own_hour(0, 37.5), *own_hour(0, 20.9, at=O2)]], tick=95)
    assert [a["observed"] for a in product.said()] == [37.5]


# --- the device's hour and the recomputed one


def test_a_flagged_hour_is_neither_judged_nor_replaced() -> None:
    product = Product(outlet(("a21026", "hour", 100.0)))
    product.feed([*(rt(m, 150.0 + m) for m in range(60)), own_hour(0, 150.0, flag="D")], tick=95)
    assert product.said("alert", rule="exceed-hour") == []
    assert product.windows("hour")[0][3] is False


def test_the_hour_of_the_device_counts_before_the_recomputed_one() -> None:
    product = Product(outlet(("a21026", "hour", 100.0)))
    product.feed([*(rt(m, 150.0 + m) for m in range(60)), own_hour(0, 99.0)], tick=95)
    assert product.said("alert", rule="exceed-hour") == []


def test_a_silent_device_hour_is_replaced_by_its_minutes() -> None:
    product = Product(outlet(("a21026", "hour", 100.0)))
    product.feed([rt(m, 150.0 + m % 2) for m in range(60)], tick=89)
    assert product.said("alert", rule="exceed-hour") == []
    product.feed([], tick=90)
    assert [a["observed"] for a in product.said("alert", rule="exceed-hour")] == [150.5]
