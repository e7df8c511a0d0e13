"""Numbers and times out of text, many at once: eight digits are one machine word.

A byte buffer and the spans of its numbers enter; values and a mask of what could be read this way leave. The rest (exponents,
blanks, more than 15 digits) goes through `plain_number`, one at a time. A decimal of at most 15 digits is an integer mantissa
below 2^53 divided by a power of ten below 10^22: both exact in float64, so the quotient is the correctly rounded value, bit for
bit what `float()` gives (D. M. Gay, Correctly rounded binary-decimal conversions, 1990, §4).
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
UInt64 = NDArray[np.uint64]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

PAD = 24
"""Bytes that must lie before and behind every span, so that a word can be loaded anywhere."""

_ZEROS = np.uint64(0x3030303030303030)
_OVER_NINE = np.uint64(0x7676767676767676)
_HIGH = np.uint64(0x8080808080808080)
_KEEP_LAST = np.array([0, *(((1 << 8 * k) - 1) << (64 - 8 * k) for k in range(1, 9))], np.uint64)
KEEP_FIRST = np.array([(1 << 8 * k) - 1 for k in range(9)], np.uint64)
"""Mask of the first k bytes of a word (9,)."""

_POWER = np.array([10**k for k in range(9)], np.uint64)
_POWER_F = 10.0 ** np.arange(9)
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_NOT_FINITE = re.compile(rb"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_DAY, _CST = 86_400_000, 28_800_000


class Words:
    """A buffer read eight or sixteen bytes at a time from any offset (x86 and ARM load unaligned words at full speed)."""

    __slots__ = ("_eight", "_sixteen", "data")

    def __init__(self, buffer: bytes) -> None:
        self.data: UInt8 = np.frombuffer(buffer, np.uint8)
        self._eight = np.ndarray((len(buffer) - 7,), np.uint64, buffer, strides=(1,))
        self._sixteen = np.ndarray((len(buffer) - 15,), "V16", buffer, strides=(1,))

    def eight(self, at: Int64) -> UInt64:
        """Return the words (k,) whose first byte stands at `at`, the first byte lowest."""
        return self._eight[at]

    def sixteen(self, at: Int64) -> UInt64:
        """Return the double words (k, 2)."""
        return self._sixteen[at].view(np.uint64).reshape(-1, 2)

    def digits(self, end: Int64, count: Int64) -> tuple[UInt64, Bool]:
        """Read the last `count` (0–8) digits before `end`: the numbers (k,), and which were all digits."""
        word = (self.eight(end - 8) ^ _ZEROS) & _KEEP_LAST[count]
        valid = (((word + _OVER_NINE) | word) & _HIGH) == 0
        word = (word * np.uint64(10) + (word >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
        word = (word * np.uint64(100) + (word >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
        word = (word * np.uint64(10_000) + (word >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
        return word, valid


def decimals(words: Words, start: Int64, dot: Int64, end: Int64) -> tuple[Float64, Bool]:
    """Read decimals: spans [start, end), `dot` where the point stands (`end` if none) → values (k,), and which could be read."""
    negative = words.data[start] == ord("-")
    whole = dot - start - negative
    part = np.maximum(end - dot - 1, 0)
    fits = (whole >= 0) & (whole <= 8) & (part <= 8) & (whole + part <= 15) & (whole + part > 0)
    high, high_ok = words.digits(dot, np.where(fits, whole, 0))
    low, low_ok = words.digits(end, np.where(fits, part, 0))
    part = np.where(fits, part, 0)
    value = (high * _POWER[part] + low).astype(np.float64) / _POWER_F[part]
    np.negative(value, out=value, where=negative)
    return value, fits & high_ok & low_ok


def plain_number(text: bytes) -> float | str:
    """Read one number, or say why not: `bad_number`, or `not_finite` for 1e400, NaN and the like."""
    text = text.strip()
    if _NUMBER.fullmatch(text) is None:
        return "not_finite" if _NOT_FINITE.fullmatch(text) else "bad_number"
    value = float(text)
    return value if abs(value) < float("inf") else "not_finite"


class _Moment(NamedTuple):
    day: Int64
    clock: Int64
    millis: Int64
    valid: Bool


def _moment(words: Words, start: Int64, end: Int64) -> _Moment:
    length = end - start
    shaped = (length == 14) | (length == 17)
    day, day_ok = words.digits(start + 8, np.full(len(start), 8, np.int64))
    clock, clock_ok = words.digits(start + 14, np.full(len(start), 6, np.int64))
    millis, millis_ok = words.digits(start + 17, np.where(length == 17, 3, 0))
    valid = shaped & day_ok & clock_ok & millis_ok
    return _Moment(day.astype(np.int64), clock.astype(np.int64), millis.astype(np.int64), valid)


def times(words: Words, start: Int64, end: Int64) -> tuple[Int64, Bool]:
    """Read `YYYYMMDDhhmmss[zzz]` in China Standard Time → ms UTC (k,), and which are dates from 1970 on."""
    moment = _moment(words, start, end)
    year, month, date = moment.day // 10_000, moment.day // 100 % 100, moment.day % 100
    hour, minute, second = moment.clock // 10_000, moment.clock // 100 % 100, moment.clock % 100
    valid = moment.valid & (year >= 1970) & (month >= 1) & (month <= 12) & (date >= 1)
    valid &= (hour <= 23) & (minute <= 59) & (second <= 59)
    months = np.where(valid, (year - 1970) * 12 + month - 1, 0).astype("M8[M]")
    first = months.astype("M8[D]").astype(np.int64)
    valid &= date <= (months + 1).astype("M8[D]").astype(np.int64) - first
    day = first + date - 1
    return day * _DAY + (hour * 3600 + minute * 60 + second) * 1000 + moment.millis - _CST, valid
