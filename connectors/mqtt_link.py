"""One connection to an MQTT broker: messages come into the event loop, acknowledgements leave when they are asked for.

Enters: what the broker sends on one connection. Leaves: messages in their order, and PUBACK only on `acknowledge` (promise 1).
Each connection has a client object of its own (paho-mqtt, manual acknowledgement, no reconnection), so that an acknowledgement
can't reach another connection than the one its message came by. paho's exceptions end here: everything is Retry.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connectors.core import Retry

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

ANSWER = 10.0
"""Seconds that the broker may take to answer CONNECT or SUBSCRIBE."""


@dataclass(frozen=True, slots=True)
class Broker:
    """How the broker is reached. `version` is 5 or 3; `expiry` (s) is how long it keeps the session of a client that is away."""

    host: str
    port: int = 1883
    version: int = 5
    client_id: str = "offsite"
    username: str = ""
    password: bytes = field(default=b"", repr=False)
    tls: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    expiry: int = 7 * 86_400
    in_flight: int = 1_000
    keepalive: int = 30


class Link:
    """One connection: a client object of its own whose network thread hands everything to the event loop."""

    def __init__(self, broker: Broker, loop: asyncio.AbstractEventLoop) -> None:
        self._broker, self._loop = broker, loop
        self._came: deque[MQTTMessage] = deque()
        self._some = asyncio.Event()
        self._waking = False
        self._connected: asyncio.Future[str] = loop.create_future()
        self._subscribed: asyncio.Future[str] = loop.create_future()
        self._gone: asyncio.Future[str] = loop.create_future()
        self._client = self._make()

    async def open(self, filters: Sequence[str]) -> None:
        """Connect and subscribe. Raises Retry."""
        from paho.mqtt.client import MQTT_ERR_SUCCESS

        where = f"MQTT broker {self._broker.host}:{self._broker.port}"
        try:
            await asyncio.to_thread(self._connect)
        except (OSError, ValueError) as error:
            raise Retry(f"{where} can't be reached ({error}); start it, or correct host, port and certificates") from error
        self._client.loop_start()
        refused = await self._answer(self._connected, where)
        if refused:
            raise Retry(f"{where} refuses the connection ({refused}); correct client_id, username, password or certificate")
        code, _ = self._client.subscribe([(text, self._options()) for text in filters])
        refused = await self._answer(self._subscribed, where) if code == MQTT_ERR_SUCCESS else str(code)
        if refused:
            raise Retry(f"{where} refuses {', '.join(filters)} ({refused}); allow this client to read them")

    async def next(self, most: int) -> list[MQTTMessage]:
        """Wait, and return the messages that have come. Raises Retry when the connection has ended."""
        coming = asyncio.ensure_future(self._some.wait())
        waits: set[asyncio.Future[Any]] = {coming, self._gone}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            coming.cancel()
        if self._gone.done():
            raise Retry(
                f"MQTT broker {self._broker.host}:{self._broker.port} has gone ({self._gone.result()}); it is tried again"
            )
        messages = [self._came.popleft() for _ in range(min(most, len(self._came)))]
        if not self._came:
            self._some.clear()
        return messages

    def acknowledge(self, message: MQTTMessage) -> None:
        """Send PUBACK; on a connection that has ended it goes nowhere, and the message comes again."""
        if message.qos:
            self._client.ack(message.mid, message.qos)

    def close(self) -> None:
        """Leave; the session stays with the broker. Blocks until the network thread has ended."""
        self._client.disconnect()
        self._client.loop_stop()

    async def _answer(self, future: asyncio.Future[str], where: str) -> str:
        """Return what the broker refused, "" if nothing. Raises Retry if it says nothing or leaves."""
        done, _ = await asyncio.wait({future, self._gone}, timeout=ANSWER, return_when=asyncio.FIRST_COMPLETED)
        if future in done:
            return future.result()
        if done:
            words = f"has gone before it answered ({self._gone.result()}); if it asks for a certificate, give cert and key"
            raise Retry(f"{where} {words}")
        raise Retry(f"{where} does not answer; it is tried again")

    def _make(self) -> Client:
        """Return a client that speaks nothing yet."""
        from paho.mqtt.client import Client, MQTTv5, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        broker = self._broker
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            protocol=MQTTv5 if broker.version == 5 else MQTTv311,
            clean_session=None if broker.version == 5 else False,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        if broker.username:
            client.username_pw_set(broker.username, broker.password.decode() or None)
        client.on_connect = lambda _c, _u, _f, code, _p: self._tell(self._connected, str(code) if code.is_failure else "")
        client.on_subscribe = lambda _c, _u, _m, codes, _p: self._tell(
            self._subscribed, ", ".join(str(code) for code in codes if code.is_failure)
        )
        client.on_disconnect = lambda _c, _u, _f, code, _p: self._tell(self._gone, str(code))
        client.on_message = lambda _c, _u, message: self._hand(message)
        return client

    def _connect(self) -> None:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        broker = self._broker
        if broker.tls:
            context = ssl.create_default_context(cafile=str(broker.ca) if broker.ca else None)
            if broker.cert:
                context.load_cert_chain(str(broker.cert), str(broker.key))
            self._client.tls_set_context(context)
        if broker.version != 5:
            self._client.connect(broker.host, broker.port, broker.keepalive)
            return
        properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval, properties.ReceiveMaximum = broker.expiry, broker.in_flight
        self._client.connect(broker.host, broker.port, broker.keepalive, clean_start=False, properties=properties)

    def _options(self) -> Any:
        from paho.mqtt.subscribeoptions import SubscribeOptions

        return SubscribeOptions(qos=1) if self._broker.version == 5 else 1

    def _hand(self, message: MQTTMessage) -> None:
        """Queue a message and wake the loop; while it is waking already, it will find this one too."""
        self._came.append(message)
        if not self._waking and not self._loop.is_closed():
            self._waking = True
            self._loop.call_soon_threadsafe(self._woken)

    def _woken(self) -> None:
        self._waking = False
        self._some.set()

    def _tell(self, future: asyncio.Future[str], words: str) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: None if future.done() else future.set_result(words))
