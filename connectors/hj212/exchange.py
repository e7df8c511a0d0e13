"""Commands to devices: a request, its resends, the reply, the data, the result (HJ 212-2017 §6.3, table 1).

Enters: a command for an MN, and every good frame that arrives. Leaves: an `Outcome`, always, and never an exception of the wire.
A reply (9011, 9012, 9013) is recognised by QN and MN; history data carries its own QN and is recognised by MN, CN and window.
"""

from __future__ import annotations

import asyncio
import re
import weakref
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from connectors.hj212.frame import Frame
from connectors.hj212.header import Header

TIMEOUT = 10.0
RESENDS = 3
"""Defaults of HJ 212-2017 table 1: 10 s, three resends of the same QN."""
MAX_DATA = 4_096
"""Data frames kept in one outcome; all of them are in the log anyway."""
REPLIES = frozenset({"9011", "9012", "9013"})
HISTORY = frozenset({"2031", "2041", "2051", "2061"})

FAULTS = {
    "not_connected": "设备未连接",
    "unreachable": "通讯不可用",
    "timeout": "执行超时",
    "refused": "请求被拒绝",
    "failed": "执行失败",
}

_RETURN = re.compile(rb"(QnRtn|ExeRtn)\s*=\s*(\d+)", re.IGNORECASE)
_WINDOW = re.compile(r"(BeginTime|EndTime)=(\d{14})")
_DATA_TIME = re.compile(rb"DataTime=(\d{14})")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended. `fault` is empty or a word of `FAULTS`; `qn_rtn`, `exe_rtn` as the device gave them (§7 of the standard).

    `data` holds the data frames that answered it, as received (at most 4,096).
    """

    mn: str
    cn: str
    qn: str
    qn_rtn: int | None = None
    exe_rtn: int | None = None
    data: tuple[bytes, ...] = ()
    fault: str = ""

    @property
    def ok(self) -> bool:
        """Tell whether the device did what it was asked; "no data" (ExeRtn 100) is an answer, not a fault."""
        return not self.fault

    @property
    def text_zh(self) -> str:
        """Return the fault in the words of the standard, empty if there is none."""
        return FAULTS.get(self.fault, "")


@dataclass(slots=True, eq=False)
class _Exchange:
    """One command under way: what it waits for, and what has come so far."""

    mn: str
    cn: str
    qn: str
    window: tuple[bytes, bytes] | None
    came: asyncio.Event = field(default_factory=asyncio.Event)
    qn_rtn: int | None = None
    exe_rtn: int | None = None
    noticed: bool = False
    data: list[bytes] = field(default_factory=list)

    @property
    def answered(self) -> bool:
        """Tell whether the device has reacted at all."""
        return self.qn_rtn is not None or self.exe_rtn is not None or self.noticed

    @property
    def over(self) -> bool:
        """Tell whether nothing more is to come."""
        return self.exe_rtn is not None or self.noticed or self.qn_rtn not in {None, 1}

    def outcome(self, fault: str = "") -> Outcome:
        """Return what came of it; without a given fault, what the return codes say."""
        if not fault and self.qn_rtn not in {None, 1}:
            fault = "refused"
        if not fault and self.exe_rtn not in {None, 1, 100}:
            fault = "failed"
        return Outcome(self.mn, self.cn, self.qn, self.qn_rtn, self.exe_rtn, tuple(self.data), fault)


class Exchanges:
    """All commands under way. `transmit(mn, frame)` sends to the connection that holds the device and says whether there is one."""

    def __init__(self, transmit: Callable[[str, bytes], bool]) -> None:
        self._transmit = transmit
        self._open: dict[str, list[_Exchange]] = defaultdict(list)
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def run(
        self, mn: str, cn: str, area: str, request: Callable[[], tuple[str, bytes]], wait: float, resends: int
    ) -> Outcome:
        """Do one command from request to outcome; commands of one device follow one another.

        `request()` gives QN and frame when the turn has come, so that a clock set by it is not stale; `wait` (s) runs anew
        for each step (reply, each data frame, result); the same frame is resent `resends` times until the device reacts.
        """
        lock = self._locks.setdefault(mn, asyncio.Lock())
        async with lock:
            qn, frame = request()
            bounds = dict(_WINDOW.findall(area))
            window = (bounds["BeginTime"].encode(), bounds["EndTime"].encode()) if cn in HISTORY and len(bounds) == 2 else None
            exchange = _Exchange(mn, cn, qn, window)
            self._open[mn].append(exchange)
            try:
                return await self._converse(exchange, frame, wait, resends)
            finally:
                self._open[mn].remove(exchange)
                if not self._open[mn]:
                    del self._open[mn]

    def frame(self, header: Header, frame: Frame) -> None:
        """Look whether a good frame answers a command under way."""
        exchanges = self._open.get(header.mn)
        if not exchanges:
            return
        area = frame.segment[slice(*header.area)]
        for exchange in exchanges:
            if header.cn in REPLIES:
                if header.qn in {exchange.qn, ""}:
                    _note(exchange, header.cn, area)
            elif header.cn == exchange.cn and _within(area, exchange.window) and len(exchange.data) < MAX_DATA:
                exchange.data.append(frame.raw)
                exchange.came.set()

    async def _converse(self, exchange: _Exchange, frame: bytes, wait: float, resends: int) -> Outcome:
        for _ in range(1 + resends):
            if not self._transmit(exchange.mn, frame):
                return exchange.outcome("not_connected")
            if await _waited(exchange, wait) and (exchange.answered or exchange.data):
                break
        else:
            return exchange.outcome("unreachable")
        while not exchange.over:
            if not await _waited(exchange, wait):
                return exchange.outcome("timeout")
        return exchange.outcome()


async def _waited(exchange: _Exchange, wait: float) -> bool:
    """Wait until something more has come for the exchange; False if nothing did in time."""
    try:
        async with asyncio.timeout(wait):
            await exchange.came.wait()
    except TimeoutError:
        return False
    exchange.came.clear()
    return True


def _note(exchange: _Exchange, cn: str, area: bytes) -> None:
    codes = {name.lower(): int(code) for name, code in _RETURN.findall(area)}
    if cn == "9013":
        exchange.noticed = True
    elif cn == "9011":
        exchange.qn_rtn = codes.get(b"qnrtn", 1)
    else:
        exchange.exe_rtn = codes.get(b"exertn", 1)
    exchange.came.set()


def _within(area: bytes, window: tuple[bytes, bytes] | None) -> bool:
    """Tell whether a data frame lies in the window asked for; without a window any of the same command does."""
    if window is None:
        return True
    found = _DATA_TIME.search(area)
    return found is not None and window[0] <= found[1] <= window[1]
