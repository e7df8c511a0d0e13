"""Commands: correlated by QN and MN, resent with the same QN, and every one has an outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from connectors.hj212 import commands
from connectors.hj212.exchange import Exchanges, Outcome
from connectors.hj212.frame import Frame, Framer
from connectors.hj212.header import parse
from connectors.hj212.routes import area_of

MN = "010000A8900016F000169DC0"
QN = "20160824120000123"
HOUR = 3_600_000
EIGHT = 1_470_009_600_000  # 2016-08-01 08:00 +08:00


class Wire:
    """A device on the other end: `react(number of the transmission)` gives the frames it sends back."""

    def __init__(self, react: Callable[[int], list[bytes]], connected: bool = True) -> None:
        self.sent: list[bytes] = []
        self.exchanges = Exchanges(self.transmit)
        self._react, self._connected = react, connected

    def transmit(self, _mn: str, frame: bytes) -> bool:
        if self._connected:
            self.sent.append(frame)
            for answer in self._react(len(self.sent)):
                for item in Framer().feed(answer):
                    assert isinstance(item, Frame)
                    self.exchanges.frame(parse(item.segment), item)
        return self._connected

    async def run(self, cn: str, area: str = "", wait: float = 0.02, resends: int = 3) -> Outcome:
        return await self.exchanges.run(MN, cn, area, lambda: (QN, b"request"), wait, resends)


def reply(cn: str, area: str, qn: str = QN, mn: str = MN) -> bytes:
    return commands.build(qn=qn, st="91", cn=cn, pw="123456", mn=mn, flag=4, area=area)


def hour(time: str, mn: str = MN) -> bytes:
    return commands.build(qn="20160824120001534", st="31", cn="2061", pw="1", mn=mn, flag=4, area=f"DataTime={time};a21026-Avg=1")


def outcome(wire: Wire, cn: str, area: str = "", resends: int = 3) -> Outcome:
    run: Awaitable[Outcome] = wire.run(cn, area, resends=resends)
    return asyncio.run(run)  # type: ignore[arg-type]


def test_reply_and_result_make_an_outcome() -> None:
    wire = Wire(lambda _: [reply("9011", "QnRtn=1"), reply("9012", "ExeRtn=1")])
    got = outcome(wire, "1012")
    assert (got.ok, got.qn_rtn, got.exe_rtn, got.qn, len(wire.sent)) == (True, 1, 1, QN, 1)


def test_the_same_frame_is_resent_three_times_and_then_the_line_is_down() -> None:
    wire = Wire(lambda _: [])
    got = outcome(wire, "1012")
    assert (got.fault, got.text_zh, len(wire.sent), set(wire.sent)) == ("unreachable", "通讯不可用", 4, {b"request"})


def test_an_answer_to_the_last_resend_counts() -> None:
    wire = Wire(lambda n: [reply("9011", "QnRtn=1"), reply("9012", "ExeRtn=1")] if n == 4 else [])
    assert outcome(wire, "1012").ok


def test_a_reply_without_a_result_is_a_time_out_of_execution() -> None:
    got = outcome(Wire(lambda _: [reply("9011", "QnRtn=1")]), "3015")
    assert (got.fault, got.text_zh, got.qn_rtn) == ("timeout", "执行超时", 1)


@pytest.mark.parametrize("code", [2, 3, 8, 100])
def test_a_refusal_ends_the_exchange_at_once(code: int) -> None:
    got = outcome(Wire(lambda _: [reply("9011", f"QnRtn={code}")]), "3015")
    assert (got.fault, got.qn_rtn) == ("refused", code)


@pytest.mark.parametrize(("code", "ok"), [(1, True), (100, True), (2, False), (5, False)])
def test_the_result_decides_and_no_data_is_an_answer(code: int, ok: bool) -> None:
    got = outcome(Wire(lambda _: [reply("9011", "QnRtn=1"), reply("9012", f"ExeRtn={code}")]), "2061")
    assert (got.ok, got.exe_rtn) == (ok, code)


@pytest.mark.parametrize("wrong", [reply("9011", "QnRtn=1", qn="20000101000000000"), reply("9011", "QnRtn=1", mn="ANOTHER")])
def test_a_reply_with_another_qn_or_mn_is_not_ours(wrong: bytes) -> None:
    assert outcome(Wire(lambda _: [wrong]), "1012").fault == "unreachable"


def test_a_2005_reply_carries_its_qn_inside_the_area() -> None:
    def old(cn: str, code: str) -> bytes:
        return commands.build(st="91", cn=cn, pw="123456", mn=MN, flag=0, area=f"QN={QN};{code}")

    assert outcome(Wire(lambda _: [old("9011", "QnRtn=1"), old("9012", "ExeRtn=1")]), "1012").ok


def test_history_is_recognised_by_its_window_not_by_qn() -> None:
    answers = [
        reply("9011", "QnRtn=1"),
        hour("20160801080000"),
        hour("20160801090000"),
        hour("20160801100000"),  # outside
        hour("20160801080000", mn="ANOTHER"),
        reply("9012", "ExeRtn=1"),
    ]
    area = area_of("2061", {"BeginTime": EIGHT, "EndTime": EIGHT + HOUR}, "2017")
    got = outcome(Wire(lambda _: answers), "2061", area)
    assert got.ok
    assert [raw[raw.index(b"DataTime=") + 9 :][:14] for raw in got.data] == [b"20160801080000", b"20160801090000"]


def test_a_notice_is_over_with_9013() -> None:
    assert outcome(Wire(lambda _: [reply("9013", "")]), "2012").ok


def test_a_device_that_is_not_connected_is_said_at_once() -> None:
    assert outcome(Wire(lambda _: [], connected=False), "1012").fault == "not_connected"


def test_commands_of_one_device_follow_one_another() -> None:
    async def play() -> None:
        turns: list[str] = []

        def react(_: int) -> list[bytes]:
            turns.append("sent")
            asyncio.get_running_loop().call_later(0.01, lambda: (turns.append("answered"), wire.transmit_answer()))
            return []

        wire = Wire(react)

        def transmit_answer() -> None:
            for answer in (reply("9011", "QnRtn=1"), reply("9012", "ExeRtn=1")):
                for item in Framer().feed(answer):
                    assert isinstance(item, Frame)
                    wire.exchanges.frame(parse(item.segment), item)

        wire.transmit_answer = transmit_answer  # type: ignore[attr-defined]
        outcomes = await asyncio.gather(*(wire.run("1012", wait=30) for _ in range(3)))
        assert all(got.ok for got in outcomes)
        assert turns == ["sent", "answered"] * 3
        assert not wire.exchanges._open
        assert not wire.exchanges._locks

    asyncio.run(play())


def test_area_of_writes_the_comma_of_2005_and_refuses_what_no_table_has() -> None:
    span = {"BeginTime": EIGHT, "EndTime": EIGHT + HOUR}
    assert area_of("2051", span, "2005") == "BeginTime=20160801080000,EndTime=20160801090000"
    assert area_of("1000", {"OverTime": 10, "ReCount": 3}, "2017") == "OverTime=10;ReCount=3"
    with pytest.raises(ValueError, match="CN=3015 takes"):
        area_of("3015", {"X": 1}, "2017")
    with pytest.raises(ValueError, match="no request of this gateway"):
        area_of("9999", {}, "2017")
