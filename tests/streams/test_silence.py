"""Silence: points that stopped, points that came back, and the platform's own pauses (rules A-DT-1, C.2)."""

from __future__ import annotations

import itertools

import pytest

from streams.plan.load import MINUTE
from streams.registry_model import Factor
from tests.streams.driven import Product, clock, outlet, rt, together


def steady(first: int, last: int, at: str = "S1/DA001/a21026", step: int = 1):
    return [rt(m, 50.0 + m % 3, at=at, late=0) for m in range(first, last + 1, step)]


def test_a_gap_is_one_alert_from_the_last_arrival_on() -> None:
    product = Product()
    product.play(steady(0, 30), until=90)
    [alert] = product.said(rule="silence")
    assert (alert["opened"], alert["closed"], alert["active"], alert["level"]) == (clock(30), None, True, 4)
    assert (alert["site"], alert["point"], alert["factor"], alert["folded"]) == ("S1", "DA001", "", None)
    assert sum(body["rule"] == "silence" for _, _, body in product.bodies) == 1


def test_it_is_told_after_ten_minutes_and_one_tick_for_the_cross_site_stage() -> None:
    product = Product()
    product.play(steady(0, 30), until=41)
    assert product.said() == []
    product.feed([], tick=42)
    assert [a["opened"] for a in product.said()] == [clock(30)]
    assert product.said()[0]["updated"] == clock(42)


def test_slow_data_is_given_three_intervals() -> None:
    product = Product()
    product.play(steady(0, 120, step=10), until=151, since=0)
    assert product.said() == []
    product.play([], until=152, since=151)
    assert [a["opened"] for a in product.said()] == [clock(120)]


@pytest.mark.parametrize(("interval_s", "minutes"), [(60.0, 10), (600.0, 30), (None, 180)])
def test_a_registered_interval_needs_no_learning(interval_s: float | None, minutes: int) -> None:
    factors = (Factor("S1", "DA001", "a21026", interval_s=interval_s), Factor("S1", "DA001", "a21002", interval_s=3600.0))
    product = Product(together(outlet(), factors=factors[: 1 + (interval_s is not None)]))
    first = [rt(0, 50.0, late=0) + rt(0, 50.0, late=0, at="S1/DA001/a21002")]
    product.play(first, until=minutes, since=-1, every=5)
    assert product.said() == []
    product.play([], until=minutes + 6, since=minutes, every=2)
    assert [a["opened"] for a in product.said()] == [clock(0)]


def test_a_return_closes_it() -> None:
    product = Product()
    product.play(steady(0, 30) + steady(60, 70), until=70)
    [alert] = product.said()
    assert (alert["opened"], alert["active"]) == (clock(30), False)
    assert clock(58) <= alert["closed"] <= clock(60)


def test_a_gap_that_no_tick_saw_is_told_on_return() -> None:
    product = Product()
    product.feed(steady(0, 30) + steady(60, 70))
    [alert] = product.said()
    assert (alert["opened"], alert["closed"]) == (clock(30), clock(60))


def test_two_gaps_are_two_alerts() -> None:
    product = Product()
    product.play(steady(0, 30) + steady(60, 90) + steady(120, 125), until=125)
    assert [(a["opened"], a["active"]) for a in product.said()] == [(clock(30), False), (clock(90), False)]


def test_a_day_of_silence_is_more_severe() -> None:
    product = Product()
    product.play(steady(0, 30), until=30)
    product.play([], until=30 + 241, since=30, every=5)
    assert [a["level"] for a in product.said()] == [3]


def test_any_reading_of_the_point_is_a_sign_of_life() -> None:
    product = Product()
    other = [rt(m, 5.0, flag="D", at="S1/DA001/a21002") for m in range(31, 90)]
    product.play(steady(0, 30) + other, until=90)
    assert product.said(rule="silence") == []


def test_late_and_repeated_readings_are_signs_of_life_too() -> None:
    product = Product()
    again = [[row._replace(arrived=row.arrived + m * MINUTE) for row in rt(0, 50.0, late=0)] for m in range(31, 200)]
    product.play(steady(0, 30) + again, until=201, every=5)
    assert product.said(rule="silence") == []
    assert product.books["duplicate"] == len(again)


# --- the platform's own pauses


def test_a_pause_of_the_platform_raises_nothing() -> None:
    product = Product()
    product.play(steady(0, 30), until=30)
    product.play(steady(210, 240), until=240, since=210)
    assert product.said() == []


def test_nor_when_a_reading_comes_before_the_first_tick() -> None:
    product = Product()
    product.play(steady(0, 30), until=30)
    product.feed(steady(210, 210) + steady(210, 210, at="S2/DA001/a21026"))
    product.play(steady(211, 240), until=240, since=210)
    assert product.said(site="S1") == []


def test_a_point_that_stays_silent_after_a_pause_is_found() -> None:
    product = Product()
    both = steady(0, 30) + steady(0, 30, at="S1/DA002/a21026")
    product.play(both, until=30)
    product.feed(steady(210, 210))
    product.play(steady(211, 240), until=240, since=210)
    [alert] = product.said()
    assert alert["point"] == "DA002"
    assert clock(208) <= alert["opened"] <= clock(210)


def test_a_point_that_spoke_before_the_first_tick_is_not_forgiven_twice() -> None:
    product = Product()
    product.play(steady(0, 30), until=30)
    product.feed(steady(210, 210))
    product.play([], until=240, since=210)
    assert [a["opened"] for a in product.said()] == [clock(210)]


@pytest.mark.parametrize("cut", [1, 5, 31, 32, 40])
def test_pauses_do_not_depend_on_the_cut(cut: int) -> None:
    rows = steady(31, 33) + steady(210, 215) + steady(400, 402)
    ends = []
    for edges in ([0, len(rows)], [0, cut % len(rows), len(rows)], list(range(len(rows) + 1))):
        product = Product()
        product.play(steady(0, 30), until=30)
        for start, end in itertools.pairwise(edges):
            product.feed(rows[start:end])
        ends.append((product.bodies, product.state.tick, product.state.slabs["rule:silence"].data.tobytes()))
    assert ends[0] == ends[1] == ends[2]


# --- common cause


def operated(points: int, operator: str = "运维甲"):
    return together(*(outlet(site=f"S{i}", operator=operator) for i in range(points)))


def outage(silent: int, points: int, **more) -> Product:
    product = Product(operated(points), **more)
    rows = [r for i in range(points) for r in steady(0, 30 if i < silent else 60, at=f"S{i}/DA001/a21026")]
    product.play(rows, until=60)
    return product


def test_an_outage_of_one_operator_is_folded_and_recorded() -> None:
    found = outage(4, 10).said(rule="silence")
    assert {a["site"] for a in found} == {"S0", "S1", "S2", "S3"}
    assert {a["folded"] for a in found} == {"运维甲 的 10 个点位中 4 个同时中断，疑为共同原因（网络或平台）"}


def test_two_of_ten_are_silent_for_reasons_of_their_own() -> None:
    assert {a["folded"] for a in outage(2, 10).said(rule="silence")} == {None}


def test_a_share_below_thirty_percent_is_not_folded() -> None:
    assert {a["folded"] for a in outage(3, 11).said(rule="silence")} == {None}
    assert {a["folded"] for a in outage(3, 10).said(rule="silence")} != {None}


def test_the_words_go_with_the_silence() -> None:
    product = outage(4, 10)
    back = [r for i in range(10) for r in steady(61, 90 if i else 64, at=f"S{i}/DA001/a21026")]
    product.play(back, until=90, since=60)
    folded = {a["opened"]: a["folded"] for a in product.said(site="S0")}
    assert list(folded) == [clock(30), clock(64)]
    assert folded[clock(30)] is not None
    assert folded[clock(64)] is None
