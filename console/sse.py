"""Live events: what changed on the desk, as server-sent events with persisted ids.

Enters: the id of the last event the browser saw. Leaves: `id:`/`event:`/`data:` blocks (WHATWG HTML §9.2), in order, none twice.
An id older than what the desk still holds, or newer than it ever gave, is answered by one `resync` event: the page reads its lists
again. A named `heartbeat` carries the server's time and the data delay, because a comment is invisible to a page.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from cases.store import Desk
from connectors.core import Retry
from console.names import Names
from console.ports import Services

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
POLL_S = 0.2
HEARTBEAT_S = 10.0
BATCH = 500


def block(event: str, data: Any, id: int | None = None) -> str:  # noqa: A002 - the field's name on the wire
    r"""Render one event.

    >>> block("alert", {"a": 1}, 7)
    'id: 7\nevent: alert\ndata: {"a": 1}\n\n'
    """
    head = "" if id is None else f"id: {id}\n"
    return f"{head}event: {event}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def start(desk: Desk, last_seen: int | None) -> tuple[int, bool]:
    """Return (id to continue after, whether the page must read everything again)."""
    newest = desk.last_event_id()
    if last_seen is None:
        return newest, False
    lost = last_seen > newest or last_seen < desk.first_event_id() - 1
    return (newest if lost else last_seen), lost


def heartbeat(parts: Services) -> dict[str, Any]:
    """Return the server's time and how far judging is behind it, in seconds (None: nothing judged yet)."""
    info = parts.clock_info()
    judged = info.get("judged")
    now = parts.clock()
    return {**info, "now": now, "delay_s": None if judged is None else max(0.0, (now - judged) / 1000.0)}


async def stream(
    parts: Services, last_seen: int | None, *, poll_s: float = POLL_S, monotonic: Callable[[], float] | None = None
) -> AsyncIterator[str]:
    """Yield blocks until the server stops or the browser leaves. Each poll is one short read in a thread."""
    now = monotonic or asyncio.get_running_loop().time
    position, lost = await asyncio.to_thread(start, parts.desk, last_seen)
    yield f"retry: 2000\n{block('resync' if lost else 'hello', {'id': position}, position)}"
    beat = -HEARTBEAT_S
    while not parts.stopping():
        try:
            if now() - beat >= HEARTBEAT_S:
                beat = now()
                yield block("heartbeat", await asyncio.to_thread(heartbeat, parts))
            events = await asyncio.to_thread(parts.desk.events_since, position, BATCH)
        except Retry as away:  # the desk's database: the browser's stream stays open until it is back
            await asyncio.sleep(away.after)
            continue
        names = Names(parts.registry)
        for event in events:
            position = int(event["id"])
            yield block("change", {**event, "body": names.label(event.get("body") or {})}, position)
        if len(events) < BATCH:
            await asyncio.sleep(poll_s)
