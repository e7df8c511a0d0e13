"""Pouring and living against a gateway: everything acknowledged, never ahead of it, stopped when asked."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from connectors.hj212.commands import parse_cst
from offsite.city.clock import SharedClock
from offsite.city.history import steps
from offsite.city.live import live
from offsite.city.model import City
from offsite.city.pour import deliver, pour
from offsite.city.run import CitySettings, serve
from offsite.city.tables import HOUR_MS, MINUTE_MS


@pytest.fixture
def clock(tmp_path):
    with SharedClock(tmp_path / "clock") as shared:
        yield shared


class Inbox:
    """The HTTP side: keeps rows, and whether a key came with them."""

    def __init__(self, clock=None):
        self.rows = {"readings": [], "events": []}
        self.late = []
        self.clock = clock
        self.keys = set()

    def __call__(self, method, path, body, headers):
        self.keys.add(headers.get("Authorization"))
        self.rows[path.rsplit("/", 1)[1]] += body
        return 200, {"accepted": len(body), "rejected": []}


def pour_it(city, clock, gateway, base, **more):
    return pour(city, host="127.0.0.1", hj212_port=gateway.port, http_base=base, api_key="k", clock=clock, connections=4, **more)


def test_all_of_history_arrives_in_time(small_city, clock, fake_gateway, serve_web):
    inbox, seen, ahead = Inbox(), [], []

    def note(header, _count):
        if header.cn == "2051":
            ahead.append(clock.now() - parse_cst(header.qn))
        return False

    async def job(base):
        async with fake_gateway(deaf=note) as gateway:
            count = await pour_it(small_city, clock, gateway, base, progress=seen.append)
            return count, len(gateway.seen)

    with serve_web(inbox) as base:
        count, arrived = asyncio.run(asyncio.wait_for(job(base), 60))
    expected = [len(s.frames) for s in steps(small_city, small_city.start_ms, small_city.live_ms)]
    assert count == arrived == sum(expected)
    assert max(ahead) < 10 * MINUTE_MS
    assert (seen[-1].share, seen[-1].frames) == (1.0, count)
    assert [p.now_ms for p in seen] == sorted(p.now_ms for p in seen)
    assert clock.now() == seen[-1].now_ms
    assert len(inbox.rows["readings"]) == 48 * len(small_city.inventory.meters)
    assert inbox.rows["events"]
    assert inbox.keys == {"Bearer k"}


def test_pouring_stops_when_asked(small_city, clock, fake_gateway, serve_web):
    async def job(base):
        stop = asyncio.Event()
        async with fake_gateway() as gateway:
            await pour_it(small_city, clock, gateway, base, stop=stop, progress=lambda p: stop.set() if p.share > 0.1 else None)

    with serve_web(Inbox()) as base:
        asyncio.run(asyncio.wait_for(job(base), 30))
    assert clock.now() < small_city.start_ms + 6 * HOUR_MS


def test_a_refusal_is_not_hidden(serve_web):
    from offsite.city.api import Api

    with serve_web(lambda *_: (200, {"accepted": 0, "rejected": [{"row": 0, "reason": "bad_time"}]})) as base:
        api = Api(base)
        with pytest.raises(RuntimeError, match="bad_time"):
            asyncio.run(deliver(api, "/api/v1/readings", [{}]))
        api.close()


def test_live_devices_have_their_own_lines_and_real_time_data(clock, fake_gateway, serve_web, eventually):
    city = City(enterprises=9, days=0)
    inbox = Inbox()
    clock.set(city.live_ms)
    direct = sum(not o.profile.hourly_only for o in city.inventory.outlets)

    async def job(base):
        stop = asyncio.Event()
        async with fake_gateway() as gateway:
            where = {"host": "127.0.0.1", "hj212_port": gateway.port, "http_base": base, "api_key": "k"}
            running = asyncio.create_task(live(city, **where, clock=clock, stop=stop, speed=600.0))
            await eventually(lambda: sum(h.cn == "2051" for h, _ in gateway.seen) >= 2 * direct or running.done())
            await eventually(lambda: len(inbox.rows["readings"]) > 12 * len(city.inventory.meters) or running.done())
            stop.set()
            await running
            return list(gateway.seen), len(gateway.writers)

    with serve_web(inbox) as base:
        seen, lines = asyncio.run(asyncio.wait_for(job(base), 60))
    assert lines == len({o.site for o in city.inventory.outlets if not o.profile.hourly_only})
    count = Counter(h.cn for h, _ in seen)
    assert count["2011"] >= 20 * (direct - 1)
    assert count["1013"] >= lines
    assert {r["period"] for r in inbox.rows["readings"]} == {"realtime", "minute"}


def test_a_city_process_pours_then_lives_with_its_people(tmp_path, fake_gateway, serve_web, eventually):
    asked = []

    def answer(method, path, body, headers):
        if method == "GET":
            asked.append(path)
            return 200, {path.split("/")[3].split("?")[0]: []}
        return 200, {"accepted": len(body), "rejected": []}

    async def job(base):
        async with fake_gateway() as gateway:
            settings = CitySettings(
                tmp_path / "clock", "127.0.0.1", gateway.port, base, "k", desk_base=base, enterprises=9, days=1, speed=600.0
            )
            stop = asyncio.Event()
            with SharedClock(settings.clock) as clock:
                running = asyncio.create_task(serve(settings, clock, stop))
                await eventually(lambda: clock.speed)
                assert clock.now() >= settings.city().live_ms
                stop.set()
                await running

    with serve_web(answer) as base:
        asyncio.run(asyncio.wait_for(job(base), 60))
    assert any(path.startswith("/api/v1/alerts") for path in asked)
