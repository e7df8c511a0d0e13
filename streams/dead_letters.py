"""A dead letter: refused input as it came, with the reason, where it lay in the log, and all that is needed to drive it again.

The judge's rejects enter; messages of topic `dead-letters` leave, and come back from there (promise 4: nothing vanishes). The
value is the raw input, byte for byte; everything about it stands in the headers. It can be read by its content type as it is: a
refused row of CSV keeps the header line, of Arrow it is written as JSON, and of an HJ 212 frame the whole frame is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from connectors.core import ARROW, CSV, HJ212, JSON, Record
from connectors.kafka import CONTENT_TYPE
from streams.codecs.json_text import BOM
from streams.codecs.readings import bare
from streams.identity import content_id
from streams.model import Reject
from streams.records import BAD_CHUNK, DEAD, HELD, OF_TOPIC, REFUSED_ROWS
from streams.topics import DEAD_LETTERS

COUNTS = ("partition", "offset", "arrived", "rows")
"""Headers that are whole numbers, written in decimal."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`key` names the source (site id, MN or peer); `rows` readings are counted as refused; `arrived` is log time, ms UTC.

    `topic`, `partition` and `offset` say where the input lay; -1 = nowhere in the log.
    """

    key: str
    raw: bytes
    content_type: str
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    arrived: int
    rows: int

    @classmethod
    def of(cls, record: Record, reject: Reject) -> DeadLetter:
        """Return the letter of a reject of this record; a reject without bytes of its own keeps the whole record."""
        place = (record.topic, record.partition, record.offset, record.arrived)
        kind, raw = _legible(record, reject)
        return cls(record.key, raw, kind, reject.reason, reject.detail, *place, reject.rows)

    @property
    def id(self) -> str:
        """Return the content id: of where the input lay, why it was refused, and its bytes."""
        digest = hashlib.sha256(self.raw).hexdigest()
        return content_id("dead-letter", self.topic, self.partition, self.offset, self.reason, self.detail, digest)

    def to_message(self) -> tuple[bytes, dict[str, str | bytes | None]]:
        """Return value and headers; headers are UTF-8 text."""
        named: dict[str, str | bytes | None] = {
            f.name: str(getattr(self, f.name)) for f in fields(self) if f.name not in ("key", "raw", "content_type")
        }
        return self.raw, {CONTENT_TYPE: self.content_type, "id": self.id} | named

    @classmethod
    def from_message(cls, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> DeadLetter:
        """Read a message back; a header that is missing (another producer's letter) reads as unknown."""
        told = {name: (text or b"").decode("utf-8", "replace") for name, text in headers}
        words = (told.get(CONTENT_TYPE, ""), told.get("reason", "unknown"), told.get("detail", ""), told.get("topic", ""))
        partition, offset, arrived, rows = (_whole(told, name) for name in COUNTS)
        source = (key or b"").decode("utf-8", "backslashreplace")
        return cls(source, value or b"", *words, partition, offset, arrived, max(rows, 0))


def outgoing(record: Record) -> tuple[Record, Mapping[str, str | bytes | None]]:
    """Return how a gateway's record leaves for Kafka: what it put aside or holds becomes a letter, all else stays as it is."""
    if record.topic == HELD:
        kind, _, topic = record.content_type.partition(OF_TOPIC)
        reason, detail, rows = (
            "unregistered",
            f"nobody has registered {record.key!r}; register it, then drive the letter again",
            0,
        )
    elif record.topic == DEAD and record.content_type == REFUSED_ROWS:
        kind, topic, reason, detail, rows = JSON, "", "refused_rows", "the rows and their reasons are the letter", 0
    elif record.topic == DEAD:
        kind, topic, rows = HJ212, "", 0
        reason, detail = record.content_type.removeprefix(BAD_CHUNK), f"from {record.key}"
    else:
        return record, {}
    letter = DeadLetter(record.key, record.body, kind, reason, detail, topic, -1, -1, record.arrived, rows)
    body, headers = letter.to_message()
    return Record(DEAD_LETTERS, record.key, record.arrived, kind, body), headers


def _legible(record: Record, reject: Reject) -> tuple[str, bytes]:
    """Return content type and bytes of refused input, so that one can be read by the other."""
    kind = bare(record.content_type)
    if not reject.raw or not reject.rows or kind == HJ212:
        return record.content_type, reject.raw if reject.raw and kind != HJ212 else record.body
    if kind == CSV:
        header = record.body.removeprefix(BOM).lstrip(b"\r\n").split(b"\n", 1)[0].split(b"\r", 1)[0]
        return record.content_type, header + b"\n" + reject.raw
    return (JSON if kind == ARROW else record.content_type), reject.raw


def _whole(told: Mapping[str, str], name: str) -> int:
    """Return a whole number, -1 where there is none."""
    text = told.get(name, "")
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else -1
