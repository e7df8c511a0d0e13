"""API keys at a gateway: checked in the desk's database, and remembered for a while in case that is away.

A key enters, who may send for which sites leaves. A gateway goes on taking from senders that it knew while the database is away;
a revoked key is refused within `FRESH` once it is back.
"""

from __future__ import annotations

from cases.store import Desk
from connectors.core import Clock, Retry
from connectors.http import Scope

FRESH, KEPT = 30_000, 3_600_000
"""Milliseconds for which an answer is not asked for again, and for which it counts while the database is away."""
MOST = 10_000


class KeyMemory:
    """The keys of one gateway."""

    def __init__(self, desk: Desk, clock: Clock) -> None:
        self._desk, self._clock = desk, clock
        self._known: dict[str, tuple[int, Scope]] = {}

    def check(self, key: str) -> Scope | None:
        """Return who calls, None for an unknown key. Raises Retry if that can't be told now."""
        now = self._clock()
        at, scope = self._known.get(key, (None, None))
        if at is not None and now - at < FRESH:
            return scope
        try:
            grant = self._desk.check_key(key)
        except Retry:
            if at is None or now - at > KEPT:
                raise
            return scope
        self._known.pop(key, None)
        if grant is None:
            return None
        if len(self._known) >= MOST:
            self._known.pop(next(iter(self._known)))
        found = Scope(f"{grant.name} ({grant.key})", grant.sites)
        self._known[key] = now, found
        return found
