from __future__ import annotations

import pytest
from starlette.datastructures import Headers
from starlette.testclient import TestClient

from console.guard import objection
from tests.console.world import World, alert

HERE = {"host": "127.0.0.1:8213", "content-type": "application/json"}


@pytest.mark.parametrize(
    ("method", "client", "headers", "status"),
    [
        ("GET", "127.0.0.1", HERE, None),
        ("GET", "::1", {"host": "[::1]:8213"}, None),
        ("GET", "::ffff:127.0.0.1", {"host": "localhost"}, None),
        ("GET", "192.168.1.7", HERE, 403),
        ("GET", "", HERE, 403),
        ("GET", "127.0.0.1", {"host": "evil.example"}, 403),
        ("GET", "127.0.0.1", {"host": "[::1"}, 403),
        ("GET", "127.0.0.1", {}, 403),
        ("POST", "127.0.0.1", HERE, None),
        ("POST", "127.0.0.1", {**HERE, "origin": "http://127.0.0.1:8213"}, None),
        ("POST", "127.0.0.1", {**HERE, "origin": "http://127.0.0.1:9999"}, 403),
        ("POST", "127.0.0.1", {**HERE, "origin": "null"}, 403),
        ("POST", "127.0.0.1", {**HERE, "content-type": "text/plain"}, 415),
        ("DELETE", "127.0.0.1", {"host": "localhost:8213"}, 415),
    ],
)
def test_who_may_talk_to_the_desk(method: str, client: str, headers: dict[str, str], status: int | None) -> None:
    found = objection(method, client, Headers(headers))
    assert (found and found[0]) == status
    assert found is None or found[2], "a refusal says what to do"


def test_a_stranger_gets_a_problem_and_no_page(world: World) -> None:
    stranger = TestClient(world.app, base_url="http://127.0.0.1:8213", client=("10.0.0.9", 1))
    answer = stranger.get("/")
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert "10.0.0.9" in answer.json()["detail"]


def test_a_forged_page_changes_nothing(world: World, client: TestClient) -> None:
    body = alert(1)
    world.judged(body)
    path = f"/api/v1/alerts/{body['id']}/actions"
    assert client.post(path, json={"action": "ack"}, headers={"Origin": "http://evil.example"}).status_code == 403
    found = world.desk.alert(body["id"])
    assert found is not None
    assert found["state"] == "open"


def test_every_answer_carries_the_policy(client: TestClient) -> None:
    for path in ("/", "/web/app.js", "/api/v1/summary", "/nowhere"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["x-frame-options"] == "DENY", path
