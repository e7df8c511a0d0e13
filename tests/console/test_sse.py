from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from console import sse
from console.ports import Services
from tests.console.world import World, alert

Block = tuple[str, Any, int | None]


def parts(world: World) -> Services:
    found = world.app.state.services
    assert isinstance(found, Services)
    return found


def parse(text: str) -> Block:
    fields = dict(line.split(": ", 1) for line in text.strip().splitlines())
    return fields["event"], json.loads(fields["data"]), int(fields["id"]) if "id" in fields else None


def listen(world: World, last_seen: int | None, count: int) -> list[Block]:
    """Hear `count` blocks, then hang up."""

    async def run() -> list[Block]:
        heard = []
        async for text in sse.stream(parts(world), last_seen, poll_s=0.001):
            heard.append(parse(text))
            if len(heard) == count:
                break
        return heard

    return asyncio.run(run())


def test_a_new_page_hears_only_what_is_new(world: World) -> None:
    world.judged(alert(1))
    assert [one[0] for one in listen(world, None, 2)] == ["hello", "heartbeat"]


def test_a_reconnected_page_hears_everything_it_missed_once_and_in_order(world: World) -> None:
    for k in range(5):
        world.judged(alert(k))
    last = world.desk.last_event_id()
    heard = listen(world, last - 3, 5)
    assert [one[0] for one in heard] == ["hello", "heartbeat", "change", "change", "change"]
    assert [one[2] for one in heard[2:]] == [last - 2, last - 1, last]
    assert heard[2][1]["kind"] == "alert"
    assert heard[2][1]["body"]["site_name"] == "示例热电一号厂"


def test_cut_anywhere_the_sequence_is_contiguous(world: World) -> None:
    for k in range(6):
        world.judged(alert(k))
    heard: list[int] = []
    position = 0
    for _ in range(3):
        ids = [one[2] for one in listen(world, position, 4) if one[0] == "change"]
        heard += [one for one in ids if one is not None]
        position = heard[-1]
    assert heard == list(range(1, 7))


@pytest.mark.parametrize("seen", [10**9])
def test_an_id_never_given_means_read_again(world: World, seen: int) -> None:
    world.judged(alert(1))
    assert listen(world, seen, 1)[0] == ("resync", {"id": 1}, 1)


def test_an_id_older_than_what_is_kept_means_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from cases import events

    monkeypatch.setattr(events, "KEPT", 2)
    for k in range(6):
        world.judged(alert(k))
    world.desk.tick()
    assert world.desk.first_event_id() == 5
    assert listen(world, 3, 1)[0][0] == "resync"
    assert listen(world, 4, 1)[0][0] == "hello", "event 4 was the last seen: 5 and 6 are still there"


def test_the_heartbeat_tells_the_delay(world: World) -> None:
    heard = listen(world, None, 2)[1]
    assert heard[1]["delay_s"] == 2.0
    assert heard[1]["now"] == world.now


def test_the_answer_is_not_cached_or_buffered(world: World, client: TestClient) -> None:
    world.stop = True
    answer = client.get("/api/v1/events", headers={"Last-Event-ID": "0"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert client.get("/api/v1/events", headers={"Last-Event-ID": "seven"}).status_code == 422


def test_ids_outlive_the_process(world: World, tmp_path: Path) -> None:
    world.judged(alert(1))
    before = world.desk.last_event_id()
    world.desk.close()
    again = World(tmp_path)
    again.judged({**alert(1), "seq": 2, "level": 1})
    assert again.desk.last_event_id() == before + 1
    again.desk.close()
