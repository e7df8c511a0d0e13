"""The HJ 212 codec: frames in, readings, events and rejects out (HJ 212-2017 §6.3.3 and Annex B; HJ/T 212-2005; HJ 212-2025).

A micro-batch of frames enters, already framed and checked (`connectors/hj212`); columns leave. Every factor-suffix pair of a data
command that is not a flag is one reading or one reject (promise 4: readings received = readings + the rows of rejects); everything
else becomes an event. Split packets need no merging: each part is a frame of its own, and rows meet by their key.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from connectors.hj212.commands import parse_cst
from connectors.hj212.header import HeaderError, parse
from streams.codecs.hj212_area import Area
from streams.codecs.hj212_encode import encode_frame
from streams.codecs.hj212_names import Tables, load_tables, medium
from streams.codecs.hj212_numbers import Int64
from streams.codecs.hj212_pairs import DATA, OTHER, Heads, Pairs, Resolve
from streams.codecs.hj212_rows import Batch, Rest, text_of
from streams.identity import content_id
from streams.model import Decoded, Event, Readings, Reject, SeriesTable

__all__ = ["REASONS", "Hj212Decoder", "encode_frame"]

REASONS = ("bad_header", "bad_time", "bad_pair", "no_factor", "bad_number", "not_finite", "too_many")
"""Why a frame or a pair is refused. `bad_pair` has lost its `=` or a separator; `too_many`: more names than a site can have."""

ROUND = 4096
"""Frames decoded together: enough to spread the cost of numpy, few enough for the caches."""

_PAIRS_KEPT = 1_000_000
_WHEN = re.compile(r"(?:DataTime|AlarmTime|SystemTime|RestartTime|BeginTime)=(\d+)")


def _area(raw: bytes, mark: int) -> bytes:
    """Return the data area of a frame that does not end in `&&` and four hex digits (its checksum is ignored or missing)."""
    end = raw.rfind(b"&&", mark + 5)
    return raw[mark + 5 : end] if end >= 0 else raw[mark + 5 :]


class Hj212Decoder:
    """The decoder of one log. `resolve` gives the place (site, point) of (MN, medium); `table` numbers the series.

    `commands` counts the frames by CN, heartbeats included: they leave no other trace.
    """

    def __init__(self, resolve: Resolve, table: SeriesTable, *, tables: Tables | None = None) -> None:
        self._resolve, self._table = resolve, table
        self._tables = tables or load_tables()
        self.commands: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Forget where devices stand: call it when the registry has changed. Series keep their numbers."""
        self._heads = Heads()
        self._pairs = Pairs(self._heads, self._tables, self._resolve, self._table)

    def decode(self, frames: Sequence[bytes], arrived: Int64) -> Decoded:
        """Decode frames (`##` … checksum, no line end) that were logged at `arrived` (n,) int64 ms UTC.

        Nothing vanishes and nothing raises: what is neither a reading nor a heartbeat is an event or a reject.
        """
        parts: list[Readings] = []
        events: list[Event] = []
        rejects: list[Reject] = []
        for first in range(0, len(frames), ROUND):
            if len(self._pairs) > _PAIRS_KEPT:
                self.reset()
            rest = Rest()
            batch = self._route(frames, arrived, range(first, min(first + ROUND, len(frames))), rest)
            if batch.areas:
                parts.append(Area(batch, self._pairs, rest).readings())
            for index in sorted(rest.events):
                self._keep(frames[index], index, int(arrived[index]), events, rest)
            rejects += sorted(rest.rejects, key=lambda reject: reject.frame)
        return Decoded(Readings.concat(parts), events, rejects)

    def _route(self, frames: Sequence[bytes], arrived: Int64, rows: range, rest: Rest) -> Batch:
        """Sort frames by command: data frames into a batch, heartbeats into the counts, others into events."""
        heads, chosen, areas = [], [], []
        known, learn, carries = self._heads.known, self._heads.learn, self._heads.carries
        for row in rows:
            raw = frames[row]
            mark = raw.find(b"CP=&&")
            text = raw[27:mark] if raw.startswith(b"QN=", 6) and raw[26:27] == b";" else raw[6:mark]
            head = known.get(text)
            if head is None:
                head = learn(raw, text)
            heads.append(head)
            if carries[head] == DATA:
                chosen.append(row)
                areas.append(raw[mark + 5 : -6] if raw[-6:-4] == b"&&" else _area(raw, mark))
            elif carries[head] == OTHER:
                rest.events.add(row)
        for head, count in Counter(heads).items():
            self.commands[self._heads.items[head].cn] += count
        index = np.array(chosen, np.int64)
        return Batch(frames, arrived, index, np.array(heads, np.int64)[index - rows.start], areas)

    def _keep(self, raw: bytes, index: int, arrived: int, events: list[Event], rest: Rest) -> None:
        """Keep a frame whole as an event `hj212.<CN>`, its data area as text; or refuse it if it has no header."""
        try:
            header = parse(raw[6:])
        except HeaderError as fault:
            rest.rejects.append(Reject("bad_header", fault.reason, raw, index))
            return
        area = text_of(raw[6:][slice(*header.area)])
        stamp = _WHEN.search(area)
        when = parse_cst(stamp[1] if stamp else header.qn)
        site, point = self._resolve(header.mn, medium("", header.st))
        body = {"mn": header.mn, "st": header.st, "cn": header.cn, "qn": header.qn, "area": area}
        events.append(
            Event(
                id=content_id("hj212", raw.decode("latin-1")),
                kind=f"hj212.{header.cn}",
                site=site,
                start=arrived if when is None else when,
                point=point,
                by=header.mn,
                body=body,
            )
        )
