"""What an input hands over, and to whom: batches of one site, refused rows, and the doors into the log.

Enters: messages of any input. Leaves: batches and refusals to `accept`, which returns once they are durable (promise 1); only
then may an input acknowledge its source. What can't be stored now (Retry) is repeated, in order; what never can be (Refused) is
put aside with its reason and its bytes (promise 4). Connectors know no meaning: `decode` is handed in.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from connectors.core import NDJSON, Clock, Refused, Retry
from connectors.hj212.frame import BadChunk, Dialect, Frame
from connectors.hj212.header import Header

INLINE = 16_384
"""Bodies up to this size are decoded in the event loop; larger ones in a thread, so that acknowledgements are not kept waiting."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds between two connections to a source."""
_log = logging.getLogger("offsite")
JOINED = 1 << 18
"""Bytes of small messages that are decoded in one go; a batch of them stays well below what a log takes."""
WHOLE = -1
"""The row number of a refusal that is about a whole message."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one site, ready for the log: `rows` are their positions in the message, from 0."""

    site: str
    rows: tuple[int, ...]
    content_type: str
    body: bytes
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was not taken, why (a code), and in words; `body` holds the bytes of a message of which nothing was taken."""

    row: int
    reason: str
    detail: str
    body: bytes = b""


Decode = Callable[[str, bytes, str], tuple[Sequence[Batch], Sequence[Refusal]]]
"""(content type, body, kind "readings" or "events") → batches and refused rows; raises Refused if nothing of it is legible."""
Accept = Callable[[str, Sequence[Batch], Sequence[Refusal]], Awaitable[None]]
"""(kind, batches, refused rows): returns when they are durable; raises Retry, Refused or Lost."""
AcceptFrame = Callable[[Frame, Header, str], Awaitable[object]]
"""(frame, header, source): returns when an HJ 212 frame is durable; raises Retry, Refused or Lost."""
RejectChunk = Callable[[BadChunk, str], Awaitable[object]]
"""(chunk, source): returns when what is no frame is put aside."""


@dataclass(slots=True)
class InputCounters:
    """The books of one input; readable at any time. `state` says in a word what it is doing, `fault` the last trouble."""

    state: str = "starting"
    fault: str = ""
    messages: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    reconnects: int = 0


@dataclass(frozen=True, slots=True)
class Doors:
    """What an input is handed: the ways into the log, the clock (ms UTC), a folder for its own progress, and this process's name."""

    accept: Accept
    decode: Decode
    frame: AcceptFrame
    reject: RejectChunk
    dialect: Callable[[str], Dialect]
    clock: Clock
    state: Path
    instance: str = "offsite"


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a source. `site`, if the source says whose it is: rows of another site are refused. `rows`: see FieldMap."""

    content_type: str
    body: bytes
    site: str = ""
    rows: tuple[int, ...] | None = None
    source: bytes = b""
    """The bytes as received, where they were mapped; kept if nothing of the message is legible."""


async def again_and_again(session: Callable[[], Awaitable[None]], counters: InputCounters) -> None:
    """Hold one connection after the other until cancelled; wait longer the longer nothing comes. What Retry says is shown."""
    wait = FIRST_WAIT
    while True:
        before = counters.messages
        try:
            await session()
        except Retry as error:
            counters.state, counters.fault = "away", str(error)
            counters.reconnects += 1
            _log.warning("%s", error)
        wait = FIRST_WAIT if counters.messages > before else min(wait * 2, LONGEST_WAIT)
        await asyncio.sleep(wait)


def read(decode: Decode, message: Message, kind: str) -> tuple[list[Batch], list[Refusal]]:
    """Decode one message; what is illegible as a whole, or of another site than its source says, comes back refused."""
    try:
        batches, refused = decode(message.content_type, message.body, kind)
    except Refused as error:
        return [], [Refusal(WHOLE, "illegible", str(error), message.source or message.body)]
    own = [b for b in batches if message.site in {"", b.site}]
    foreign = [
        Refusal(row, "wrong_site", f"the row says site {b.site}, its source {message.site}; make the two agree")
        for b in batches
        if message.site not in {"", b.site}
        for row in b.rows
    ]
    rejected = sorted([*refused, *foreign], key=lambda refusal: refusal.row)
    if message.rows is not None:
        rejected = [replace(r, row=message.rows[r.row]) if 0 <= r.row < len(message.rows) else r for r in rejected]
    if rejected and not own and not rejected[0].body:
        rejected[0] = replace(rejected[0], body=message.source or message.body)
    return own, rejected


def read_all(decode: Decode, messages: Sequence[Message], kind: str) -> list[tuple[list[Batch], list[Refusal]]]:
    """Decode messages in their order: many small ones of lines in one go, halved as long as something among them is refused."""
    if len(messages) > 1 and all(message.rows for message in messages):
        half = len(messages) // 2
        if sum(len(message.body) for message in messages) > JOINED:
            return read_all(decode, messages[:half], kind) + read_all(decode, messages[half:], kind)
        batches, refused = read(decode, Message(NDJSON, b"\n".join(message.body for message in messages)), kind)
        owners = [message.site for message in messages for _ in message.rows or ()]
        if not refused and all(owners[row] in {"", batch.site} for batch in batches for row in batch.rows):
            return [(batches, [])]
        return read_all(decode, messages[:half], kind) + read_all(decode, messages[half:], kind)
    return [read(decode, message, kind) for message in messages]


async def take(doors: Doors, counters: InputCounters, kind: str, messages: Sequence[Message]) -> list[Refusal]:
    """Make messages durable, together and in their order; return what was refused. Waits as long as the log says Retry."""

    def decode() -> list[tuple[list[Batch], list[Refusal]]]:
        return read_all(doors.decode, messages, kind)

    small = sum(len(message.body) for message in messages) <= INLINE
    found = decode() if small else await asyncio.to_thread(decode)
    batches = [batch for own, _ in found for batch in own]
    refused = [refusal for _, rejected in found for refusal in rejected]
    refused += await deliver(doors.accept, counters, kind, batches, refused)
    counters.messages += len(messages)
    counters.rows.update(rejected=len(refused))
    counters.rejected.update(refusal.reason for refusal in refused)
    return refused


async def deliver(
    accept: Accept, counters: InputCounters, kind: str, batches: Sequence[Batch], refused: Sequence[Refusal]
) -> list[Refusal]:
    """Hand over until it is durable; return the batches that the log itself refused, as refusals that were put aside."""
    if not batches and not refused:
        return []
    try:
        await patiently(lambda: accept(kind, batches, refused), counters)
    except Refused as error:
        if len(batches) + bool(refused) > 1:  # one bad batch must not hold up the others
            aside = await deliver(accept, counters, kind, [], refused)
            for batch in batches:
                aside += await deliver(accept, counters, kind, [batch], [])
            return aside
        if not batches:
            raise
        put = [Refusal(batches[0].rows[0], "refused", str(error), batches[0].body)]
        await patiently(lambda: accept(kind, [], put), counters)
        return put
    counters.rows.update(accepted=sum(len(batch.rows) for batch in batches))
    return []


async def patiently(work: Callable[[], Awaitable[Any]], counters: InputCounters) -> Any:
    """Do `work`, again and again while it raises Retry, waiting as long as it says."""
    while True:
        try:
            return await work()
        except Retry as error:
            counters.retries += 1
            counters.fault = str(error)
            await asyncio.sleep(error.after)
