"""The console over a real desk, spoken to without a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.console.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.desk.close()


@pytest.fixture
def client(world: World) -> TestClient:
    return TestClient(
        world.app, base_url="http://127.0.0.1:8213", client=("127.0.0.1", 50000), headers={"X-Offsite-Person": "zhang"}
    )
