"""An alert as people read it: figures, the limit that held, words in two languages, the plan's hash (design §8)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from streams.alerts import factor_names
from streams.identity import content_id
from streams.registry_model import Bounds, Factor, Limit, Point, Registry, Site
from tests.streams.driven import PLAN, T0, Product, clock, ms, outlet, own_day, own_hour, rt, together

FIELDS = [
    "id",
    "rule",
    "family",
    "site",
    "point",
    "factor",
    "period",
    "level",
    "active",
    "opened",
    "updated",
    "closed",
    "observed",
    "expected",
    "limit",
    "unit",
    "score",
    "reason_zh",
    "reason_en",
    "plan",
    "folded",
    "seq",
]
PERMIT = outlet(("a21026", "hour", 100.0), ("a21026", "day", 60.0))


def told(*records, registry: Registry = PERMIT, **wanted):
    product = Product(registry)
    for record in records:
        product.feed([record])
    return product.said(**wanted)


def test_all_fields() -> None:
    [alert] = told(own_hour(8, 150.0))
    assert sorted(alert) == sorted(FIELDS)
    assert alert["id"] == content_id("exceed-hour", "S1/DA001/a21026/hour", T0 + 8 * 3_600_000)
    assert (alert["opened"], alert["updated"], alert["closed"]) == (clock(480), clock(542), None)
    assert (alert["observed"], alert["expected"], alert["limit"], alert["unit"], alert["score"]) == (
        150.0,
        100.0,
        100.0,
        "mg/m³",
        1.5,
    )
    assert alert["reason_zh"] == "二氧化硫 小时均值 150 mg/m³，超过限值 100 mg/m³ 的 1.5 倍（permit）"
    assert "hourly mean 150 mg/m³ is 1.5 times the limit 100 mg/m³ (permit)" in alert["reason_en"]
    assert alert["plan"] == PLAN.hash


@pytest.mark.parametrize(
    ("value", "level"), [(100.0, None), (100.01, 3), (149.9, 3), (150.0, 2), (199.9, 2), (200.0, 1), (900.0, 1)]
)
def test_levels_of_an_hour(value: float, level: int | None) -> None:
    assert [a["level"] for a in told(own_hour(8, value))] == ([] if level is None else [level])


@pytest.mark.parametrize(("value", "level"), [(60.0, None), (60.5, 2), (120.0, 1)])
def test_levels_of_a_day(value: float, level: int | None) -> None:
    assert [(a["rule"], a["level"]) for a in told(own_day(0, value))] == ([] if level is None else [("exceed-day", level)])


def test_two_hours_in_a_row_are_orange_and_six_red() -> None:
    assert [a["level"] for a in told(own_hour(0, 110.0), own_hour(1, 110.0))] == [2]
    assert [a["level"] for a in told(*(own_hour(h, 110.0) for h in range(6)))] == [1]


def test_an_hour_without_judgement_in_between_does_not_make_them_a_row() -> None:
    flagged = [own_hour(h, 110.0, flag="D") for h in range(1, 6)]
    [alert] = told(own_hour(0, 110.0), *flagged, own_hour(6, 110.0))
    assert (alert["level"], alert["active"], alert["opened"]) == (3, True, clock(0))


def test_a_compliant_hour_closes_it_at_the_end_of_the_last_one_over() -> None:
    [alert] = told(own_hour(0, 110.0), own_hour(1, 130.0), own_hour(2, 100.0))
    assert (alert["active"], alert["closed"], alert["observed"]) == (False, clock(120), 130.0)


# --- which limit


def limit(high: float, source: str, since: str | None = None, until: str | None = None) -> Limit:
    days = (date.fromisoformat(d) if d else None for d in (since, until))
    return Limit("S1", "DA001", "a21026", "hour", Bounds(None, high), "mg/m3", source, *days)


def with_limits(*limits: Limit, **more) -> Registry:
    return Registry((Site("S1"),), (Point("S1", "DA001", "gas", mn="S1", **more),), (), limits)


def test_the_permit_beats_the_national_limit() -> None:
    coal = {"standard": "GB 13271-2014", "class_": "coal/in-use"}
    [alert] = told(own_hour(8, 450.0), registry=with_limits(**coal))
    assert (alert["limit"], "GB 13271-2014" in alert["reason_zh"]) == (400.0, True)
    assert told(own_hour(8, 450.0), registry=with_limits(limit(500.0, "permit"), **coal)) == []
    [alert] = told(own_hour(8, 120.0), registry=with_limits(limit(100.0, "permit"), **coal))
    assert alert["limit"] == 100.0


def test_the_limit_is_that_of_the_day_of_the_hour() -> None:
    changed = with_limits(limit(200.0, "permit", None, "2026-10-11"), limit(100.0, "permit", "2026-10-12", None))
    assert told(own_hour(-1, 150.0), registry=changed) == []
    assert [a["limit"] for a in told(own_hour(0, 150.0), registry=changed)] == [100.0]
    assert ms("2026-10-11T23:00:00+08:00") == T0 - 3_600_000


def test_the_limit_told_is_the_one_that_the_peak_was_measured_against() -> None:
    changed = with_limits(limit(100.0, "permit", None, "2026-10-11"), limit(50.0, "permit", "2026-10-12", None))
    [alert] = told(own_hour(-1, 110.0), own_hour(0, 90.0), registry=changed)
    assert (alert["opened"], alert["observed"], alert["limit"], alert["score"]) == (clock(-60), 90.0, 50.0, 1.8)


def test_a_value_below_a_range_is_told_with_its_lower_bound() -> None:
    ph = Registry(
        (Site("S1"),),
        (Point("S1", "DW001", "water", mn="S1"),),
        (),
        (Limit("S1", "DW001", "w01001", "hour", Bounds(6.0, 9.0), "-", "permit"),),
    )
    at = "S1/DW001/w01001"
    [low] = told(own_hour(8, 5.0, at=at), registry=ph)
    assert (low["observed"], low["limit"]) == (5.0, 6.0)
    [high] = told(own_hour(8, 9.6, at=at), registry=ph)
    assert high["limit"] == 9.0
    assert told(own_hour(8, 6.0, at=at), own_hour(9, 9.0, at=at), registry=ph) == []


def test_no_limit_no_alert() -> None:
    assert told(own_hour(8, 9e5), registry=outlet()) == []


def test_without_a_registry_the_plan_has_limits() -> None:
    product = Product(infer=True)
    product.feed([own_hour(8, 450.0)])
    [alert] = product.said()
    assert (alert["limit"], "默认限值" in alert["reason_zh"], "default limit" in alert["reason_en"]) == (400.0, True, True)


def test_a_rule_looks_only_at_its_factors() -> None:
    rules = tuple(replace(r, only=frozenset({"a21002"})) if r.id == "exceed-hour" else r for r in PLAN.rules)
    product = Product(outlet(("a21026", "hour", 100.0), ("a21002", "hour", 100.0)), replace(PLAN, rules=rules))
    product.feed([own_hour(8, 150.0), own_hour(8, 150.0, at="S1/DA001/a21002")])
    assert [a["factor"] for a in product.said()] == ["a21002"]


# --- the other rules


def test_a_constant_value() -> None:
    product = Product(outlet())
    product.play([rt(m, 50.0) for m in range(61)], until=61, every=5)
    assert product.said() == []
    product.feed([rt(61, 50.0)])
    [alert] = product.said()
    assert (alert["rule"], alert["period"], alert["opened"], alert["level"]) == ("constant", "realtime", clock(61), 3)
    assert alert["reason_zh"] == "二氧化硫 连续 61 分钟为同一数值 50 mg/m³"
    assert (alert["limit"], alert["expected"]) == (None, None)
    product.feed([rt(62, 51.0)])
    assert product.said()[0]["closed"] == clock(61)


def test_a_minute_mean_is_judged_where_no_real_time_value_comes_and_only_there() -> None:
    product = Product(outlet())
    product.feed(
        [
            [*rt(m, 50.0, at=f"S1/{p}/a21026", stat="avg"), *(rt(m, 50.0) if p == "DA001" else [])]
            for m in range(70)
            for p in ("DA001", "DA002")
        ]
    )
    assert [(a["point"], a["period"]) for a in product.said()] == [("DA001", "realtime"), ("DA002", "minute")]


def test_a_step_away_from_the_usual() -> None:
    product = Product(outlet(("a21026", "hour", 100.0)))
    usual = [rt(m, 40.0 + m % 3) for m in range(15)]
    product.feed([*usual, rt(15, 95.0)])
    [alert] = product.said()
    assert (alert["rule"], alert["observed"], alert["expected"], alert["level"]) == ("step", 95.0, 41.0, 4)
    assert "由常态 41" in alert["reason_zh"]


def test_a_value_that_cannot_be_raises_after_three_minutes_and_a_flagged_one_does_not() -> None:
    product = Product(outlet())
    product.feed([rt(m, -50.0, flag="D") for m in range(10)])
    assert product.said() == []
    product.feed([rt(m, -50.0) for m in range(10, 13)])
    assert product.said() == []
    product.feed([rt(13, -50.0)])
    assert [(a["rule"], a["opened"]) for a in product.said()] == [("out-of-range", clock(10))]


@pytest.mark.parametrize("value", [50.0, 0.0, -1.0])
def test_a_value_flagged_as_over_its_range_is_over_it_whatever_it_says(value: float) -> None:
    product = Product(outlet(("a21026", "hour", 10.0)))
    product.feed([rt(m, value, flag="T") for m in range(60)], tick=95)
    assert [(a["rule"], a["opened"]) for a in product.said()] == [("out-of-range", clock(0))]


def test_a_value_below_a_registered_range_is_out_of_it() -> None:
    factors = (Factor("S1", "DA001", "a21026", range_low=5.0, range_high=1000.0),)
    for value, raised in ((3.0, True), (5.0, False), (1000.0, False), (1000.5, True)):
        product = Product(together(outlet(), factors=factors))
        product.feed([rt(m, value) for m in range(5)])
        assert bool(product.said(rule="out-of-range")) == raised, value


def test_every_factor_of_the_plan_has_names_and_unit() -> None:
    names = factor_names()
    for code in (*PLAN.replay_limits, *PLAN.ranges):
        zh, en, unit = names[code]
        assert zh
        assert en
        assert unit or code == "w01001"
