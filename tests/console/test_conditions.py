from __future__ import annotations

from dataclasses import asdict

from starlette.testclient import TestClient

from console.api import conditions
from offsite.self_seen import Memory, Snapshot
from offsite.self_watch import look
from tests.console.world import World


def test_the_desk_tells_what_is_wrong_with_the_platform(world: World, client: TestClient) -> None:
    standing = [asdict(c) for c in look(Snapshot(1, free={"data": 0}), Memory())[0]]
    world.app.include_router(conditions.router(lambda: standing))
    (one,) = client.get("/api/v1/conditions").json()["conditions"]
    assert one["id"] == "disk_full"
    for name in ("zh", "en", "remedy_zh", "remedy_en", "since", "severity"):
        assert one[name]
    standing.clear()
    assert client.get("/api/v1/conditions").json() == {"conditions": []}
