"""Which name of which device is this: a growing dictionary from byte keys to numbers, looked up for a whole batch at once.

Open addressing with linear probing over numpy arrays. A key is three words (16 bytes of text, owner and length), compared
exactly: a hash collision costs a probe and never confuses two series.
"""

from __future__ import annotations

import numpy as np

from streams.codecs.hj212_numbers import Int64, UInt64

_MIX = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)
_WORD = (1 << 64) - 1
ABSENT = -1


class Keys:
    """Three-word keys → numbers. The third word of a key is never 0: a row whose third word is 0 is free."""

    __slots__ = ("_bits", "_count", "_rows")

    def __init__(self, bits: int = 12) -> None:
        self._bits = bits
        self._count = 0
        self._rows = np.zeros((1 << bits, 4), np.uint64)  # three words of key and the number: one cache line a look

    def __len__(self) -> int:
        """Return how many keys are known."""
        return self._count

    def find(self, a: UInt64, b: UInt64, c: UInt64) -> Int64:
        """Return the numbers (k,) of keys, `ABSENT` for unknown ones."""
        slot = self._hash(a, b, c)
        row = self._rows.take(slot, axis=0)
        hit = (row[:, 0] == a) & (row[:, 1] == b) & (row[:, 2] == c)
        found: Int64 = row[:, 3].astype(np.int64)
        if hit.all():
            return found
        rest = np.flatnonzero(~hit)
        found[rest] = ABSENT
        rest = rest[row[rest, 2] != 0]
        while len(rest):
            slot[rest] = (slot[rest] + 1) & (len(self._rows) - 1)
            row = self._rows.take(slot[rest], axis=0)
            hit = (row[:, 0] == a[rest]) & (row[:, 1] == b[rest]) & (row[:, 2] == c[rest])
            found[rest[hit]] = row[hit, 3].astype(np.int64)
            rest = rest[~hit & (row[:, 2] != 0)]
        return found

    def add(self, a: int, b: int, c: int, number: int) -> None:
        """Give a key that is not yet known its number."""
        if self._count * 5 >= len(self._rows):
            self._grow()
        self._place(a, b, c, number)
        self._count += 1

    def _place(self, a: int, b: int, c: int, number: int) -> None:
        mixed = (a * _MIX[0] ^ b * _MIX[1] ^ c * _MIX[2]) & _WORD
        slot = ((mixed ^ mixed >> 29) * _MIX[0] & _WORD) >> (64 - self._bits)
        while self._rows[slot, 2]:
            slot = (slot + 1) & (len(self._rows) - 1)
        self._rows[slot] = a, b, c, number

    def _hash(self, a: UInt64, b: UInt64, c: UInt64) -> Int64:
        """Return the slots (k,) where keys are looked for first; `_place` computes the same for one key."""
        mixed = (a * np.uint64(_MIX[0])) ^ (b * np.uint64(_MIX[1])) ^ (c * np.uint64(_MIX[2]))
        mixed ^= mixed >> np.uint64(29)
        mixed *= np.uint64(_MIX[0])
        slot: Int64 = (mixed >> np.uint64(64 - self._bits)).astype(np.int64)
        return slot

    def _grow(self) -> None:
        rows = self._rows
        self._bits += 1
        self._rows = np.zeros((1 << self._bits, 4), np.uint64)
        for a, b, c, number in rows[rows[:, 2] != 0].tolist():
            self._place(a, b, c, number)


def first_of_each(a: UInt64, b: UInt64, c: UInt64) -> Int64:
    """Return the row of the first appearance of each distinct key, in row order."""
    if not len(a):
        return np.empty(0, np.int64)
    order = np.lexsort((a, b, c))
    sa, sb, sc = a[order], b[order], c[order]
    fresh = np.append(True, (sa[1:] != sa[:-1]) | (sb[1:] != sb[:-1]) | (sc[1:] != sc[:-1]))
    return np.sort(order[fresh])
