"""The archive as a sink of the agents: committed messages of the topic `history` enter, and are durable on return.

Messages of one partition come in offset order; putting them again does no harm, so the sink may be called again after any failure.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from connectors.core import Refused
from streams import history
from streams.archive import Archive
from streams.archive import Message as Kept
from streams.faust_app import Message, Sink
from streams.topics import HISTORY

NAME = "archive"
MOST = 2_000
"""Messages a batch at most."""
FEW, LINGER_S = 500, 20.0
"""A batch of fewer messages is written only after a while, so that the next one is larger: fewer files a day."""


def archive_sink(archive: Archive, linger_s: float = LINGER_S) -> Sink:
    """Return the sink that fills `archive`; a row is in it after twice `linger_s` at the latest."""

    async def take(messages: Sequence[Message]) -> None:
        if len(messages) < FEW:
            await asyncio.sleep(linger_s)
        by_partition: dict[int, list[Kept]] = defaultdict(list)
        for message in messages:
            by_partition[message.partition].append(_kept(message))
        for partition, kept in by_partition.items():
            await asyncio.to_thread(archive.put, partition, kept)

    return Sink(NAME, (HISTORY,), take, MOST)


def _kept(message: Message) -> Kept:
    kind = message.headers.get("kind", b"").decode("latin-1")
    if kind not in history.SORT:
        raise Refused(
            f"history message {message.offset} of partition {message.partition} is of kind {kind!r}; upgrade the agents"
        )
    return message.offset, kind, history.unpack(message.value)
