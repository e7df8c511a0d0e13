"""Which devices are connected, past one machine: each gateway tells, every desk listens.

Frames enter at a gateway; a message of `device-presence` leaves now and then, keyed by the gateway, with all its devices. At a desk
the messages of all gateways enter, and what is known of a device leaves: a gateway that has not told for a while holds none.
"""

from __future__ import annotations

import asyncio
import logging
import threading

import orjson

from cases.clocks import format_time, parse_time
from connectors.core import JSON, Clock, Record, Retry
from connectors.hj212.frame import Frame
from connectors.hj212.header import Header
from connectors.hj212.server import Accept, Gateway
from connectors.kafka import Cluster
from connectors.kafka_sender import Sender
from offsite.hearing import hear
from streams.topics import DEVICE_PRESENCE

EVERY_S = 5.0
SILENT_S = 3 * EVERY_S
"""After so long without a word a gateway is taken for gone, and its devices with it."""
TELL_S = 3.0
"""How long Kafka may take over a word; the next one says it again."""
_log = logging.getLogger("offsite")


class Teller:
    """A gateway's side. `name` is the gateway's own among the gateways."""

    def __init__(self, cluster: Cluster, name: str, clock: Clock) -> None:
        self._sender, self._name, self._clock = Sender(cluster, "presence", seconds=TELL_S), name, clock
        self._seen: dict[str, int] = {}

    def frames(self, accept: Accept) -> Accept:
        """Return `accept` that notes when each device sent a frame."""

        async def noted(frame: Frame, header: Header, peer: str) -> object:
            self._seen[header.mn] = self._clock()
            return await accept(frame, header, peer)

        return noted

    async def run(self, gateway: Gateway) -> None:
        """Tell until cancelled, and at the end that no device is held any more."""
        try:
            while True:
                self._seen = {mn: self._seen[mn] for mn in gateway.devices() if mn in self._seen}
                await self._tell()
                await asyncio.sleep(EVERY_S)
        finally:
            self._seen = {}
            await asyncio.shield(self._tell())

    async def _tell(self) -> None:
        devices = {mn: format_time(at) for mn, at in self._seen.items()}
        body = {"gateway": self._name, "at": format_time(self._clock()), "devices": devices}
        try:
            await asyncio.to_thread(self._sender.send, [Record(DEVICE_PRESENCE, self._name, -1, JSON, orjson.dumps(body))])
        except Retry as away:
            _log.debug("which devices are connected is not told: %s", away)


class Presence:
    """A desk's side."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._gateways: dict[str, tuple[int, frozenset[str]]] = {}
        self._seen: dict[str, str] = {}

    def heard(self, body: bytes) -> None:
        """Take a gateway's word; what is none is left out with a line in the log."""
        try:
            told = orjson.loads(body)
            gateway, at, devices = str(told["gateway"]), parse_time(told["at"]), dict(told["devices"])
        except (orjson.JSONDecodeError, TypeError, KeyError, ValueError):
            _log.warning("a message of %s says nothing of devices: %r", DEVICE_PRESENCE, body[:120])
            return
        self._gateways[gateway] = at, frozenset(devices)
        for mn, seen in devices.items():
            self._seen[mn] = max(self._seen.get(mn, ""), str(seen))

    def online(self, mn: str) -> bool | None:
        """Say whether a device is connected to any gateway; None while no gateway is heard."""
        held = self._held()
        return any(mn in devices for devices in held) if held else None

    def last_seen(self, mn: str) -> str | None:
        """Return when a device sent its last frame that is known here (RFC 3339)."""
        return self._seen.get(mn)

    def devices(self) -> set[str]:
        """Return the devices of all gateways, whoever registered them or nobody."""
        return set().union(*self._held())

    def _held(self) -> list[frozenset[str]]:
        """Return the devices of each gateway that was heard lately."""
        now = self._clock()
        return [devices for at, devices in self._gateways.values() if now - at < SILENT_S * 1000]

    async def listen(self, cluster: Cluster, stopping: threading.Event) -> None:
        """Hear the gateways until cancelled; ends with Lost if the topic can't be read."""
        await hear(cluster, DEVICE_PRESENCE, self.heard, stopping)
