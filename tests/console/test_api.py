from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from tests.console.world import HOUR, NOW, SITE, World, alert, lead, morning


def test_alerts_carry_names_filters_and_pages(world: World, client: TestClient) -> None:
    morning(world)
    first = client.get("/api/v1/alerts", params={"limit": 25}).json()
    assert len(first["alerts"]) == 25
    second = client.get("/api/v1/alerts", params={"limit": 200, "before": first["next"]}).json()
    assert len(second["alerts"]) == 35
    assert second["next"] is None
    ids = [row["id"] for row in first["alerts"] + second["alerts"]]
    assert len(set(ids)) == 60
    red = client.get("/api/v1/alerts", params={"level": 1}).json()["alerts"]
    assert {row["level"] for row in red} == {1}
    named = client.get("/api/v1/alerts", params={"site": SITE, "rule": "exceed-hour"}).json()["alerts"][0]
    assert (named["site_name"], named["point_name"]) == ("示例热电一号厂", "DA001")
    assert named["factor_zh"] in ("氮氧化物", "二氧化硫")


def test_an_alert_says_what_the_chosen_person_may_do(world: World, client: TestClient) -> None:
    body = alert(1)
    world.judged(body)
    path = f"/api/v1/alerts/{body['id']}"
    assert [step["action"] for step in client.get(path).json()["allowed"]] == ["ack", "shelve", "close", "note"]
    assert [step["action"] for step in client.get(path, headers={"X-Offsite-Person": "wang"}).json()["allowed"]] == ["note"]
    assert client.get(path, headers={"X-Offsite-Person": ""}).json()["allowed"] == []


def test_every_allowed_action_is_possible(world: World, client: TestClient) -> None:
    values = {"reason": "device_fault", "until": "2026-11-24T12:00:00+08:00"}
    for k, want in enumerate(("ack", "shelve", "close", "note")):
        body = alert(k)
        world.judged(body)
        answer = client.post(f"/api/v1/alerts/{body['id']}/actions", json={"action": want, **values})
        assert answer.status_code == 200, answer.text
        assert answer.json()["actions"][-1]["action"] == want


@pytest.mark.parametrize(
    ("body", "person", "status", "says"),
    [
        ({"action": "ack"}, "", 403, "choose a person"),
        ({"action": "ack"}, "nobody", 403, "nobody"),
        ({"action": "ack"}, "wang", 409, "执法人员"),
        ({"action": "dance"}, "zhang", 409, "ack"),
        ({"action": "close", "reason": "boredom"}, "zhang", 409, "device_fault"),
        ({"action": "shelve", "reason": "x", "until": "tomorrow"}, "zhang", 422, "tomorrow"),
        ({"action": "shelve", "reason": "x", "until": "2026-12-24T12:00:00+08:00"}, "zhang", 409, "not later than"),
        ({"reason": "x"}, "zhang", 422, "action"),
    ],
)
def test_refusals_name_the_thing_and_the_remedy(
    world: World, client: TestClient, body: dict[str, str], person: str, status: int, says: str
) -> None:
    row = alert(1)
    world.judged(row)
    answer = client.post(f"/api/v1/alerts/{row['id']}/actions", json=body, headers={"X-Offsite-Person": person})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.text
    assert world.desk.counts()["unhandled"] == 1


@pytest.mark.parametrize("path", ["alerts/x", "alerts/x/series", "leads/x", "cases/x", "sites/x"])
def test_what_is_not_there_is_a_problem(client: TestClient, path: str) -> None:
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code == 404
    assert answer.json()["remedy"]


def test_series_around_an_episode(world: World, client: TestClient) -> None:
    body = alert(1)
    world.judged(body)
    path = f"/api/v1/alerts/{body['id']}/series"
    found = client.get(path).json()
    assert found["companions"] == ["a21002", "a34013", "a19001", "a01011", "a01012"]
    own = found["strip"]
    assert (own["factor"], own["limit"], own["unit"]) == ("a21026", 50.0, "mg/m³")
    assert {line["stat"] for line in own["lines"]} == {"avg", "zs_avg"}
    assert found["start"] < found["episode"]["start"] < found["end"] <= NOW
    other = client.get(path, params={"factor": "a19001", "period": "realtime"}).json()["strip"]
    assert (other["name_zh"], other["limit"]) == ("含氧量", None)
    assert all(len(line["time"]) <= 2000 for line in other["lines"])


def test_a_long_span_comes_in_windows_and_a_short_one_as_it_was(world: World, client: TestClient) -> None:
    long, short = alert(1, opened_ms=NOW - 90 * 24 * HOUR), alert(2)
    world.judged(long | {"updated": short["updated"]}, short)
    path = f"/api/v1/alerts/{long['id']}/series"
    strip = client.get(path, params={"period": "minute"}).json()["strip"]
    assert strip["window"] > 10 * 60_000
    for line in strip["lines"]:
        assert len(line["time"]) <= 1002
        assert line["count"] > 10_000
        points = [row for row in zip(line["low"], line["value"], line["high"], strict=True) if row[1] is not None]
        assert all(low <= value <= high for low, value, high in points)
        assert any(low < high for low, _, high in points)
    own = client.get(f"/api/v1/alerts/{short['id']}/series").json()["strip"]
    assert own["window"] is None
    assert all("low" not in line for line in own["lines"])
    assert client.get(path, params={"period": "hour", "factor": "a19001"}).json()["strip"]["window"] > HOUR


def test_an_alert_of_a_point_shows_the_points_factors(world: World, client: TestClient) -> None:
    body = alert(1, factor="", rule="silence")
    world.judged(body)
    found = client.get(f"/api/v1/alerts/{body['id']}/series").json()
    assert found["strip"]["factor"] == "a21026"
    strange = alert(2, factor="", site="nowhere", rule="silence")
    world.judged(strange)
    assert client.get(f"/api/v1/alerts/{strange['id']}/series").json()["strip"] is None


def test_a_lead_becomes_one_case_and_moves_to_its_end(world: World, client: TestClient) -> None:
    body = alert(1)
    row = lead(1, [body["id"]])
    world.judged(body, row)
    found = client.get(f"/api/v1/leads/{row['id']}").json()
    assert [step["action"] for step in found["allowed"]] == ["open_case", "dismiss"]
    case = client.post(f"/api/v1/leads/{row['id']}/case", json={}).json()
    assert client.post(f"/api/v1/leads/{row['id']}/case", json={}).json()["id"] == case["id"]
    moves = f"/api/v1/cases/{case['id']}/moves"
    sent = client.post(moves, json={"move": "dispatch", "body": {"assignee": "wang", "version": 1}})
    assert sent.json()["state"] == "dispatched"
    stale = client.post(moves, json={"move": "dispatch", "body": {"assignee": "wang", "version": 1}})
    assert stale.status_code == 409
    assert "read it again" in stale.json()["detail"]
    by = {"X-Offsite-Person": "wang"}
    done = client.post(moves, json={"move": "verify", "body": {"verdict": "属实", "finding": "停运"}}, headers=by)
    assert done.json()["verdict"] == "属实"
    shown = client.get(f"/api/v1/cases/{case['number']}", headers={"X-Offsite-Person": "li"}).json()
    assert "close" in [move["move"] for move in shown["moves"]]
    assert client.get(f"/api/v1/leads/{row['id']}").json()["case"]["number"] == case["number"]


def test_a_lead_is_dismissed_with_a_reason(world: World, client: TestClient) -> None:
    row = lead(1, [])
    world.judged(row)
    assert client.post(f"/api/v1/leads/{row['id']}/dismissal", json={"reason": " "}).status_code == 409
    assert client.post(f"/api/v1/leads/{row['id']}/dismissal", json={"reason": "检修中"}).json()["state"] == "dismissed"


def test_summary_counts_what_the_lists_hold(world: World, client: TestClient) -> None:
    morning(world)
    counts = client.get("/api/v1/summary").json()["counts"]
    for name, params in (("unhandled", {"state": "open"}), ("overdue", {"state": "open", "overdue": True})):
        rows = client.get("/api/v1/alerts", params={**params, "folded": False, "limit": 1000}).json()["alerts"]
        assert counts[name] == len(rows), name
    assert (counts["devices"], counts["offline"]) == (2, 1)


def test_the_rest_answers(client: TestClient) -> None:
    assert client.get("/api/v1/books").json()["readings"]["received"] == 100
    assert [row["person"] for row in client.get("/api/v1/people").json()["people"]] == ["zhang", "li", "wang"]
    assert len(client.get("/api/v1/devices").json()["devices"]) == 2
    assert client.get(f"/api/v1/sites/{SITE}").json()["name"] == "示例热电一号厂"
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json()["delay_s"] == 2.0


def test_the_description_is_served_and_no_page_needs_the_internet(client: TestClient) -> None:
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    assert "/api/v1/alerts/{alert_id}/actions" in paths
    assert client.get("/docs").status_code == 404
