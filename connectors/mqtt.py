"""MQTT input: messages of a broker become rows, and a message is acknowledged only once it is durable.

Enters: QoS 1 messages of one broker, by topic templates such as `city/{site}/readings`. Leaves: readings or events to `accept`,
many messages in one append. Promise 1: PUBACK follows durability; the session outlives the connection, so that what was not
acknowledged comes again after a crash, a lost connection or a restart of the broker. What comes twice is a duplicate downstream.
With a group (shared subscription) several processes divide the messages among them.

Source: MQTT 5.0 §3.1.2.11 (session expiry, receive maximum), §4.4 (redelivery), §4.8.2 (shared subscriptions); MQTT 3.1.1 with
`clean_session` off.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute

from connectors.accept import Doors, InputCounters, Message, again_and_again, take
from connectors.core import ARROW, CSV, JSON, NDJSON
from connectors.field_map import FieldMap
from connectors.http import Ingest
from connectors.mqtt_link import Broker, Link
from connectors.table import Table

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage

TOGETHER = 500
"""Messages that are made durable in one append."""
WORDS = ("site", "point", "factor", "period")
OF_EVENTS = ("site", "point")
LEVEL = re.compile(r"\{(" + "|".join(WORDS) + r")\}\Z")
CONTENT_TYPES = (JSON, NDJSON, CSV, ARROW)


@dataclass(frozen=True, slots=True)
class Template:
    """A topic with names in it: `filter` is what is subscribed to, `names` the level of each name.

    >>> Template.of("city/{site}/readings").read("city/S1/readings")
    {'site': 'S1'}
    """

    filter: str
    names: tuple[tuple[int, str], ...]

    @staticmethod
    def of(text: str) -> Template:
        """Read a template. Raises ValueError for a level in braces that is none of WORDS."""
        levels = text.split("/")
        names = tuple((i, found[1]) for i, level in enumerate(levels) if (found := LEVEL.match(level)))
        wrong = [level for i, level in enumerate(levels) if ("{" in level or "}" in level) and i not in dict(names)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no name; use {', '.join('{' + word + '}' for word in WORDS)}, each a whole level")
        return Template("/".join("+" if i in dict(names) else level for i, level in enumerate(levels)), names)

    def read(self, topic: str) -> dict[str, str]:
        """Return the names that a topic gives; the topic has to match the filter."""
        levels = topic.split("/")
        return {name: levels[i] for i, name in self.names}

    def matches(self, topic: str) -> bool:
        """Tell whether the filter takes a topic (MQTT 5.0 §4.7)."""
        wanted, given = self.filter.split("/"), topic.split("/")
        if wanted[-1] == "#":
            wanted, given = wanted[:-1], given[: len(wanted) - 1]
        return len(wanted) == len(given) and all(w in {"+", g} for w, g in zip(wanted, given, strict=True))


class Mqtt:
    """The input; made from a table `kind = "mqtt"`."""

    def __init__(
        self,
        name: str,
        broker: Broker,
        templates: Sequence[Template],
        doors: Doors,
        *,
        kind: str = "readings",
        content_type: str = JSON,
        group: str = "",
        fields: FieldMap | None = None,
    ) -> None:
        self.name, self.counters = name, InputCounters()
        self._broker, self._templates, self._doors, self._kind = broker, templates, doors, kind
        self._content_type, self._fields = content_type, fields or FieldMap()
        self._filters = [f"$share/{group}/{t.filter}" if group else t.filter for t in templates]

    @staticmethod
    def from_table(table: Table, name: str, doors: Doors) -> Mqtt:
        """Make it from its settings. Raises TableFaults."""
        tls = table.flag("tls", default=False)
        broker = Broker(
            table.text("host"),
            table.whole("port", 8883 if tls else 1883, 1, 65_535),
            table.choice("version", (5, 3), 5),
            table.text("client_id", f"offsite-{doors.instance}-{name}"),
            table.text("username", ""),
            table.secret("password"),
            tls,
            table.path("ca"),
            table.path("cert"),
            table.path("key"),
            table.whole("session_expiry_s", 7 * 86_400, 60, 0xFFFFFFFE),
            table.whole("in_flight", 1_000, 1, 65_535),
            table.whole("keepalive_s", 30, 5, 65_535),
        )
        if (broker.ca or broker.cert or broker.key) and not tls:
            table.fault("tls", "is false, but certificates are given; write tls = true")
        if bool(broker.cert) != bool(broker.key):
            table.fault("cert", "a client certificate needs both cert and key (PEM files)")
        templates = []
        for text in table.texts("topics"):
            try:
                templates.append(Template.of(text))
            except ValueError as error:
                table.fault("topics", str(error))
        kind = table.choice("payload", ("readings", "events"), "readings")
        content_type = table.choice("content_type", CONTENT_TYPES, JSON)
        group = table.text("group", "")
        fields = FieldMap.from_table(table)
        table.done()
        return Mqtt(name, broker, templates, doors, kind=kind, content_type=content_type, group=group, fields=fields)

    def routes(self, _ingest: Ingest) -> Sequence[BaseRoute]:
        """Return none: it is the client."""
        return []

    async def run(self) -> None:
        """Take messages until cancelled; a lost or refused connection is tried again and shown in the counters."""
        await again_and_again(self._session, self.counters)

    async def _session(self) -> None:
        """Hold one connection until it ends. Raises Retry that says why."""
        link = Link(self._broker, asyncio.get_running_loop())
        try:
            await link.open(self._filters)
            self.counters.state = "connected"
            while True:
                await self._take(link, await link.next(TOGETHER))
        finally:
            await asyncio.to_thread(link.close)

    async def _take(self, link: Link, messages: Sequence[MQTTMessage]) -> None:
        """Make messages durable, then acknowledge them."""
        await take(self._doors, self.counters, self._kind, [self._message(message) for message in messages])
        for message in messages:
            link.acknowledge(message)

    def _message(self, message: MQTTMessage) -> Message:
        """Return a message with the names its topic gives filled in."""
        topic = str(message.topic)
        names: Mapping[str, str] = next((t.read(topic) for t in self._templates if t.matches(topic)), {})
        properties: Any = getattr(message, "properties", None)
        content_type = str(getattr(properties, "ContentType", "") or self._content_type).partition(";")[0].strip().lower()
        body = bytes(message.payload)
        more = {} if self._kind == "events" else names
        mapped, made, rows = self._fields.apply(
            content_type, body, more or {k: v for k, v in names.items() if k in {"site", "point"}}
        )
        return Message(mapped, made, names.get("site", ""), rows, body)
