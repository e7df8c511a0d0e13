"""The operator's endpoint, asked over real sockets."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from prometheus_client import CollectorRegistry, Gauge

from connectors.core import Lost
from connectors.metrics import Endpoint, Fault, Pulse, serve

FAULTS: list[Fault] = []


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    registry = CollectorRegistry()
    Gauge("depth", "of something", registry=registry).set(3)
    FAULTS.clear()
    made = serve(0, registry, alive=lambda: FAULTS, ready=lambda: FAULTS, conditions=lambda: [{"id": "disk_low"}])
    yield made
    made.close()


def get(endpoint: Endpoint, path: str, method: str = "GET") -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", endpoint.port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_metrics_health_and_conditions_are_told(endpoint: Endpoint) -> None:
    assert "depth 3.0" in get(endpoint, "/metrics")[1]
    assert get(endpoint, "/healthz") == (200, '{"status": "ok", "faults": []}')
    assert json.loads(get(endpoint, "/conditions")[1]) == [{"id": "disk_low"}]


def test_a_failing_part_is_named_with_the_remedy(endpoint: Endpoint) -> None:
    FAULTS.append(Fault("log", "磁盘已满", "free space"))
    status, body = get(endpoint, "/readyz")
    assert status == 503
    assert json.loads(body)["faults"] == [{"part": "log", "detail": "磁盘已满", "remedy": "free space"}]


def test_other_paths_and_methods_are_refused(endpoint: Endpoint) -> None:
    assert get(endpoint, "/nothing")[0] == 404
    assert get(endpoint, "/metrics", "POST")[0] == 501


def test_a_client_that_says_nothing_keeps_nobody_waiting(endpoint: Endpoint) -> None:
    with socket.create_connection(("127.0.0.1", endpoint.port)):
        assert get(endpoint, "/healthz")[0] == 200


def test_a_question_that_fails_is_answered_and_the_next_one_too() -> None:
    def broken() -> list[Fault]:
        raise ZeroDivisionError

    made = serve(0, CollectorRegistry(), alive=list, ready=broken, conditions=list)
    try:
        assert get(made, "/readyz")[0] == 500
        assert get(made, "/healthz")[0] == 200
    finally:
        made.close()


def test_a_port_in_use_is_lost_with_the_remedy(endpoint: Endpoint) -> None:
    with pytest.raises(Lost, match=f"127.0.0.1:{endpoint.port}.*metrics_port"):
        serve(endpoint.port, CollectorRegistry(), alive=list, ready=list, conditions=list)


def test_a_pulse_tells_how_long_a_loop_has_stood() -> None:
    now = [100.0]
    pulse = Pulse(lambda: now[0])
    now[0] += 40
    assert pulse.age() == 40
    pulse.beat()
    assert pulse.age() == 0
