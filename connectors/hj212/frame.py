"""Frames out of a byte stream, whatever the reads cut and the line loses.

Bytes enter; frames and bad chunks leave, in order, and every byte is in one of them or is a line end between them (the rule is
in `scan.py`). `Framer` serves a socket, `split_buffer` a file; both give the same frames and chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectors.hj212.crc import crc16_many
from connectors.hj212.scan import LIMIT, LINE_ENDS, OVERHEAD, STRICT, BadChunk, Dialect, Frame, Reason, scan, strict

__all__ = ["LIMIT", "STRICT", "BadChunk", "Dialect", "Frame", "Framer", "Reason", "Split", "split_buffer", "strict"]

LONGEST = 9999 + OVERHEAD + len(LINE_ENDS)
"""What a connection holds at most, bytes: the longest frame that four digits can declare."""

_NIBBLE = np.full(256, 16, np.uint8)
for _value, _pair in enumerate(zip(b"0123456789ABCDEF", b"0123456789abcdef", strict=True)):
    _NIBBLE[list(_pair)] = _value


class Framer:
    """The incremental framer of one connection: feed what was read, get what is complete.

    `dialects` gives the dialect of an MN (many devices may share a connection). Memory is bounded: a peer that sends neither
    headers nor line ends is cut off in chunks of about 10 kB, the longest length four digits can declare.
    """

    __slots__ = ("_dialects", "_limit", "_pending")

    def __init__(self, *, limit: int = LIMIT, dialects: Callable[[str], Dialect] = strict) -> None:
        self._limit = limit
        self._dialects = dialects
        self._pending = b""

    @property
    def pending(self) -> int:
        """Return how many bytes wait for more."""
        return len(self._pending)

    def feed(self, data: bytes) -> list[Frame | BadChunk]:
        """Take the next bytes of the stream; return what they completed, in order."""
        self._pending += data
        out = self._drain(final=False)
        while len(self._pending) > LONGEST:
            _, end, item = next(self._scan(final=True))
            self._pending = self._pending[end:]
            out += [item, *self._drain(final=False)]
        return out

    def flush(self) -> list[Frame | BadChunk]:
        """Give up waiting (the peer closed, or has been silent too long): resolve what is pending, lost bytes included."""
        out = self._drain(final=True)
        self._pending = b""
        return out

    def _scan(self, *, final: bool) -> Iterator[tuple[int, int, Frame | BadChunk]]:
        return scan(self._pending, limit=self._limit, dialects=self._dialects, final=final)

    def _drain(self, *, final: bool) -> list[Frame | BadChunk]:
        found = list(self._scan(final=final))
        self._pending = self._pending[found[-1][1] if found else 0 :].lstrip(LINE_ENDS)
        return [item for _, _, item in found]


@dataclass(frozen=True, slots=True)
class Split:
    """A whole buffer taken apart: what lies between frames and bad chunks are line ends, nothing else.

    starts, lengths (k,) int64: where the accepted frames stand, in order, line ends excluded · `bad` with their offsets
    · `deviant`: the frames among them that only a dialect let in, by offset.
    """

    buffer: bytes
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    bad: list[tuple[int, BadChunk]]
    deviant: dict[int, Frame]

    def frames(self) -> list[bytes]:
        """Return the accepted frames in clear, in order."""
        buffer, ends = self.buffer, (self.starts + self.lengths).tolist()
        cut = [buffer[start:end] for start, end in zip(self.starts.tolist(), ends, strict=True)]
        if self.deviant:
            return [
                self.deviant[at].plain if at in self.deviant else raw for at, raw in zip(self.starts.tolist(), cut, strict=True)
            ]
        return cut


def split_buffer(buffer: bytes, *, limit: int = LIMIT, dialects: Callable[[str], Dialect] = strict) -> Split:
    """Take a whole buffer apart: the same frames and chunks as a `Framer` that is fed it and flushed, found many at once."""
    starts, stops = _good(np.frombuffer(buffer, np.uint8), limit)
    begin, end = np.append(0, stops), np.append(starts, len(buffer))
    bad: list[tuple[int, BadChunk]] = []
    deviant: dict[int, Frame] = {}
    for left, right in _filled(buffer, begin, end):
        for at, _, item in scan(buffer[left:right], limit=limit, dialects=dialects):
            if isinstance(item, Frame):
                deviant[left + at] = item
            else:
                bad.append((left + at, item))
    lengths = stops - starts
    if deviant:
        starts = np.concatenate([starts, np.fromiter(deviant, np.int64)])
        lengths = np.concatenate([lengths, np.fromiter((len(f.raw) for f in deviant.values()), np.int64)])
        order = np.argsort(starts)
        starts, lengths = starts[order], lengths[order]
    return Split(buffer, starts, lengths, bad, deviant)


def _filled(buffer: bytes, begin: NDArray[np.int64], end: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the gaps that hold more than line ends."""
    wide = np.flatnonzero(end > begin)
    gaps = zip(begin[wide].tolist(), end[wide].tolist(), strict=True)
    return [(left, right) for left, right in gaps if buffer[left:right].strip(LINE_ENDS)]


def _good(data: NDArray[np.uint8], limit: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the frames whose length, structure and checksum agree: starts, stops (k,), leftmost first, none overlapping."""
    none = np.empty(0, np.int64)
    if len(data) < OVERHEAD:
        return none, none
    mark = data == ord("#")
    at = np.flatnonzero(mark[:-1] & mark[1:])
    at = at[at <= len(data) - OVERHEAD]
    digits = data[at[:, None] + np.arange(2, 6)] - np.uint8(ord("0"))
    at, digits = at[(digits <= 9).all(axis=1)], digits[(digits <= 9).all(axis=1)]
    length = digits @ np.array([1000, 100, 10, 1], np.int64)
    stop = at + length + OVERHEAD
    fits = (stop <= len(data)) & (length <= limit) & (length >= 7)
    at, stop = at[fits], stop[fits]
    nibbles = _NIBBLE[data[stop[:, None] + np.arange(-4, 0)]]
    shaped = (
        (data[stop - 5] == ord("&")) & (data[stop - 6] == ord("&")) & (nibbles < 16).all(axis=1) & _has_command(data, at, stop)
    )
    at, stop, nibbles = at[shaped], stop[shaped], nibbles[shaped]
    sums = nibbles @ np.array([4096, 256, 16, 1], np.int64)
    right = crc16_many(data, at + 6, stop - 4) == sums
    at, stop = at[right], stop[right]
    return _apart(at, stop) if (at[1:] < stop[:-1]).any() else (at, stop)


def _has_command(data: NDArray[np.uint8], at: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which segments contain `CN=`."""
    found = np.flatnonzero((data[:-2] == ord("C")) & (data[1:-1] == ord("N")) & (data[2:] == ord("=")))
    found = np.append(found, len(data))
    return found[np.searchsorted(found, at)] + 3 <= stop - 4


def _apart(at: NDArray[np.int64], stop: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Drop the frames quoted inside others (a log text may hold whole frames)."""
    kept, free = [], 0
    for row, (left, right) in enumerate(zip(at.tolist(), stop.tolist(), strict=True)):
        if left >= free:
            kept.append(row)
            free = right
    return at[kept], stop[kept]
