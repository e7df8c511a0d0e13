"""Dead letters of the distributed runtime: read, and driven again after a fix.

The topic `dead-letters` enters; letters leave, or records for the topics that they were meant for. A letter that was driven again is
noted in the topic itself, by its id, so that nobody drives it twice by accident.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from connectors.core import HJ212, JSON, Record, Refused
from connectors.hj212.header import HeaderError, parse
from connectors.kafka import Cluster
from connectors.kafka_changelog import read_all
from connectors.kafka_sender import Sender
from connectors.kafka_topics import describe
from offsite import kafka_registry
from offsite.registered import place_of
from streams.dead_letters import DeadLetter
from streams.records import REDRIVEN
from streams.registry_model import Registry
from streams.topics import DEAD_LETTERS, INPUTS

DRIVEN = "redriven"
"""Reason of the note that a letter was driven again; its detail is the letter's id."""


@dataclass(frozen=True, slots=True)
class Found:
    """A letter, and whether it was driven again."""

    letter: DeadLetter
    driven: bool


def letters(cluster: Cluster) -> list[Found]:
    """Return all letters that the topic still holds, oldest first. Raises Retry or Lost."""
    partitions = describe(cluster, [DEAD_LETTERS])[DEAD_LETTERS].partitions
    every = [
        DeadLetter.from_message(key, value, headers)
        for partition in range(partitions)
        for key, value, headers in read_all(cluster, DEAD_LETTERS, partition)
    ]
    driven = {letter.detail for letter in every if letter.reason == DRIVEN}
    found = [Found(letter, letter.id in driven) for letter in every if letter.reason != DRIVEN]
    return sorted(found, key=lambda each: each.letter.arrived)


def redrive(cluster: Cluster, chosen: Sequence[DeadLetter]) -> int:
    """Drive letters again; return how many. Each goes to the site and topic that the registry in force gives it.

    Raises Refused for a letter of which nobody can tell where it belongs; nothing is driven then. Retry and Lost as Kafka has them.
    """
    registry = kafka_registry.current(cluster) or Registry()
    records = [_record(letter, registry) for letter in chosen]
    sender = Sender(cluster, DEAD_LETTERS)
    sender.send(records)
    notes = [DeadLetter(each.key, b"", JSON, DRIVEN, each.id, "", -1, -1, each.arrived, 0) for each in chosen]
    sender.send_messages(_notes(notes))
    return len(records)


def _notes(notes: Iterable[DeadLetter]) -> Iterator[tuple[Record, dict[str, str | bytes | None]]]:
    for note in notes:
        body, headers = note.to_message()
        yield Record(DEAD_LETTERS, note.key, -1, JSON, body), headers


def _record(letter: DeadLetter, registry: Registry) -> Record:
    """Return what is written for a letter."""
    kind = letter.content_type
    if kind.partition(";")[0] == HJ212:
        return _frame(letter, registry)
    if letter.topic not in INPUTS:
        raise Refused(f"letter {letter.id[:8]} was meant for no topic of input ({letter.topic or 'none is named'}); send it anew")
    return Record(letter.topic, letter.key, -1, kind, letter.raw)


def _frame(letter: DeadLetter, registry: Registry) -> Record:
    try:
        header = parse(letter.raw[6:-4])
    except HeaderError as error:
        raise Refused(f"letter {letter.id[:8]} is no HJ 212 frame ({error}): only its device can send it again") from error
    place = place_of(registry, header.mn, header.st)
    if place is None:
        raise Refused(f"letter {letter.id[:8]}: the MN {header.mn} is in no registry; publish one that has it first")
    return Record(place[1], place[0], -1, REDRIVEN, letter.raw)
