"""Chart history in a real InfluxDB that stops: the chart says so and how to go on, everything else works, and it comes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from connectors.influx import Influx
from streams.history import READINGS
from streams.history_influx import InfluxHistory
from tests.console.world import HOUR, NOW, World, alert
from tests.real.influx import InfluxServer

pytestmark = pytest.mark.servers


@pytest.fixture
def kept(influx_own: InfluxServer) -> Iterator[InfluxHistory]:
    with Influx(influx_own.url, influx_own.org, influx_own.token) as client:
        made = InfluxHistory(client, "offsite", lambda: NOW)
        made.prepare()
        yield made


def test_a_chart_without_history_says_so_and_comes_back(
    world: World, client: TestClient, influx_own: InfluxServer, kept: InfluxHistory
) -> None:
    hours = [
        {"site": "XS001", "point": "DA001", "factor": "a21026", "period": "hour", "stat": "avg", "time": NOW - k * HOUR}
        | {"value": 50.0 + k, "flag": "N", "quality": 1, "fate": "accepted", "revision": 0, "arrived": NOW, "offset": k}
        for k in range(2, 6)
    ]
    assert kept.put(READINGS, pa.Table.from_pylist(hours)).points == 4
    world.app.state.services = replace(world.app.state.services, history=kept)
    world.judged(alert(1))
    path = f"/api/v1/alerts/{alert(1)['id']}/series"
    before = client.get(path).json()
    assert before["strip"]["lines"][0]["value"] == [55.0, 54.0, 53.0, 52.0]
    influx_own.stop()
    answer = client.get(path)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "not reachable" in answer.json()["detail"]
    assert "try again" in answer.json()["remedy"]
    assert client.get("/api/v1/alerts").json()["alerts"][0]["id"] == alert(1)["id"]
    influx_own.start()
    assert client.get(path).json() == before
