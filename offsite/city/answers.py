"""What a data logger answers to a command of the centre: pure functions, a request in, frames out.

9011 first, then data if asked for, then 9012 (HJ 212-2017 §6.4). History is computed, so a logger answers for the minutes an
outage kept back as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from connectors.hj212.commands import build, format_cst, parse_cst
from connectors.hj212.header import Header
from offsite.city.emissions import Block, averaged
from offsite.city.model import TEN_MINUTES_MS, City
from offsite.city.plants import Outlet
from offsite.city.tables import CST_MS, DAY_MS, HOUR_MS
from offsite.city.wire import DAY, HOUR, MINUTE, PASSWORD, Renderer

READY, WRONG_PASSWORD, WRONG_MN, WRONG_CN = 1, 3, 4, 8
SUCCESS, BAD_CONDITION, NO_DATA = 1, 3, 100
HISTORY_SLOT = 7
LONGEST_MS = {MINUTE: 2 * DAY_MS, HOUR: 31 * DAY_MS, DAY: 366 * DAY_MS}
"""The longest span one request may ask for; a longer one gets ExeRtn 3."""
_PARAM = re.compile(rb"(\w+)=([^;,&]*)")
_SETTINGS = ("1000", "1012", "1062", "1064", "1072", "2011", "2012", "2022", "3016", "3021")


@dataclass(frozen=True, slots=True)
class Logger:
    """One data logger: the outlets behind it, the city it stands in, its clock."""

    city: City
    outlets: tuple[Outlet, ...]
    clock: Callable[[], int]

    def answer(self, header: Header, area: bytes) -> list[bytes]:
        """Return the frames that answer one command."""
        outlets = [o for o in self.outlets if o.mn == header.mn]
        refusal = _refusal(header, outlets)
        if refusal:
            return [_reply(header, "9011", f"QnRtn={refusal}")]
        if header.cn in ("2012", "2022"):
            return [_reply(header, "9013", "")]
        frames: list[bytes] = []
        result = SUCCESS
        if header.cn in LONGEST_MS:
            frames, result = self._history(header, outlets, area)
        elif header.cn == "3015":
            frames = [self._retained_sample(header)]
        return [_reply(header, "9011", f"QnRtn={READY}"), *frames, _reply(header, "9012", f"ExeRtn={result}")]

    def hello(self) -> list[bytes]:
        """Return the requests for time calibration (1013) that a logger makes after each connect, one an MN."""
        now = self.clock()
        first = {o.mn: o for o in self.outlets}
        flags = {"2005": 1, "2017": 5, "2025": 9}
        return [
            build(qn=f"{format_cst(now)}{900 + k:03d}", st=o.profile.st, cn="1013", pw=PASSWORD, mn=mn, flag=flags[o.version])
            for k, (mn, o) in enumerate(first.items())
        ]

    def _history(self, header: Header, outlets: Sequence[Outlet], area: bytes) -> tuple[list[bytes], int]:
        """Return data frames of [BeginTime, EndTime] and the ExeRtn."""
        given = {name.decode(): value.decode("ascii", "replace") for name, value in _PARAM.findall(area)}
        begin, end = parse_cst(given.get("BeginTime", "")), parse_cst(given.get("EndTime", ""))
        if begin is None or end is None or end < begin or end - begin > LONGEST_MS[header.cn]:
            return [], BAD_CONDITION
        frames: list[bytes] = []
        for outlet in outlets:
            frames += self._span(outlet, header.cn, begin, end)
        return frames, SUCCESS if frames else NO_DATA

    def _span(self, outlet: Outlet, cn: str, begin: int, end: int) -> list[bytes]:
        """Return one outlet's frames whose period starts in [begin, end] and has ended."""
        now = self.clock()
        frames: list[bytes] = []
        for block in self._kept(outlet, cn, begin, min(end, now)):
            wanted = (block.time >= begin) & (block.time <= end) & (block.time + block.step_ms <= now)
            asked = replace(block, sent=np.broadcast_to(wanted, block.sent.shape))
            sent_at = now + (block.time - begin) // TEN_MINUTES_MS * 1000
            frames += [f.data for f in Renderer().render(asked, cn, sent_at, slot=HISTORY_SLOT)]
        return frames

    def _kept(self, outlet: Outlet, cn: str, begin: int, end: int) -> list[Block]:
        """Return the logger's blocks that cover [begin, end], in whole hours or days."""
        whole = DAY_MS if cn == DAY else HOUR_MS
        first = (begin + CST_MS) // whole * whole - CST_MS
        hours = ((end - first) // whole + 1) * whole // HOUR_MS
        if hours < 1:
            return []
        if cn == MINUTE:
            return [] if outlet.profile.hourly_only else self.city.minute_data((outlet,), first, hours)
        hourly = (
            self.city.block((outlet,), first, HOUR_MS, hours)
            if outlet.profile.hourly_only
            else averaged(self.city.ten_minutes((outlet,), first, hours * 6), 6)
        )
        return [averaged(hourly, whole // HOUR_MS)]

    def _retained_sample(self, header: Header) -> bytes:
        now = self.clock()
        area = f"DataTime={format_cst(now)};VaseNo=1"
        return build(
            qn=f"{format_cst(now)}800", st=header.st, cn="3015", pw=PASSWORD, mn=header.mn, flag=_quiet(header) | 1, area=area
        )


def _refusal(header: Header, outlets: Sequence[Outlet]) -> int:
    """Return the QnRtn of a command that is not carried out, 0 if it is."""
    if not outlets:
        return WRONG_MN
    if header.pw != PASSWORD:
        return WRONG_PASSWORD
    known = header.cn in _SETTINGS or header.cn in LONGEST_MS or header.cn == "3015"
    return 0 if known else WRONG_CN


def _quiet(header: Header) -> int:
    """Return the request's version bits without the answer and split bits."""
    return (4 if header.flag is None else header.flag) & ~3


def _reply(header: Header, cn: str, area: str) -> bytes:
    return build(qn=header.qn, st="91", cn=cn, pw=header.pw, mn=header.mn, flag=_quiet(header), area=area)
