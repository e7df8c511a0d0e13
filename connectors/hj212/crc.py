"""The checksum of HJ 212 frames, one frame at a time and over many frames at once.

Bytes enter, 16-bit checksums leave. The sum of HJ 212-2017 Annex A is not CRC-16/MODBUS: its step 3 is
``reg = (reg >> 8) ^ byte``, so the low byte of the register is thrown away and only 256 values exist. A matching sum is
therefore weak evidence (one corruption in 256 passes), which is why the framer also checks length and structure.

>>> f"{crc16(b'QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&'):04X}"
'1C80'
"""

from __future__ import annotations

from functools import cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

POLYNOMIAL = 0xA001
"""x^16 + x^15 + x^2 + 1, reflected (HJ 212-2017 Annex A)."""


def _eight_shifts(byte: int) -> int:
    register = byte
    for _ in range(8):
        register = (register >> 1) ^ POLYNOMIAL if register & 1 else register >> 1
    return register


TABLE = tuple(_eight_shifts(byte) for byte in range(256))
"""The register after eight shifts of a byte: the inner loop of Annex A, unrolled."""


_STEP = bytes(register >> 8 for register in TABLE)
_PERIOD = 8
_POWERS = tuple(accumulate(range(_PERIOD - 1), lambda power, _: power.translate(_STEP), initial=bytes(range(256))))
"""The one-byte state after 0 … 7 steps. A step is linear over XOR and its eighth power is the identity (both tested over all 256
states), so bytes that lie eight apart act alike and the segment can be folded onto its last eight bytes."""


def crc16(segment: bytes) -> int:
    """Return the HJ 212 checksum of a data segment (HJ 212-2017 Annex A), 0–65535.

    Folds the segment by XOR in halves down to eight bytes instead of walking it: eight times faster at 520 bytes.
    """
    if not segment:
        return 0xFFFF
    word = int.from_bytes(segment, "big") ^ (0xFF << 8 * (len(segment) - 1))
    bits = 64
    while bits * 2 < len(segment) * 8:
        bits *= 2
    while bits >= 8 * _PERIOD:
        word = (word >> bits) ^ (word & ((1 << bits) - 1))
        bits >>= 1
    state = 0
    for power, byte in zip(_POWERS, word.to_bytes(_PERIOD, "little"), strict=True):
        state ^= power[byte]
    return TABLE[state]


def crc16_modbus(segment: bytes) -> int:
    """Return the CRC-16/MODBUS of a data segment: what some devices send instead."""
    table, register = TABLE, 0xFFFF
    for byte in segment:
        register = (register >> 8) ^ table[(register ^ byte) & 0xFF]
    return register


@cache
def _tables() -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Return the step of one byte (256,) uint16, and of two bytes (65536,) uint8: `pair[state ^ b0 | b1 << 8]` → state."""
    single = np.array(TABLE, np.uint16)
    state = (single >> 8).astype(np.uint8)
    low, high = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    pair = state[state[low] ^ high].ravel()
    return single, pair


def crc16_many(buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Return the HJ 212 checksum of many segments of one buffer.

    buffer (b,) uint8 · starts, ends (k,) int64, `starts <= ends <= b` → (k,) uint16. The sums of all segments advance together,
    two bytes a step; the longest come first, so that short ones drop out of the end of the working set.
    """
    single, pair = _tables()
    lengths = ends - starts
    if not len(lengths):
        return np.empty(0, np.uint16)
    bodies = np.maximum(lengths - 1, 0)  # the last byte is done alone: only it needs all sixteen bits
    order = np.argsort(-bodies, kind="stable")
    cursor, left = starts[order], bodies[order]
    state = np.full(len(order), 0xFF, np.uint16)
    odd = np.flatnonzero(left & 1)
    state[odd] = single[state[odd] ^ buffer[cursor[odd]]] >> 8
    cursor[odd] += 1
    wide = buffer[:-1].astype(np.uint16)
    wide |= buffer[1:].astype(np.uint16) << np.uint16(8)
    steps = left >> 1
    active = len(order) - np.searchsorted(steps[::-1], np.arange(1, int(steps[0]) + 1), side="left")
    for step, count in enumerate(active.tolist()):
        state[:count] = pair[wide[cursor[:count] + 2 * step] ^ state[:count]]
    sums = np.full(len(order), 0xFFFF, np.uint16)
    some = lengths[order] > 0
    sums[some] = single[state[some] ^ buffer[ends[order][some] - 1]]
    out = np.empty(len(order), np.uint16)
    out[order] = sums
    return out
