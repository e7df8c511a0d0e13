"""Gap repair asks for exactly what is missing, of who is connected, a bounded number of times."""

from __future__ import annotations

import asyncio

from connectors.hj212.exchange import Outcome
from connectors.hj212.repair import GapRepair, RepairLimits, Span


class World:
    def __init__(self) -> None:
        self.missing: list[Span] = []
        self.online = {"A", "B"}
        self.asked: list[Span] = []
        self.now = 1_000_000
        self.fault = ""
        self.thrice = asyncio.Event()
        self.at_once = self.most = 0

    async def ask(self, span: Span) -> Outcome:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        self.asked.append(span)
        if len(self.asked) == 3:
            self.thrice.set()
        return Outcome(span.mn, span.cn, "qn", fault=self.fault)

    def repair(self, limits: RepairLimits | None = None) -> GapRepair:
        return GapRepair(lambda: self.missing, self.ask, lambda mn: mn in self.online, clock=lambda: self.now, limits=limits)


def test_exactly_the_missing_spans_of_connected_devices_are_asked() -> None:
    world = World()
    world.missing = [Span("A", "2061", 0, 3), Span("C", "2061", 0, 3), Span("A", "2051", 5, 9), Span("A", "2061", 0, 3)]
    outcomes = asyncio.run(world.repair().look())
    assert world.asked == [Span("A", "2061", 0, 3), Span("A", "2051", 5, 9)]
    assert len(outcomes) == 2


def test_a_span_is_asked_again_only_after_a_rest_and_at_most_n_times() -> None:
    async def play() -> None:
        world = World()
        world.missing = [Span("A", "2061", 0, 3)]
        repair = world.repair(RepairLimits(attempts=2, again=100))
        await repair.look()
        await repair.look()
        assert len(world.asked) == 1
        world.now += 100
        await repair.look()
        world.now += 1000
        await repair.look()
        assert len(world.asked) == 2
        assert repair.given_up == world.missing
        world.missing = []
        await repair.look()
        assert repair.given_up == []

    asyncio.run(play())


def test_a_device_that_went_away_is_not_charged_and_one_that_is_silent_is_left_alone() -> None:
    async def play() -> None:
        world = World()
        world.missing = [Span("A", "2061", 0, 3), Span("A", "2061", 8, 9)]
        world.fault = "not_connected"
        repair = world.repair(RepairLimits(attempts=1))
        await repair.look()
        assert (len(world.asked), repair.given_up) == (1, [])
        world.fault = "unreachable"
        await repair.look()
        assert (len(world.asked), repair.given_up) == (2, [Span("A", "2061", 0, 3)])

    asyncio.run(play())


def test_few_devices_are_asked_at_once_and_few_spans_a_look() -> None:
    world = World()
    world.online = {str(i) for i in range(20)}
    world.missing = [Span(str(i % 20), "2061", i, i) for i in range(100)]
    asyncio.run(world.repair(RepairLimits(at_once=3, spans=40)).look())
    assert len(world.asked) == 40
    assert world.most == 3


def test_run_looks_again_until_told_to_stop() -> None:
    async def play() -> None:
        world, stop = World(), asyncio.Event()
        world.missing = [Span("A", "2061", 0, 3)]
        running = asyncio.ensure_future(world.repair(RepairLimits(every=1, again=0, attempts=3)).run(stop))
        await asyncio.wait_for(world.thrice.wait(), 30)
        stop.set()
        await asyncio.wait_for(running, 30)
        assert len(world.asked) == 3

    asyncio.run(play())
