r"""Influx line protocol: bytes of many lines enter, points and faults leave; points enter, lines leave.

    measurement[,tag=value…] field=value[,field=value…] [timestamp]

Promise: bad input is data (promise 4). Nothing that a sender writes raises; every line becomes one point, one fault with its
number and reason, or nothing if it is empty or a comment. A fault costs its own line and no other.

Source: InfluxDB 2.7 documentation, "Line protocol reference". Escapes: `\,` and `\ ` in measurements, `\,`, `\=` and `\ ` in
tag keys, tag values and field keys, `\"` and `\\` in string values; any other backslash stands for itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Value = float | int | bool | str

PRECISIONS = {
    "ns": 1,
    "n": 1,
    "us": 1_000,
    "u": 1_000,
    "µ": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
"""Word of the `precision` parameter → nanoseconds of one unit; the short words are those of the 1.x `/write`."""
INT64 = range(-(1 << 63), 1 << 63)
UINT64 = range(1 << 64)


@dataclass(frozen=True, slots=True)
class Point:
    """One line: `tags` and `fields` in the order written; `time` is int64 ns UTC, None where the line has none.

    A field is a float, an int (`i` or `u`), a bool or a string.
    """

    measurement: str
    fields: Mapping[str, Value]
    tags: Mapping[str, str] = field(default_factory=dict)
    time: int | None = None


class Fault(NamedTuple):
    """Why a line could not be read. `line` counts from 1 (0 = the whole body); `raw` is the line as it came."""

    line: int
    reason: str
    raw: bytes = b""


class _Bad(Exception):
    """A line that breaks the grammar; the message is the reason."""


_MEASUREMENT = re.compile(r"(?:\\[, ]|[^, \n])++")
_NAME = r"(?:\\[,= ]|[^,= \n])++"
_TAG = re.compile(rf",({_NAME})=({_NAME})")
_FIELD = re.compile(rf"({_NAME})=(\"(?:\\[\"\\]|[^\"])*+\"|[^,\" \n]++)")
_END = re.compile(r" *(-?[0-9]+)?[ \r]*(?:\n|\Z)")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_WHOLE = re.compile(r"(-?[0-9]{1,20})([iu])")
_UNESCAPE = {what: re.compile(rf"\\([{what}])") for what in (", ", ",= ", r'"\\')}
_BYTES = re.compile("[\ud800-\udfff]")
_BOOLEANS = dict.fromkeys(("t", "T", "true", "True", "TRUE"), True) | dict.fromkeys(("f", "F", "false", "False", "FALSE"), False)


def parse(body: bytes, precision: str = "ns") -> tuple[list[Point], list[Fault]]:
    r"""Read all lines of `body`, whose timestamps count units of `precision` (a word of PRECISIONS).

    >>> parse(b"air,site=S1 pm25=35.5 1700000000\nair pm25=", "s")[1]
    [Fault(line=2, reason="a field is written key=value; found 'pm25='", raw=b'air pm25=')]
    """
    unit = PRECISIONS.get(precision)
    if unit is None:
        return [], [Fault(0, f"precision {precision!r} is unknown; use one of {', '.join(PRECISIONS)}")]
    text = body.decode("utf-8", "surrogateescape")
    points: list[Point] = []
    faults: list[Fault] = []
    at, number, end = 0, 1, len(text)
    while at < end:
        if text[at] in " \t\r\n":
            number += text[at] == "\n"
            at += 1
            continue
        stop = _line_end(text, at)
        if text[at] != "#":
            try:
                point, stop = _line(text, at, unit)
                points.append(point)
            except _Bad as bad:
                raw = text[at:stop].rstrip("\r\n").encode("utf-8", "surrogateescape")
                faults.append(Fault(number, str(bad), raw))
        number += text.count("\n", at, stop)
        at = stop
    return points, faults


def _line_end(text: str, at: int) -> int:
    return text.find("\n", at) + 1 or len(text)


def _line(text: str, start: int, unit: int) -> tuple[Point, int]:
    """Read the line that begins at `start`; return its point and where the next line begins. Raises _Bad."""
    head = _MEASUREMENT.match(text, start)
    if head is None:
        raise _Bad("the measurement is missing; a line begins with its name")
    tags, at = _tags(text, head.end())
    fields, at = _fields(text, at)
    tail = _END.match(text, at)
    if tail is None:
        raise _Bad(f"after the fields comes a whole number as timestamp, or nothing; found {_shown(text, at)}")
    if _BYTES.search(text, start, tail.end()):
        raise _Bad("is not UTF-8; encode names and strings as UTF-8")
    time = None if tail[1] is None else _bounded(tail[1]) * unit
    if time is not None and time not in INT64:
        raise _Bad(f"timestamp {tail[1]} is outside the years 1677 to 2262; check the precision parameter")
    return Point(_plain(head[0], ", "), fields, tags, time), tail.end()


def _tags(text: str, at: int) -> tuple[dict[str, str], int]:
    tags: dict[str, str] = {}
    while text.startswith(",", at):
        found = _TAG.match(text, at)
        if found is None:
            raise _Bad(f"a tag is written ,key=value and neither is empty; found {_shown(text, at)}")
        name = _plain(found[1], ",= ")
        if name in tags:
            raise _Bad(f"tag {name!r} is there twice; send it once")
        tags[name] = _plain(found[2], ",= ")
        at = found.end()
    return tags, at


def _fields(text: str, at: int) -> tuple[dict[str, Value], int]:
    if not text.startswith(" ", at):
        raise _Bad(f"fields are missing; after measurement and tags come a space and key=value; found {_shown(text, at)}")
    while text.startswith(" ", at):
        at += 1
    fields: dict[str, Value] = {}
    while True:
        found = _FIELD.match(text, at)
        if found is None:
            raise _Bad(f"a field is written key=value; found {_shown(text, at)}")
        name = _plain(found[1], ",= ")
        fields[name] = _value(name, found[2].rstrip("\r"))
        at = found.end()
        if not text.startswith(",", at):
            return fields, at
        at += 1


def _value(name: str, word: str) -> Value:
    if word.startswith('"'):
        return _plain(word[1:-1], r'"\\')
    if word in _BOOLEANS:
        return _BOOLEANS[word]
    whole = _WHOLE.fullmatch(word)
    if whole is not None and int(whole[1]) in (INT64 if whole[2] == "i" else UINT64):
        return int(whole[1])
    if whole is None and _FLOAT.fullmatch(word) and math.isfinite(number := float(word)):
        return number
    raise _Bad(f"field {name!r}: {word[:40]!r} is no finite number, no 64-bit integer (5i, 5u), no boolean and no quoted string")


def _bounded(digits: str) -> int:
    """Return the number, or one out of every range where it has more digits than a timestamp can have."""
    return int(digits) if len(digits) <= 20 else 1 << 64


def _plain(text: str, escaped: str) -> str:
    return _UNESCAPE[escaped].sub(r"\1", text) if "\\" in text else text


def _shown(text: str, at: int) -> str:
    """Return what stands at `at`, short enough for a message."""
    return repr(text[at : min(_line_end(text, at), at + 40)].rstrip("\r\n")) if at < len(text) else "the end"


_ESCAPE_MEASUREMENT = str.maketrans({",": r"\,", " ": r"\ "})
_ESCAPE_NAME = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})
_ESCAPE_STRING = str.maketrans({'"': r"\"", "\\": r"\\"})


def name(text: str) -> str:
    r"""Return a tag key, tag value or field key as a line writes it. Raises ValueError for what no line can hold.

    >>> name("pm 2,5")
    'pm\\ 2\\,5'
    """
    return _checked(text).translate(_ESCAPE_NAME)


def series(measurement: str, tags: Mapping[str, str]) -> str:
    """Return the part of a line before its fields; a tag without value is left out, as InfluxDB has no empty tags.

    Raises ValueError for what no line can hold: an empty name, a line break, a backslash at the end, a leading `#`, tab or
    carriage return.
    """
    if measurement.startswith(("#", "\t", "\r")):
        raise ValueError(f"{measurement!r} would be a comment or lose its first character; begin it with another one")
    head = _checked(measurement).translate(_ESCAPE_MEASUREMENT)
    return head + "".join(f",{name(key)}={name(value)}" for key, value in sorted(tags.items()) if value)


def line(point: Point) -> str:
    r"""Return a point as one line without its line break, timestamp in ns.

    >>> line(Point("air", {"pm25": 35.5, "ok": True}, {"site": "S 1"}, 1))
    'air,site=S\\ 1 pm25=35.5,ok=true 1'
    """
    fields = ",".join(f"{name(key)}={_written(value)}" for key, value in point.fields.items())
    if not fields:
        raise ValueError(f"{point.measurement!r} has no field; a line needs one")
    return f"{series(point.measurement, point.tags)} {fields}" + (f" {point.time}" if point.time is not None else "")


def lines(points: Iterable[Point]) -> bytes:
    """Return the points as the body of a write with precision ns."""
    return "".join(f"{line(point)}\n" for point in points).encode()


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if value not in INT64 and value not in UINT64:
            raise ValueError(f"{value} has no 64 bits to fit in")
        return f"{value}{'i' if value in INT64 else 'u'}"
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not finite; line protocol has no word for it")
        return repr(value)
    return f'"{value.translate(_ESCAPE_STRING)}"'


def _checked(text: str) -> str:
    if not text or "\n" in text or text.endswith("\\"):
        raise ValueError(f"{text!r} is empty, holds a line break or ends in a backslash; no line can hold it as a name")
    return text
