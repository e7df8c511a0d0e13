from __future__ import annotations

from datetime import date, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.limit_index import LimitIndex
from streams.limits import LimitFound, limit_at, rank_of
from streams.model import SeriesKey, SeriesTable
from streams.registry import Bounds, Factor, Limit, Point, Registry
from streams.standards import StandardLimit, StandardLimits, load_standards, national, plan_defaults
from streams.units import canonical, differ, quantity

NONE = StandardLimits([])


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text + "+08:00").timestamp() * 1000)


NOW = ms("2026-06-01T12:00:00")


def limit(
    high: float,
    source: str,
    *,
    low: float | None = None,
    unit: str = "mg/m3",
    since: str = "",
    until: str = "",
    period: str = "hour",
) -> Limit:
    days = [date.fromisoformat(day) if day else None for day in (since, until)]
    return Limit("S", "DA001", "a21026", period, Bounds(low, high), unit, source, *days)


def held(
    *limits: Limit, at: int = NOW, period: str = "hour", kind: str = "concentration", point: Point | None = None
) -> LimitFound | None:
    registry = Registry(points=(point or Point("S", "DA001", "gas"),), limits=limits)
    return limit_at(registry, NONE, "S", "DA001", "a21026", period, at, kind=kind)


def high(found: LimitFound | None) -> float | None:
    assert found is not None
    return found.high


def of_standard(
    standard: str, class_: str, medium: str, factor: str, period: str, at: int = NOW, **more: object
) -> LimitFound | None:
    point = Point("S", "P1", medium, standard=standard, class_=class_, built=more.pop("built", None))  # type: ignore[arg-type]
    return limit_at(Registry(points=(point,)), national(), "S", "P1", factor, period, at, **more)  # type: ignore[arg-type]


def test_the_permit_wins_even_when_it_is_looser() -> None:
    found = held(limit(35, "GB 13223-2011"), limit(50, "排污许可证 91410100"), limit(30, "local"))
    assert found == LimitFound(None, 50, "mg/m3", "排污许可证 91410100", "排污许可证 91410100")


def test_without_a_permit_the_stricter_of_local_and_national_holds() -> None:
    assert high(held(limit(35, "national"), limit(30, "DB41/1424"))) == 30
    assert high(held(limit(35, "national"), limit(40, "DB41/1424"))) == 35
    assert high(held(limit(35, "national"), limit(40, "local", unit="ug/m3"))) == 40


def test_a_limit_holds_from_its_first_day_to_its_last_in_china_time() -> None:
    rows = (limit(100, "permit", until="2026-02-28"), limit(50, "permit", since="2026-03-01", until="2026-03-31"))
    assert high(held(*rows, at=ms("2026-02-28T23:59:59"))) == 100
    assert high(held(*rows, at=ms("2026-03-01T00:00:00"))) == 50
    assert high(held(*rows, at=ms("2026-03-31T23:59:59"))) == 50
    assert held(*rows, at=ms("2026-04-01T00:00:00")) is None


def test_an_expired_permit_gives_way_to_the_standard() -> None:
    rows = (limit(50, "permit", until="2026-01-01"), limit(35, "GB 1"))
    assert high(held(*rows)) == 35


def test_of_two_that_hold_the_newer_one_counts() -> None:
    assert high(held(limit(50, "permit", since="2020-01-01"), limit(35, "permit", since="2026-01-01"), limit(80, "permit"))) == 35


def test_a_limit_of_another_averaging_period_is_none() -> None:
    assert held(limit(35, "permit"), period="minute") is None
    assert held(limit(35, "permit", period="day"), period="hour") is None


def test_a_mass_is_never_held_to_a_concentration() -> None:
    rows = (limit(35, "permit"), limit(2.6, "permit", unit="kg/h"))
    assert high(held(*rows)) == 35
    assert high(held(*rows, kind="amount")) == 2.6


@pytest.mark.parametrize(
    ("standard", "class_", "medium", "factor", "period", "expected"),
    [
        ("GB 13223-2011", "coal boiler/new", "gas", "a21026", "hour", (None, 100)),
        ("gb13223", "燃煤锅炉/特别排放限值", "gas", "a21026", "hour", (None, 50)),
        ("GB 13271-2014", "gas/new", "gas", "a21002", "hour", (None, 200)),
        ("GB 18485-2014", "MSW", "gas", "a21005", "day", (None, 80)),
        ("GB 18485-2014", "MSW", "gas", "a21005", "hour", (None, 100)),
        ("GB 4915-2013", "kiln and heat use/special", "gas", "a21002", "hour", (None, 320)),
        ("环发〔2015〕164号", "coal boiler", "gas", "a34013", "hour", (None, 10)),
        ("GB 16297-1996", "use", "gas", "a24088", "hour", (None, 120)),
        ("GB 16297-1996", "use/boundary", "gas", "a24088", "hour", (None, 4)),
        ("GB 18918-2002", "一级A", "water", "w01018", "day", (None, 50)),
        ("GB 18918-2002", "1A", "water", "w01001", "day", (6, 9)),
        ("GB 8978-1996", "一级", "water", "w21003", "day", (None, 15)),
        ("GB 3838-2002", "Ⅲ类", "surface_water", "w01009", "hour", (5, None)),
        ("GB 3838-2002", "III", "surface_water", "w21011", "hour", (None, 0.2)),
        ("GB 3838-2002", "III/lake", "surface_water", "w21011", "hour", (None, 0.05)),
        ("GB 3838-2002", "III/lake", "surface_water", "w21003", "hour", (None, 1.0)),
        ("", "", "air", "a34004", "day", (None, 60)),
        ("GB 1;GB 18918-2002", "1B", "water", "w01018", "day", (None, 60)),
    ],
)
def test_standards_by_class(
    standard: str, class_: str, medium: str, factor: str, period: str, expected: tuple[float, float]
) -> None:
    found = of_standard(standard, class_, medium, factor, period)
    assert found is not None
    assert (found.low, found.high) == expected


@pytest.mark.parametrize(
    ("standard", "class_", "factor", "period"),
    [
        ("GB 13223-2011", "coal boiler/new", "a21026", "minute"),
        ("GB 13223-2011", "no such class", "a21026", "hour"),
        ("GB 13223-2011", "", "a21026", "hour"),
        ("GB 99999", "coal boiler/new", "a21026", "hour"),
        ("", "coal boiler/new", "a21026", "hour"),
        ("GB 13223-2011", "coal boiler/new", "a19001", "hour"),
    ],
)
def test_where_no_standard_speaks_there_is_no_limit(standard: str, class_: str, factor: str, period: str) -> None:
    assert of_standard(standard, class_, "gas", factor, period) is None


def test_ambient_limits_change_with_the_standard_s_date() -> None:
    days = {"2026-02-28": 75, "2026-03-01": 60, "2030-12-31": 60, "2031-01-01": 50}
    for day, wanted in days.items():
        assert high(of_standard("GB 3095", "2", "air", "a34004", "day", ms(f"{day}T00:00:00"))) == wanted


def test_an_edition_named_by_its_year_ends_with_it() -> None:
    assert of_standard("GB 3095-2012", "2", "air", "a34004", "day", ms("2026-03-01T00:00:00")) is None


def test_noise_has_a_day_and_a_night() -> None:
    for hour, wanted in {"05": 50, "06": 60, "21": 60, "22": 50, "00": 50}.items():
        assert high(of_standard("GB 3096", "2", "noise", "Leq", "hour", ms(f"2026-06-01T{hour}:00:00"))) == wanted
    assert high(of_standard("GB 12348-2008", "4类", "noise", "Ln", "day")) == 55


def test_ammonia_depends_on_the_water_and_is_lenient_without_it() -> None:
    for temp, wanted in ((None, 8), (12.0, 8), (12.1, 5), (25.0, 5)):
        assert high(of_standard("GB 18918-2002", "1A", "water", "w21003", "day", water_temp=temp)) == wanted


def test_phosphorus_depends_on_the_year_of_building() -> None:
    for built, wanted in ((None, 1), (date(2005, 12, 31), 1), (date(2006, 1, 1), 0.5)):
        assert high(of_standard("GB 18918-2002", "1A", "water", "w21011", "day", built=built)) == wanted


def test_the_point_s_own_limit_beats_the_standard() -> None:
    point = Point("S", "P1", "gas", standard="GB 13223-2011", class_="coal boiler/new")
    own = Limit("S", "P1", "a21026", "hour", Bounds(None, 150), "mg/m3", "permit")
    assert high(limit_at(Registry(points=(point,), limits=(own,)), national(), "S", "P1", "a21026", "hour", NOW)) == 150


def test_plan_defaults_are_the_last_resort_and_need_no_registry() -> None:
    limits = national().with_defaults(plan_defaults({"a21026": 400.0, "w01018": 100.0}))
    assert limit_at(Registry(), limits, "MN1", "DA001", "a21026", "hour", NOW) == LimitFound(None, 400, "mg/m3", "plan", "*")
    assert high(limit_at(Registry(), limits, "MN1", "DW001", "w01018", "hour", NOW)) == 100
    assert limit_at(Registry(), limits, "MN1", "DA001", "a21026", "minute", NOW) is None
    point = Point("S", "P1", "gas", standard="GB 13223-2011", class_="coal boiler/new")
    assert high(limit_at(Registry(points=(point,)), limits, "S", "P1", "a21026", "hour", NOW)) == 100


def test_a_unit_that_differs_from_the_wire_is_flagged_and_nothing_converted() -> None:
    registry = Registry(
        points=(Point("S", "DA001", "gas"),),
        factors=(Factor("S", "DA001", "a21026", wire_unit="微克/立方米"),),
        limits=(limit(35, "permit"),),
    )
    found = limit_at(registry, NONE, "S", "DA001", "a21026", "hour", NOW)
    assert found is not None
    assert (found.high, found.unit_mismatch) == (35, True)
    assert LimitFound(None, 1, "mg/m3", "", "", "毫克/标立方米").unit_mismatch is False
    assert LimitFound(None, 1, "mg/m3", "", "").unit_mismatch is False


def test_doubts_name_points_that_no_standard_fits() -> None:
    points = (
        Point("S", "P1", "gas", standard="GB 13223-2011", class_="coal"),
        Point("S", "P2", "gas", standard="GB 99"),
        Point("S", "P3", "gas", standard="GB 13223-2011", class_="coal boiler/new"),
        Point("S", "P4", "gas"),
    )
    doubts = national().doubts(Registry(points=points))
    assert len(doubts) == 2
    assert "points S/P1 class: 'coal' is none of GB 13223-2011's" in doubts[0]
    assert "points S/P2 standard: 'GB 99' has no limits in the plan" in doubts[1]


def test_the_packaged_table_is_sound() -> None:
    rows = national().rows
    assert len(rows) > 400
    assert {row.part for row in rows} == {"", "day", "night"}
    assert all(row.limit.low is not None or row.limit.high is not None for row in rows)
    assert {canonical(row.unit) for row in rows} == {"mg/m3", "ug/m3", "mg/L", "dB(A)", "-", "times", "/L"}


def test_a_faulty_table_names_every_line(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "limits.csv"
    head = "standard,class,class_zh,medium,factor,period,limit,unit,base_o2,part,condition,valid_from,valid_to\n"
    path.write_text(head + "G,c,,gas,a,hour,x,mg/m3,,,,,\nG,c,,gas,a,hour,1,mg/m3,,,,2026-99-01,\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"limits\.csv:2 .*\nlimits\.csv:3 "):
        load_standards(path)


@pytest.mark.parametrize(
    ("source", "rank"),
    [
        ("", 0),
        ("permit", 0),
        ("排污许可证", 0),
        ("协议", 0),
        ("local", 1),
        ("DB41/1", 1),
        ("GB 1", 2),
        ("national", 2),
        ("plan", 3),
    ],
)
def test_sources_have_ranks(source: str, rank: int) -> None:
    assert rank_of(source) == rank


def test_units() -> None:
    assert not differ("mg/m³", "毫克/立方米")
    assert differ("mg/L", "ug/L")
    assert differ("furlong", "mg/L")
    assert not differ("kg", "kg/h")
    assert (quantity("千克/小时"), quantity("mg/L")) == ("amount", "concentration")


DAYS = st.sampled_from(["", "2026-02-28", "2026-03-01", "2026-03-02", "2027-01-01"])
LIMITS = st.builds(
    lambda factor, period, high, source, since, until, unit: Limit(
        *("S", "DA001", factor, period, Bounds(None, high), unit, source),
        *(date.fromisoformat(d) if d else None for d in (since, until)),
    ),
    *(
        st.sampled_from(["a21026", "a21002"]),
        st.sampled_from(["hour", "day"]),
        st.floats(1, 99),
        st.sampled_from(["permit", "local", "GB"]),
    ),
    *(DAYS, DAYS, st.sampled_from(["mg/m3", "ug/m3", "kg/h"])),
)
TIMES = st.sampled_from(
    [ms(f"2026-0{m}-0{d}T{h}") for m in (2, 3) for d in (1, 2) for h in ("00:00:00", "05:59:59", "06:00:00", "22:00:00")]
)


@settings(max_examples=30, deadline=None)
@given(st.lists(LIMITS, max_size=6), st.lists(st.tuples(st.integers(0, 9), TIMES), min_size=1, max_size=12), st.integers(1, 11))
def test_the_index_answers_what_limit_at_answers(limits: list[Limit], asked: list[tuple[int, int]], cut: int) -> None:
    registry = Registry(points=(Point("S", "DA001", "gas"), Point("S", "NS001", "noise", class_="2")), limits=tuple(limits))
    table = SeriesTable()
    index = LimitIndex(registry, national(), table.keys)
    keys = [
        SeriesKey("S", "DA001", factor, period, stat)
        for factor in ("a21026", "a21002")
        for period in ("hour", "day")
        for stat in ("avg", "sum")
    ] + [SeriesKey("S", "NS001", "Leq", "hour", "avg"), SeriesKey("S", "DA001", "a21026", "hour", "max")]
    for part in (asked[:cut], asked[cut:]):
        members = [table.id(keys[i]) for i, _ in part]
        low, high = index.at(np.asarray(members, np.int32), np.asarray([t for _, t in part], np.int64))
        assert np.isnan(low).all()
        for (i, time), got in zip(part, high.tolist(), strict=True):
            key = keys[i]
            kind = {"avg": "concentration", "sum": "amount"}.get(key.stat)
            found = limit_at(registry, national(), *key[:4], time, kind=kind) if kind else None
            assert (None if np.isnan(got) else got) == (found.high if found else None)


def test_channels_are_asked_by_period() -> None:
    registry = Registry(points=(Point("S", "DA001", "gas", base_o2=6.0),), limits=(limit(35, "permit"),))
    index = LimitIndex(registry, NONE, [("S", "DA001", "a21026")])
    one, now = np.zeros(1, np.int32), np.asarray([NOW], np.int64)
    assert index.at(one, now, period="hour")[1].tolist() == [35.0]
    assert np.isnan(index.at(one, now, period="day")[1]).all()
    assert np.isnan(index.at(one, now)[1]).all()


def test_a_minute_series_may_ask_for_the_hour_s_limit() -> None:
    table = SeriesTable([SeriesKey("S", "DA001", "a21026", "minute", "avg")])
    index = LimitIndex(Registry(limits=(limit(35, "permit"),)), NONE, table.keys)
    one, now = np.zeros(1, np.int32), np.asarray([NOW], np.int64)
    assert np.isnan(index.at(one, now)[1]).all()
    assert index.at(one, now, period="hour")[1].tolist() == [35.0]


def test_a_converted_series_is_judged_in_place_of_the_measured_one() -> None:
    table = SeriesTable([SeriesKey("S", "DA001", "a21026", "hour", stat) for stat in ("avg", "zs_avg")])
    registry = Registry(points=(Point("S", "DA001", "gas", base_o2=6.0),), limits=(limit(35, "permit"),))
    both, now = np.arange(2, dtype=np.int32), np.full(2, NOW)
    assert LimitIndex(registry, NONE, table.keys).at(both, now)[1].tolist() == [35.0, 35.0]
    assert np.isnan(LimitIndex(registry, NONE, table.keys, converted_only=True).at(both, now)[1]).tolist() == [True, False]


def test_a_mismatch_is_listed_not_applied() -> None:
    table = SeriesTable([SeriesKey("S", "DW001", "w20117", "day", "avg")])
    rows = [StandardLimit("", ("*",), "water", "w20117", ("day",), Bounds(None, 0.05), "mg/L")]
    index = LimitIndex(Registry(), StandardLimits(rows), table.keys, wire_units={"w20117": "微克/升"})
    assert np.isnan(index.at(np.zeros(1, np.int32), np.asarray([NOW], np.int64))[1]).all()
    assert index.mismatches == {0: "S/DW001/w20117/day/avg: sent in 微克/升, limited in mg/L"}
