"""The topics as an AsyncAPI 3.0 document: channels, keys, content types, headers, and how Kafka keeps each.

Enters: the catalogue of topics. Leaves: one document that names the schemas beside it. `receive` is what the product reads, `send`
what it writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from connectors.core import ARROW, HJ212, JSON, NDJSON
from streams.topics import (
    ALERTS,
    CASE_EVENTS,
    CATALOGUE,
    DEAD_LETTERS,
    DEVICE_COMMANDS,
    DEVICE_PRESENCE,
    DEVICE_REPLIES,
    HISTORY,
    INPUTS,
    LEADS,
    LIVE_STATE,
    REGISTRY,
    SUMMARIES,
    Topic,
)

VERSION = "3.0.0"
BINDING = "0.5.0"
"""Version of the Kafka bindings."""
PARTITIONER = "murmur2 of the key, as Kafka's Java client has it (librdkafka: partitioner=murmur2)"
ANY = "application/octet-stream"


class Message(NamedTuple):
    """One form of message: its schema beside this document ("" where the value is not JSON), and what it is."""

    content_type: str
    schema: str
    summary: str


_READINGS = (
    Message(JSON, "readings", "one Reading or an array of them, of one site"),
    Message(NDJSON, "reading", "one Reading a line, all of one site"),
    Message(ARROW, "", "an Arrow IPC stream with the columns of a Reading; time: timestamp with zone, int64 ms UTC, or text"),
    Message(HJ212, "", "one HJ 212 frame as received, from ## to its checksum"),
)
MESSAGES: dict[str, Sequence[Message]] = {
    "sensor-readings": _READINGS,
    "emission-monitoring": _READINGS,
    "power-usage": _READINGS,
    "video-events": (Message(JSON, "event", "one event, or an array of them"), Message(NDJSON, "event", "one event a line")),
    "context": (Message(JSON, "context", "one record"),),
    ALERTS: (Message(JSON, "alert", "one version of an alert"),),
    LEADS: (Message(JSON, "lead", "one version of a lead"),),
    CASE_EVENTS: (Message(JSON, "case-event", "one line of a ledger"),),
    HISTORY: (Message(ARROW, "", "header `kind`: readings, windows or frames"),),
    SUMMARIES: (Message(JSON, "site-summary", "one tick of one partition"),),
    LIVE_STATE: (Message(ANY, "", "a chunk of the judge's own memory; of no use to others"),),
    DEAD_LETTERS: (Message(ANY, "", "refused input, byte for byte; the headers say why"),),
    DEVICE_COMMANDS: (Message(JSON, "device-command", "one command"),),
    DEVICE_REPLIES: (Message(JSON, "device-reply", "one reply"),),
    DEVICE_PRESENCE: (Message(JSON, "device-presence", "all devices of one gateway"),),
    REGISTRY: (Message(JSON, "registry", "the whole registry"),),
}
"""What travels on each topic."""
RECEIVED = (*INPUTS, DEVICE_COMMANDS)
"""Topics that others may write to."""


def asyncapi() -> dict[str, Any]:
    """Return the document."""
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Offsite",
            "version": "1",
            "description": f"Topics of the distributed runtime. Partitions: {PARTITIONER}. Names carry the prefix of the settings (kafka.prefix).",
        },
        "defaultContentType": JSON,
        "channels": {topic.name: _channel(topic) for topic in CATALOGUE.values()},
        "operations": {_operation(topic): _does(topic) for topic in CATALOGUE.values()},
        "components": {
            "messages": {_name(topic, m): _message(topic, m) for topic in CATALOGUE.values() for m in MESSAGES[topic.name]}
        },
    }


def _name(topic: Topic, message: Message) -> str:
    return f"{topic.name}.{message.content_type.rsplit('/', 1)[1]}"


def _channel(topic: Topic) -> dict[str, Any]:
    kept = topic.config(replication=3, min_isr=2)
    named = {"cleanup.policy": [kept.get("cleanup.policy", "delete")], "max.message.bytes": topic.max_bytes}
    if "retention.ms" in kept:
        named["retention.ms"] = int(kept["retention.ms"])
    binding = {"topic": topic.name, "topicConfiguration": named, "bindingVersion": BINDING} | (
        {"partitions": 1} if topic.single else {}
    )
    return {
        "address": topic.name,
        "description": f"{topic.holds}. Key: {topic.key}.",
        "messages": {_name(topic, m): {"$ref": f"#/components/messages/{_name(topic, m)}"} for m in MESSAGES[topic.name]},
        "bindings": {"kafka": binding},
    }


def _operation(topic: Topic) -> str:
    return f"{'receive' if topic.name in RECEIVED else 'send'}-{topic.name}"


def _does(topic: Topic) -> dict[str, Any]:
    return {"action": _operation(topic).split("-", 1)[0], "channel": {"$ref": f"#/channels/{topic.name}"}}


def _message(topic: Topic, message: Message) -> dict[str, Any]:
    if topic.name == DEAD_LETTERS:
        headers: dict[str, Any] = {"$ref": "dead-letter.schema.json"}
    else:
        named = {"content-type": {"const": message.content_type}} | (
            {"kind": {"enum": ["readings", "windows", "frames"]}} if topic.name == HISTORY else {}
        )
        headers = {"type": "object", "properties": named, "required": list(named)}
    key = {"type": "string", "description": topic.key if topic.key != "site" else "the site id, UTF-8"}
    body = {
        "name": _name(topic, message),
        "contentType": message.content_type,
        "summary": message.summary,
        "headers": headers,
        "bindings": {"kafka": {"key": key, "bindingVersion": BINDING}},
    }
    return body | ({"payload": {"$ref": f"{message.schema}.schema.json"}} if message.schema else {})
