"""The judge's state as messages of the compacted topic `live-state`, and the position that it stands for.

Chunks enter and messages leave, or the other way round at a restore. The position chunk is written with every step: which
topics (by Kafka's topic id), how far, how many partitions, and by which plan. State and position can't part, whatever happens
to the consumer group's offsets; and a topic that was deleted and made again is refused, not skipped (design §3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from connectors.core import Lost
from streams.seen import ALL, Run, run_of
from streams.state import RAW_KINDS, Chunk

POSITION = ("position", "", 0)
CHUNK_BYTES = 8_192
"""Bytes of a chunk of the changelog. A live step touches few rows of each slab: chunks of 64 KB wrote three times as many bytes,
chunks of 4 KB half as many messages again. What is stored is bound to it: with another number the changelog can't be read back."""
Message = tuple[bytes, bytes | None]
"""Key and value; None = a tombstone."""


@dataclass(frozen=True, slots=True)
class Position:
    """What a partition's state stands for: topic → (topic id, offset of the first record not judged), partitions, plan hash.

    `tick` is the log time (ms UTC) that the inputs have reached; it begins with the first record, before the first tick.
    """

    topics: Mapping[str, tuple[str, int]]
    partitions: int
    plan: str
    tick: int

    def offsets(self) -> dict[str, int]:
        """Return topic → offset."""
        return {topic: offset for topic, (_, offset) in self.topics.items()}

    def chunk(self) -> Chunk:
        """Return the chunk to store."""
        topics = {name: list(at) for name, at in self.topics.items()}
        return Chunk(*POSITION, {"topics": topics, "partitions": self.partitions, "plan": self.plan, "tick": self.tick})


@dataclass(slots=True)
class Restored:
    """One partition's state as it was read back: chunks for the engine, the runs of seen keys a day, the position if any."""

    chunks: list[Chunk] = field(default_factory=list)
    seen: dict[int, dict[int, bytes]] = field(default_factory=dict)
    position: Position | None = None

    def load_seen(self, day: int) -> dict[int, Run]:
        """Return the seen runs of a day."""
        return {number: run_of(body) for number, body in self.seen.get(day, {}).items()}


def messages(chunks: Iterable[Chunk]) -> Iterator[Message]:
    """Yield the messages that store chunks."""
    for kind, name, number, body in chunks:
        value = body if body is None or isinstance(body, bytes) else orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        yield f"{kind}/{name}/{number}".encode(), value


def restored(found: Iterable[Message]) -> Restored:
    """Put a partition's messages, in order, back together."""
    latest: dict[bytes, bytes] = {}
    for key, value in found:
        if value is None:
            latest.pop(key, None)
        else:
            latest[key] = value
    out = Restored()
    for key, value in latest.items():
        kind, _, rest = key.decode().partition("/")
        name, _, number = rest.rpartition("/")
        if kind == "seen":
            out.seen.setdefault(int(name), {})[int(number)] = value
        elif kind == POSITION[0]:
            out.position = _position(orjson.loads(value))
        else:
            out.chunks.append(Chunk(kind, name, int(number), value if kind in RAW_KINDS else orjson.loads(value)))
    return out


def remember(seen: dict[int, dict[int, bytes]], chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Pass chunks on, and keep what was seen as bytes: days that have left memory are loaded again from here."""
    for chunk in chunks:
        if chunk.kind == "seen" and chunk.number == ALL:
            yield from (chunk._replace(number=number) for number in seen.pop(int(chunk.name), ()))
            continue
        if chunk.kind == "seen":
            runs = seen.setdefault(int(chunk.name), {})
            if isinstance(chunk.body, bytes):
                runs[chunk.number] = chunk.body
            else:
                runs.pop(chunk.number, None)
        yield chunk


def check(position: Position | None, ids: Mapping[str, str], partitions: int, plan: str) -> None:
    """Raise Lost, with the remedy, where the state does not fit the cluster or the plan."""
    if position is None:
        return
    if position.partitions != partitions:
        raise Lost(
            f"the inputs have {partitions} partitions, the state was made with {position.partitions}: sites would part from their "
            f"memory. Make the topics again with {position.partitions} partitions, or start a new prefix and replay the archive"
        )
    for topic, (known, offset) in position.topics.items():
        if ids.get(topic) != known:
            raise Lost(
                f"topic {topic} was deleted and made again since offset {offset} was judged: its records can't be told from the old "
                "ones. Restore the topic, or start a new prefix; `offsite topics check` shows the topics"
            )
    if position.plan != plan:
        raise Lost(
            f"the state was judged by plan {position.plan[:12]}, this worker has plan {plan[:12]}: start it with that plan "
            "(`--plan FILE`), or publish the new one first (`offsite plan publish`)"
        )


def _position(body: dict[str, Any]) -> Position:
    topics = {name: (str(topic_id), int(offset)) for name, (topic_id, offset) in body["topics"].items()}
    return Position(topics, int(body["partitions"]), str(body["plan"]), int(body["tick"]))
