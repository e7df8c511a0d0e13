"""A batch of data areas as one buffer, cut into pairs: `name=value` spans, found for all frames at once.

`,` and `;` are only separators here (field frames swap them; a tolerant reading of HJ 212-2017 §6.3.3): every pair carries its own
`factor-suffix`. Tokens of the regular shape cost no Python; the others are looked at one by one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from streams.codecs.hj212_numbers import PAD, Bool, Int64, UInt8, Words, times
from streams.model import Reject

_LOG = re.compile(rb"//.*?(?://|\Z)", re.DOTALL)
_QUIET = bytes.maketrans(b";,=", b"   ")
_FENCE = b";" * PAD


@dataclass(frozen=True, slots=True)
class Batch:
    """The data frames of one round.

    raws, arrived: all frames of the call and their log times · index (f,) position of each data frame in the call · head (f,) number
    of its head · areas: its data area.
    """

    raws: Sequence[bytes]
    arrived: Int64
    index: Int64
    head: Int64
    areas: list[bytes]


@dataclass(frozen=True, slots=True)
class Rest:
    """What is not a reading: rejects, and the positions of frames that are kept whole as events."""

    rejects: list[Reject] = field(default_factory=list)
    events: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Rows:
    """The k pairs of a batch, in order: name [start, eq), value (eq, end), decimal point (`end` if none), frame of the batch."""

    words: Words
    start: Int64
    eq: Int64
    dot: Int64
    end: Int64
    frame: Int64

    def value(self, row: int) -> bytes:
        """Return the value of one pair as sent."""
        return self.words.data[self.eq[row] + 1 : self.end[row]].tobytes()

    def reject(self, reason: str, row: int, batch: Batch, rows: int = 1) -> Reject:
        """Refuse one pair."""
        raw = self.words.data[self.start[row] : self.end[row]].tobytes()
        return Reject(reason, text_of(raw), raw, int(batch.index[self.frame[row]]), rows)


def text_of(data: bytes) -> str:
    """Decode text: UTF-8, else GB 18030, which reads the GBK and GB 2312 of older devices; what neither knows shows as U+FFFD."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("gb18030", "replace")


def cut(batch: Batch, rest: Rest) -> Rows:
    """Cut the areas of a batch into pairs; what has no `=` is refused as `bad_pair`, blanks between separators are nothing."""
    areas = batch.areas
    joined = b";".join(areas)
    if b"//" in joined:  # log texts hold separators, even whole frames
        areas = [_LOG.sub(lambda log: log[0].translate(_QUIET), area) for area in areas]
        joined = b";".join(areas)
    words = Words(_FENCE + joined + _FENCE)
    data = words.data
    lengths = np.fromiter(map(len, areas), np.int64, len(areas))
    begin = PAD + np.cumsum(lengths + 1) - lengths - 1
    marks = np.flatnonzero((data == 59) | (data == 44) | (data == 61) | (data == 46))
    marks = marks[PAD - 1 : len(marks) - PAD + 3]  # one fence mark before, three behind: a look two marks ahead stays inside
    sort = data[marks]
    separators = np.flatnonzero((sort == 59) | (sort == 44))[:-2]
    left, between = separators[:-1], np.diff(separators) - 1
    start, end = marks[left] + 1, marks[separators[1:]]
    frame = np.repeat(np.arange(len(areas)), np.diff(np.searchsorted(start, np.append(begin, len(data)))))
    opened = sort[left + 1] == 61
    pointed = (between == 2) & (sort[left + 2] == 46)
    regular = opened & ((between == 1) | pointed)
    eq = np.where(regular, marks[left + 1], -1)
    dot = np.where(pointed & regular, marks[left + 2], end)
    rows = Rows(words, start, eq, dot, end, frame)
    if regular.all():
        return rows
    _read_odd(data, rows, batch, rest)
    keep = np.flatnonzero(eq >= 0)
    return Rows(words, start[keep], eq[keep], dot[keep], end[keep], frame[keep])


def _read_odd(data: UInt8, rows: Rows, batch: Batch, rest: Rest) -> None:
    """Look for the `=` of tokens of another shape (no value, two `=`, points in a name) and write it into `rows.eq`."""
    for row in np.flatnonzero(rows.eq < 0).tolist():
        token = data[rows.start[row] : rows.end[row]].tobytes()
        at = token.find(b"=")
        if at >= 0:
            rows.eq[row] = rows.start[row] + at
        elif token.strip():
            rest.rejects.append(rows.reject("bad_pair", row, batch))


def frame_times(rows: Rows, stamps: Int64, frames: int) -> tuple[Int64, Bool]:
    """Read the DataTime of each frame, the first one it carries, from the pairs `stamps`: ms UTC (f,), and which are usable."""
    time, valid = np.zeros(frames, np.int64), np.zeros(frames, np.bool_)
    owner = rows.frame[stamps]
    first = stamps[np.append(True, owner[1:] != owner[:-1])] if len(stamps) else stamps
    read, usable = times(rows.words, rows.eq[first] + 1, rows.end[first])
    time[rows.frame[first]], valid[rows.frame[first]] = read, usable
    return time, valid
