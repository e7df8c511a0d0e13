"""The device side of the line: keeps, repeats and answers."""

from __future__ import annotations

import asyncio

import pytest

from connectors.hj212.commands import request
from offsite.city.answers import Logger
from offsite.city.devices import Uplink, opened
from offsite.city.model import START_MS
from offsite.city.tables import MINUTE_MS
from offsite.city.wire import MINUTE, Renderer


@pytest.fixture
def frames(small_city):
    members = next(iter(small_city.groups(hourly=False)))[:4]
    block = small_city.block(members, START_MS, MINUTE_MS, 5)
    return Renderer().render(block, MINUTE, block.time)


def quick(port, **more):
    return Uplink("127.0.0.1", port, overtime=0.15, pause=0.01, **more)


def run(job):
    return asyncio.run(asyncio.wait_for(job, 10))


def test_frames_are_acknowledged_and_counted(fake_gateway, frames):
    async def job():
        async with fake_gateway() as gateway:
            line = quick(gateway.port)
            await line.send(frames)
            await line.drop()
            return line.counters, gateway.seen

    counters, seen = run(job())
    assert (counters.sent, counters.acked, counters.resent, counters.connections) == (len(frames), len(frames), 0, 1)
    assert [(h.qn + h.mn).encode() for h, _ in seen] == [f.key for f in frames]


def test_only_what_is_not_acknowledged_is_sent_again(fake_gateway, frames):
    lost = {frames[3].key, frames[7].key}
    tried = set()

    def deaf(header, _count):
        key = (header.qn + header.mn).encode()
        first = key in lost and key not in tried
        tried.add(key)
        return first

    async def job():
        async with fake_gateway(deaf=deaf) as gateway:
            line = quick(gateway.port)
            await line.send(frames)
            await line.drop()
            return line.counters, gateway.seen

    counters, seen = run(job())
    assert (counters.acked, counters.resent) == (len(frames), 2)
    assert [(h.qn + h.mn).encode() for h, _ in seen[len(frames) :]] == [frames[3].key, frames[7].key]


def test_a_dead_line_is_made_anew_after_the_resends(fake_gateway, frames):
    async def job():
        async with fake_gateway(deaf=lambda _header, count: count <= 4) as gateway:
            line = quick(gateway.port, resends=3)
            await line.send(frames[:1])
            await line.drop()
            return line.counters

    counters = run(job())
    assert (counters.acked, counters.resent, counters.connections) == (1, 4, 2)


def test_a_line_closed_in_the_middle_loses_nothing(fake_gateway, frames):
    async def job():
        async with fake_gateway(hang_up_after=6) as gateway:
            line = quick(gateway.port)
            await line.send(frames)
            await line.drop()
            return line.counters, gateway.seen

    counters, seen = run(job())
    assert counters.acked == len(frames)
    assert counters.connections == 2
    assert {(h.qn + h.mn).encode() for h, _ in seen} == {f.key for f in frames}


def test_a_gateway_that_is_not_there_yet_is_waited_for(fake_gateway, frames):
    async def job():
        async with fake_gateway() as gateway:
            port = gateway.port
        line = quick(port)
        sending = asyncio.create_task(line.send(frames))
        await asyncio.sleep(0.05)
        assert not sending.done()
        late = fake_gateway()
        late.server = await asyncio.start_server(late.serve, "127.0.0.1", port)
        await sending
        await line.drop()
        await late.__aexit__()
        return line.counters

    assert run(job()).acked == len(frames)


def test_commands_are_answered_on_the_same_line(fake_gateway, full_city, eventually):
    outlet = full_city.inventory.outlets[0]
    logger = Logger(full_city, (outlet,), lambda: full_city.live_ms)
    command = request("1062", {"RtdInterval": 30}, qn_ms=full_city.live_ms, st="31", mn=outlet.mn)

    async def job():
        async with fake_gateway() as gateway:
            line = quick(gateway.port, on_command=logger.answer, hello=logger.hello)
            await line.connect()
            await eventually(lambda: gateway.seen)
            gateway.command(command[:-3] + b"X\r\n")
            gateway.command(command)
            await eventually(lambda: len(gateway.seen) >= 3)
            await line.drop()
            return line.counters, gateway.seen

    counters, seen = run(job())
    assert [h.cn for h, _ in seen] == ["1013", "9011", "9012"]
    assert counters.commands == 1


@pytest.mark.parametrize("line", [b"", b"noise", b"##0010QN=1;CN=9011FFFF", b"##0004abcd0000"])
def test_what_is_no_frame_is_ignored(line):
    assert opened(line) is None


def test_a_silent_uplink_answers_nothing(fake_gateway, full_city, frames):
    command = request("1062", {"RtdInterval": 30}, qn_ms=full_city.live_ms, st="31", mn=full_city.inventory.outlets[0].mn)

    async def job():
        async with fake_gateway() as gateway:
            line = quick(gateway.port)
            await line.send(frames[:1])
            gateway.command(command)
            await asyncio.sleep(0.05)
            await line.drop()
            return line.counters, gateway.seen

    counters, seen = run(job())
    assert (counters.commands, len(seen)) == (1, 1)
