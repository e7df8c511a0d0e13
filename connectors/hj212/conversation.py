"""What the gateway says of its own accord: the clock to a device that asks for it, and the greeting of a known device.

Enters: the header of a frame that is durable. Leaves: commands (HJ 212-2017 §6.6 time calibration, §6.7 first connection).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from connectors.core import Clock
from connectors.hj212.device import DeviceSettings
from connectors.hj212.exchange import Outcome
from connectors.hj212.header import Header


class Ask(Protocol):
    """How a command is given: `Gateway.ask`."""

    async def __call__(self, mn: str, cn: str, params: Mapping[str, str | int]) -> Outcome:
        """Give the command and return its outcome."""


class Conversation:
    """Answers 1013 with 1012, one exchange a device at a time, and greets a known device once."""

    def __init__(self, ask: Ask, spawn: Callable[[Coroutine[Any, Any, Any]], object], clock: Clock) -> None:
        self._ask, self._spawn, self._clock = ask, spawn, clock
        self._greeted: set[str] = set()
        self._calibrating: set[str] = set()

    def heard(self, header: Header, settings: DeviceSettings) -> None:
        """React to a durable frame of a device."""
        mn = header.mn
        if header.cn == "1013" and mn not in self._calibrating:
            self._calibrating.add(mn)
            self._spawn(self._calibrate(mn))
        if settings.known and settings.greeting and mn not in self._greeted:
            self._greeted.add(mn)
            self._spawn(self._greet(mn, settings))

    async def _calibrate(self, mn: str) -> None:
        try:
            await self._ask(mn, "1012", {"SystemTime": self._clock()})
        finally:
            self._calibrating.discard(mn)

    async def _greet(self, mn: str, settings: DeviceSettings) -> None:
        """Hold the conversation as far as the device's settings name it; a device that is not reached is greeted again later."""
        params: dict[str, Callable[[], dict[str, str | int]]] = {
            "1012": lambda: {"SystemTime": self._clock()},
            "1000": lambda: {"OverTime": settings.over_time, "ReCount": settings.recount},
            "1062": lambda: {"RtdInterval": settings.rtd_interval},
            "1064": lambda: {"MinInterval": settings.min_interval},
        }
        for cn in settings.greeting:
            outcome = await self._ask(mn, cn, params[cn]() if cn in params else {})
            if outcome.fault in {"not_connected", "unreachable"}:
                self._greeted.discard(mn)
                return
