"""Names of the archive's files: what a name tells, and which of several files each message is read from. Pure.

A stream is one partition of one topic, `S.N.P`: S stands for the topic's id, P for the partition out of N.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from connectors.archive import PARQUET
from connectors.kafka import partition_of

MANY = 24
"""Files of one kind, day and stream before they are merged."""


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """A file of one kind and day, as its name tells: stream, first and last offset, merged or not."""

    stream: str
    first: int
    last: int
    merged: bool

    @property
    def name(self) -> str:
        """Return the file's name."""
        return f"{self.stream}-{self.first:015d}-{self.last:015d}{'-merged' if self.merged else ''}{PARQUET}"

    def may_hold(self, site: str) -> bool:
        """Say whether rows of a site can be in the file: those of a site lie in its partition."""
        partition, partitions = parts_of(self.stream)
        return partition_of(site, partitions) == partition

    @staticmethod
    def of(name: str) -> Piece:
        """Read a file's name."""
        stream, first, last, *merged = name.removesuffix(PARQUET).split("-")
        return Piece(stream, int(first), int(last), bool(merged))


def owned(pieces: Sequence[Piece]) -> Iterator[tuple[Piece, int]]:
    """Yield the files to read, each with the first offset that is read from it: every offset comes from one file.

    >>> a, b, c = Piece("s", 0, 9, False), Piece("s", 0, 6, False), Piece("s", 7, 14, False)
    >>> [(p.first, p.last, start) for p, start in owned([a, b, c])]
    [(0, 9, 0), (7, 14, 10)]
    """
    reached: dict[str, int] = defaultdict(lambda: -1)
    for piece in sorted(pieces, key=lambda p: (p.stream, p.first, -p.last, not p.merged)):
        if piece.last > reached[piece.stream]:
            yield piece, max(piece.first, reached[piece.stream] + 1)
            reached[piece.stream] = piece.last


def crowd(pieces: Sequence[Piece]) -> list[Piece]:
    """Return the files of one stream that are worth merging: all when there are MANY merged ones, else the new ones if there are MANY.

    So a row is written again two or three times a day, however often files come.
    """
    live = [piece for piece, _start in owned(pieces)]
    new = list(reversed(list(takewhile(lambda piece: not piece.merged, reversed(live)))))
    if len(new) >= MANY:
        return new
    return live if len(live) - len(new) >= MANY else []


def source_of(topic_id: str) -> str:
    """Return what stands for a topic in file names: a topic made anew has another id, and its offsets are others."""
    return hashlib.sha256(topic_id.encode()).hexdigest()[:8]


def parts_of(stream: str) -> tuple[int, int]:
    """Return the partition of a stream, and of how many.

    >>> parts_of("3f2a9c01.12.3")
    (3, 12)
    """
    _source, partitions, partition = stream.split(".")
    return int(partition), int(partitions)
