"""The worker of one target: due items in, attempts out, each fate written down; one coroutine a target, and none waits for another.

Order is kept for each key: the next of a key is tried only when the one before was delivered, refused or given up; other keys go
on meanwhile. At least once: only what was settled is not sent again after a crash (`connectors/outbound.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Any

from connectors.core import Clock, Lost, Refused, Retry
from connectors.outbound import Queue
from connectors.outbound_entries import POSTPONED, Item, Outcome
from connectors.outputs import Delivery, Output

LOOK = 0.25
"""Seconds between two looks into the queue when nobody wakes the worker."""
LEASE_MS = 15_000
RENEW_MS = 5_000
AHEAD = 64
"""Items of a key that are read from the queue at once."""
UNWRITTEN = 8
"""Attempts of a key, at most a delivery more, whose end may not be written down yet: so many may come twice after a crash."""
_log = logging.getLogger(__name__)


class Worker:
    """Sends what waits for `output` until cancelled. `owner` names this process: of several, one sends to a target at a time.

    `chance` gives the jitter of retries. `wake` may be set whenever something was put.
    """

    def __init__(self, queue: Queue, output: Output, clock: Clock, *, owner: str, chance: Random) -> None:
        self.wake = asyncio.Event()
        self._queue, self._output, self._clock, self._owner, self._chance = queue, output, clock, owner, chance
        self._name = output.common.name
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._outcomes: list[Outcome] = []
        self._ended: list[str] = []
        self._waits: list[asyncio.Future[None]] = []
        self._served: dict[str, int] = {}
        self._leased = -RENEW_MS
        self._stop: str | None = None

    async def run(self) -> None:
        """Work until cancelled; what is known of the attempts is written down before it ends. Raises Lost if the queue is gone."""
        try:
            while True:
                await self._settle()
                if await self._held():
                    await self._begin()
                await self._rest()
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)
            await self._output.close()
            await self._settle()
            if self._leased > 0:  # another process may go on at once
                now = self._clock()
                await self._ask(self._queue.lease, self._name, self._owner, now, now)

    async def _ask(self, call: Callable[..., Any], *args: Any) -> Any:
        """Call the queue off the loop, again and again while its database is busy or away."""
        while True:
            try:
                return await asyncio.to_thread(call, *args)
            except Retry as away:
                _log.warning("%s", away)
                await asyncio.sleep(away.after)

    async def _held(self) -> bool:
        """Tell whether this worker is the one of its target."""
        now = self._clock()
        if now - self._leased < RENEW_MS:
            return True
        if not await self._ask(self._queue.lease, self._name, self._owner, now, now + LEASE_MS):
            return False
        self._leased = now
        return True

    async def _settle(self) -> None:
        """Write down what has become of attempts; then their keys are free again."""
        outcomes, ended, waits = self._outcomes, self._ended, self._waits
        self._outcomes, self._ended, self._waits = [], [], []
        if outcomes and not await self._ask(self._queue.settle, self._name, self._owner, outcomes):
            _log.warning("output %s: another worker has taken over; this one waits", self._name)
            self._leased = -RENEW_MS
            for task in self._busy.values():
                task.cancel()
        if self._stop is not None:
            await self._ask(self._queue.stop, self._name, self._stop)
            self._stop = None
        for key in ended:
            del self._busy[key]
        for one in waits:
            if not one.done():
                one.set_result(None)

    async def _begin(self) -> None:
        """Take up keys that are due, those served longest ago first."""
        room = self._output.parallel - len(self._busy)
        if room <= 0:
            return
        now = self._clock()
        due = [key for key in await self._ask(self._queue.due, self._name, now) if key not in self._busy]
        due.sort(key=lambda key: self._served.get(key, 0))
        live = None if self._output.live_ms is None else now - self._output.live_ms
        ahead = max(AHEAD, self._output.batch) if live is None else self._output.batch  # what comes meanwhile is to go first
        found = await self._ask(self._queue.next, self._name, due[:room], ahead, live)
        for key, items in found.items():
            self._served[key] = now
            self._busy[key] = asyncio.create_task(self._lane(key, items))

    async def _rest(self) -> None:
        self.wake.clear()
        if not (self._outcomes or self._ended or self._waits):
            waiting: Coroutine[Any, Any, bool] = self.wake.wait()
            try:
                await asyncio.wait_for(waiting, LOOK)
            except TimeoutError:
                return

    async def _lane(self, key: str, items: list[Item]) -> None:
        """Try the items of one key, in order, until one has to wait."""
        unwritten = 0
        try:
            while items and self._stop is None:
                if unwritten >= UNWRITTEN:
                    await self._written()
                    unwritten = 0
                now = self._clock()
                if now - items[0].at > self._output.common.expire:
                    self._note(items.pop(0), "expired", "could not be sent in time")
                    continue
                delivery = await self._attempt(items[: self._output.batch])
                for answer in delivery.answers:
                    self._note(items.pop(0), "sent", answer)
                unwritten += len(delivery.answers)
                if delivery.fault is not None and not self._bear(delivery.fault, items):
                    return
        finally:
            self._ended.append(key)
            self.wake.set()

    async def _written(self) -> None:
        """Wait until all that was noted is written down."""
        waits: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waits.append(waits)
        await waits

    def _bear(self, fault: Exception, items: list[Item]) -> bool:
        """Write down why the first item was not delivered; tell whether the key may go on."""
        if isinstance(fault, Refused):
            self._note(items.pop(0), "refused", str(fault))
            return True
        if isinstance(fault, Lost):
            self._stop = str(fault)
        first, most = self._output.common.backoff
        wait = min(most, first * 2.0 ** min(items[0].attempts, 40)) * (0.5 + self._chance.random() / 2)
        after = max(wait, fault.after) if isinstance(fault, Retry) else wait
        self._note(items[0], POSTPONED, str(fault), int(after * 1000))
        return False

    def _note(self, item: Item, fate: str, answer: str, wait: int = 0) -> None:
        now = self._clock()
        self._outcomes.append(Outcome(item, fate, answer[:500], now, now + wait))
        self.wake.set()

    async def _attempt(self, items: Sequence[Item]) -> Delivery:
        try:
            return await self._output.deliver(items)
        except Exception as fault:  # noqa: BLE001 — one target's fault is not to stop the others; it is logged and shown
            _log.exception("output %s: a fault of ours; it is tried again", self._name)
            return Delivery(fault=Retry(f"a fault of ours: {fault!r}"))
