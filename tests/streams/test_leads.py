"""Alerts of independent families into leads (rules C.2)."""

from __future__ import annotations

import pytest

from streams.identity import content_id
from streams.leads import Window, forget, weigh
from streams.plan.load import HOUR
from tests.streams.driven import PLAN, T0, Product, clock, ms, outlet, own_hour, rt

FAMILY = {rule.id: rule.family for rule in PLAN.rules}


class Desk:
    """One site's windows."""

    def __init__(self, site: str = "S1") -> None:
        self.site = site
        self.windows: list[Window] = []

    def alert(
        self, rule: str, at: float = 0.0, *, point="DA001", level=3, score=2.0, key=None, factor="a21026", start=T0, active=True
    ):
        opened = start + round(at * HOUR)
        body = {
            "id": key or f"{rule}/{point}/{at}",
            "rule": rule,
            "family": FAMILY[rule],
            "point": point,
            "factor": factor,
            "level": level,
            "score": score,
            "active": active,
        }
        return list(weigh(PLAN, self.windows, self.site, body, opened))


def test_one_family_is_no_lead() -> None:
    desk = Desk()
    assert desk.alert("exceed-hour") == desk.alert("exceed-hour", 1) == desk.alert("exceed-day", 2) == []


def test_two_families_at_one_point_are_a_lead() -> None:
    desk = Desk()
    desk.alert("exceed-hour", level=3, score=1.2)
    [lead] = desk.alert("constant", 3, level=2, score=2.0)
    assert lead["id"] == content_id("S1", "two-families", T0)
    assert lead["window"] == {"start": clock(0), "end": clock(24 * 60)}
    assert (lead["families"], lead["alerts"]) == (["limits", "statistics"], ["exceed-hour/DA001/0.0", "constant/DA001/3"])
    assert lead["probability"] == pytest.approx(1 - (1 - 0.7 * 0.6) * (1 - 0.5), abs=1e-4)
    assert (lead["grade"], lead["level"], lead["auto_case"]) == ("B", 2, True)
    assert lead["clause"] == "《生态环境法典》第一百六十四条、第一千一百零八条"


def test_a_lead_of_small_alerts_opens_no_case_by_itself() -> None:
    desk = Desk()
    desk.alert("exceed-hour", level=3, score=1.2)
    [lead] = desk.alert("step", 1, level=4, score=1.0)
    assert lead["auto_case"] is False


@pytest.mark.parametrize("rule", ["silence", "out-of-range"])
def test_quality_does_not_count(rule: str) -> None:
    desk = Desk()
    assert desk.alert(rule) == desk.alert("exceed-hour", 1) == []
    assert list(desk.windows[0].alerts) == ["exceed-hour/DA001/1"]


def test_two_points_do_not_meet() -> None:
    desk = Desk()
    assert desk.alert("exceed-hour") == desk.alert("constant", 1, point="DA002") == []


@pytest.mark.parametrize(("hours", "leads"), [(23.9, 1), (24.0, 0), (-23.9, 1), (-24.0, 0)])
def test_a_day_apart_is_too_far(hours: float, leads: int) -> None:
    desk = Desk()
    desk.alert("exceed-hour")
    assert len(desk.alert("constant", hours)) == leads


def test_a_window_begins_with_its_first_alert_until_it_is_a_lead() -> None:
    desk = Desk()
    desk.alert("exceed-hour", 5)
    desk.alert("exceed-hour", 2)
    [lead] = desk.alert("constant", 3)
    assert lead["window"]["start"] == clock(120)
    [lead] = desk.alert("exceed-day", 1)
    assert lead["window"]["start"] == clock(120)


def test_a_lead_is_told_again_only_when_it_changes() -> None:
    desk = Desk()
    desk.alert("exceed-hour", score=1.2, key="a")
    [first] = desk.alert("constant", 1)
    assert desk.alert("exceed-hour", score=1.2, key="a") == []
    assert desk.alert("exceed-hour", score=1.1, key="a") != []
    [second] = desk.alert("exceed-hour", score=1.9, level=1, key="a")
    assert second["id"] == first["id"]
    assert (second["level"], second["probability"]) == (1, 0.8325)


def test_a_taken_id_gets_a_salt() -> None:
    desk = Desk()
    found = []
    for point in ("DA001", "DA002", "DA003"):
        desk.alert("exceed-hour", point=point)
        found += [lead["id"] for lead in desk.alert("constant", 1, point=point)]
    assert found == [content_id("S1", "two-families", T0, *salt) for salt in ((), (1,), (2,))]


@pytest.mark.parametrize(
    ("day", "point", "factor", "law"),
    [
        ("2026-08-14T23:59:59+08:00", "DA001", "a21026", "《大气污染防治法》第二十条、第九十九条第三项"),
        ("2026-08-14T23:59:59+08:00", "DW001", "w01018", "《水污染防治法》第三十九条、第八十三条第三项"),
        ("2026-08-14T23:59:59+08:00", "WS-00001", "w01018", "《水污染防治法》第三十九条、第八十三条第三项"),
        ("2026-08-15T00:00:00+08:00", "DA001", "a21026", "《生态环境法典》第一百六十四条、第一千一百零八条"),
        ("2026-08-15T00:00:00+08:00", "DW001", "w01018", "《生态环境法典》第一百六十四条、第一千一百零八条"),
    ],
)
def test_the_law_is_that_of_the_day_of_the_act(day: str, point: str, factor: str, law: str) -> None:
    desk = Desk()
    desk.alert("exceed-hour", point=point, factor=factor, start=ms(day))
    [lead] = desk.alert("constant", 1, point=point, factor=factor, start=ms(day))
    assert lead["clause"] == law


def test_windows_that_no_alert_can_join_are_forgotten() -> None:
    desk = Desk()
    desk.alert("exceed-hour")
    forget(desk.windows, T0 + 72 * HOUR, 24 * HOUR)
    assert len(desk.windows) == 1
    desk.alert("exceed-hour", active=False)
    forget(desk.windows, T0 + 48 * HOUR - 1, 24 * HOUR)
    assert len(desk.windows) == 1
    forget(desk.windows, T0 + 48 * HOUR, 24 * HOUR)
    assert desk.windows == []


def test_a_window_survives_as_plain_values() -> None:
    desk = Desk()
    desk.alert("exceed-hour")
    desk.alert("constant", 1)
    assert [Window.from_json(w.to_json()) for w in desk.windows] == desk.windows


def test_readings_become_a_lead() -> None:
    """An hour over its limit and a value that stands still, at one outlet: numbered together, in the order of the log."""
    product = Product(outlet(("a21026", "hour", 100.0)))
    product.play([*(rt(m, 120.0) for m in range(65)), own_hour(0, 120.0)], until=70)
    [lead] = product.said("lead")
    assert sorted(a["rule"] for a in product.said() if a["id"] in lead["alerts"]) == ["constant", "exceed-hour"]
    assert lead["window"]["start"] == clock(0)
    assert [body["seq"] for _, _, body in product.bodies] == list(range(1, len(product.bodies) + 1))
    assert product.state.books["leads"] == 1
