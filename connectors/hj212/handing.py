"""HJ 212 frames that nobody waits to see acknowledged, into the log: those of a mirrored feed and of files.

Enters: what a `Framer` found. Leaves: every good frame to `doors.frame`, in order, and every bad chunk to `doors.reject`; returns
once all of it is durable (promise 1). While the log says Retry, what it did not take is offered again. A frame is never answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from connectors.accept import Doors, InputCounters, patiently
from connectors.core import Refused, Retry
from connectors.hj212.frame import BadChunk, Frame
from connectors.hj212.header import Header, HeaderError, parse

TOGETHER = 500
"""Frames that wait together: they share an fsync, and a full log is noticed after so many."""
Named = tuple[Frame, Header]


async def hand_over(
    doors: Doors, counters: InputCounters, items: Sequence[Frame | BadChunk], source: str
) -> list[tuple[str, bytes]]:
    """Make everything durable; return (reason, bytes) of what was put aside."""
    aside: list[tuple[str, bytes]] = []
    for start in range(0, len(items), TOGETHER):
        frames: list[Named] = []
        for item in items[start : start + TOGETHER]:
            found = _named(item)
            if isinstance(found, BadChunk):
                await patiently(lambda chunk=found: doors.reject(chunk, source), counters)  # type: ignore[misc]
                aside.append((found.reason, found.raw))
            else:
                frames.append(found)
        aside += await _frames(doors, counters, frames, source)
    counters.messages += len(items)
    counters.rows.update(accepted=len(items) - len(aside), rejected=len(aside))
    counters.rejected.update(reason for reason, _ in aside)
    return aside


def _named(item: Frame | BadChunk) -> Named | BadChunk:
    """Return a frame with its header; a frame without a readable one is a bad chunk."""
    if isinstance(item, BadChunk):
        return item
    try:
        return item, parse(item.segment)
    except HeaderError:
        return BadChunk("bad_structure", item.raw)


async def _frames(doors: Doors, counters: InputCounters, frames: Sequence[Named], source: str) -> list[tuple[str, bytes]]:
    refused: list[tuple[str, bytes]] = []
    left = list(frames)
    while left:
        results = await asyncio.gather(*(doors.frame(f, header, source) for f, header in left), return_exceptions=True)
        again: list[Named] = []
        wait = 0.0
        for named, result in zip(left, results, strict=True):
            if isinstance(result, Retry):
                again.append(named)
                wait, counters.fault = max(wait, result.after), str(result)
            elif isinstance(result, Refused):  # whoever refused it has put it aside
                refused.append(("refused", named[0].raw))
            elif isinstance(result, BaseException):
                raise result
        if again:
            counters.retries += 1
            await asyncio.sleep(wait)
        left = again
    return refused
