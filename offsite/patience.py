"""Waiting for a part that is away: the same work again until it is done, with one line in the log when it begins and one when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from connectors.core import Retry

T = TypeVar("T")
_log = logging.getLogger("offsite")


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Await `work()`, again while it raises Retry; return what it gave. Other errors pass."""
    waited = False
    while True:
        try:
            done = await work()
        except Retry as away:
            if not waited:
                _log.warning("%s", away)
            waited = True
            await asyncio.sleep(away.after)
        else:
            if waited:
                _log.info("it goes on")
            return done
