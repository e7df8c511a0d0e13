"""What a desk needs beside its pages, in every runtime: time that acts on it, messages that leave it, and persons.

The desk enters; tasks that run until they are cancelled leave. While the database or what takes the messages is away, nothing moves
and nothing is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from cases.db import Row
from cases.people import COLUMNS, DEFAULT
from cases.store import Desk
from offsite.patience import patiently
from streams.registry_model import Registry

TICK_EVERY = 1.0
CARRY_EVERY = 0.5
CARRIED = 100


async def let_time_act(desk: Desk) -> None:
    """End shelves that are over and mark overdue answers, once a second."""
    while True:
        await asyncio.sleep(TICK_EVERY)
        await patiently(lambda: asyncio.to_thread(desk.tick))


async def carry(desk: Desk, topic: str, put: Callable[[Sequence[Row]], Awaitable[object]]) -> None:
    """Carry the desk's messages of a topic: `put` returns once they are durable elsewhere, then they are dropped here.

    Where `put` raises Retry it is called again with the same messages, so each leaves at least once.
    """

    async def once() -> int:
        rows = await asyncio.to_thread(desk.outgoing, topic, CARRIED)
        if rows:
            await put(rows)
            await asyncio.to_thread(desk.sent, topic, rows[-1]["seq"])
        return len(rows)

    while True:
        if await patiently(once) < CARRIED:
            await asyncio.sleep(CARRY_EVERY)


def take_people(desk: Desk, registry: Registry) -> None:
    """Let the registry's persons work at the desk; a desk of nobody gets one person a role."""
    people = [{name: getattr(person, name) for name in COLUMNS} for person in registry.people]
    if people:
        desk.put_people(people)
    elif not desk.people():
        desk.put_people(DEFAULT)
