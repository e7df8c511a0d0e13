"""Many times at once: RFC 3339 texts of the usual lengths read as digits in columns, all others one by one.

Enters: the time fields of some rows, whatever they hold. Leaves: ms UTC, and which rows hold no time. What `rows.parse_time` says
of a text is what this says of it; only the speed differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.codecs.rows import Fault, parse_time
from streams.model import Int32, Int64, UInt8

SHAPES = {20: (19, "Z"), 24: (23, "Z"), 25: (19, "+"), 29: (23, "+")}
"""Length of a text → where its offset begins, and whether that is Z or ±hh:mm; with 23 there are milliseconds before it."""
DIGITS = (0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18)
MARKS = ((4, b"-"), (7, b"-"), (10, b"Tt "), (13, b":"), (16, b":"))
MONTH_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int32)


def times_of(texts: Sequence[Any]) -> tuple[Int64, list[int]]:
    """Return (n,) int64 ms UTC (0 where there is none) and the rows that are no RFC 3339 text with an offset."""
    times = np.zeros(len(texts), np.int64)
    texts = texts if {str}.issuperset(map(type, texts)) else [text if type(text) is str else "" for text in texts]
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    left = np.ones(len(texts), np.bool_)
    for length, (zone, kind) in SHAPES.items():
        rows = np.flatnonzero(lengths == length)
        if len(rows):
            chosen = texts if len(rows) == len(texts) else [texts[row] for row in rows.tolist()]
            found, good = _read("".join(chosen), length, zone, kind)
            times[rows[good]] = found[good]
            left[rows[good]] = False
    bad = []
    for row in np.flatnonzero(left).tolist():
        try:
            times[row] = parse_time(texts[row])
        except Fault:
            bad.append(row)
    return times, bad


def _read(joined: str, length: int, zone: int, kind: str) -> tuple[Int64, NDArray[np.bool_]]:
    """Read texts of one length; a row that is not plainly a time of the years 1000 to 9998 is not good."""
    signs = np.ascontiguousarray(np.frombuffer(joined.encode("ascii", "replace"), np.uint8).reshape(-1, length).T)
    digits = signs - np.uint8(ord("0"))
    wanted = list(DIGITS)
    good = np.ones(signs.shape[1], np.bool_)
    for at, allowed in MARKS:
        good &= _is(signs[at], allowed)
    millis: Any = 0
    if zone == 23:
        good &= _is(signs[19], b".")
        wanted += [20, 21, 22]
        millis = _number(digits, 20, 3)
    minutes: Any = 0
    if kind == "Z":
        good &= _is(signs[zone], b"Zz")
    else:
        good &= _is(signs[zone], b"+-") & _is(signs[zone + 3], b":")
        wanted += [zone + 1, zone + 2, zone + 4, zone + 5]
        hours, rest = _number(digits, zone + 1, 2), _number(digits, zone + 4, 2)
        good &= (hours < 24) & (rest < 60)
        minutes = np.where(signs[zone] == ord("-"), -1, 1) * (hours * 60 + rest)
    good &= digits[wanted].max(axis=0) < 10
    hour, minute, second = (_number(digits, at, 2) for at in (11, 14, 17))
    day, exists = _days(_number(digits, 0, 4), _number(digits, 5, 2), _number(digits, 8, 2))
    good &= exists & (hour < 24) & (minute < 60) & (second < 60)
    return (day.astype(np.int64) * 1440 + (hour * 60 + minute - minutes)) * 60_000 + (second * 1000 + millis), good


def _is(column: UInt8, allowed: bytes) -> NDArray[np.bool_]:
    found = np.zeros(len(column), np.bool_)
    for sign in allowed:
        found |= column == sign
    return found


def _number(digits: UInt8, at: int, count: int) -> Int32:
    number: Int32 = digits[at].astype(np.int32)
    for place in range(at + 1, at + count):
        number = number * 10 + digits[place]
    return number


def _days(year: Int32, month: Int32, day: Int32) -> tuple[Int32, NDArray[np.bool_]]:
    """Return days since 1970-01-01 and whether the date exists (proleptic Gregorian calendar, years counted from March)."""
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    known = (year >= 1000) & (year <= 9998) & (month >= 1) & (month <= 12)
    last = MONTH_DAYS[np.where(known, month, 0)] + (leap & (month == 2))
    march = year - (month < 3)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = march * 365 + march // 4 - march // 100 + march // 400 + of_year - 719468
    return days, known & (day >= 1) & (day <= last)
