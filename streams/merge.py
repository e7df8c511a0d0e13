"""The inputs of one partition merged by log time, with a tick at each minute of it (design §3). Pure: no I/O and no clock.

Records of several topics enter, each in its own order; records in the order they are to be judged leave. An input that has
unread records is waited for. Ticks come from the log's own time while there are records, and from the clock once every input
has been read to its end: so catching up after a stop raises nothing false, and idle time passes all the same.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from operator import attrgetter

from connectors.core import Record
from streams.plan.load import MINUTE
from streams.records import CONTEXT, is_answer, tick_of, tick_record

GAP, SETTLE = 2 * MINUTE, 30_000
"""After so long a gap without ticks, so long a quiet (ms) before idle time passes."""
BYTES = 8 << 20
"""Bytes of records after which a step takes no more."""


@dataclass(slots=True)
class Input:
    """One topic: records not judged yet, whether its end was reached, the offset that follows the last judged record."""

    waiting: deque[Record] = field(default_factory=deque)
    ended: bool = False
    position: int = 0
    bytes: int = 0


class Merge:
    """The inputs of one partition. `tick` is the log time (ms UTC) of the last tick judged, 0 before the first."""

    def __init__(self, positions: dict[str, int], tick: int) -> None:
        self.inputs = {topic: Input(position=position) for topic, position in positions.items()}
        self.tick = tick
        self._room = BYTES
        self._idle_since = 0

    def put(self, records: Iterable[Record]) -> None:
        """Take records in, in the order of their offsets a topic; what lies before the position was judged already."""
        for topic, run in groupby(records, key=attrgetter("topic")):
            into = self.inputs[topic]
            if new := [record for record in run if record.offset >= into.position]:
                self._idle_since = 0
                into.waiting.extend(new)
                into.bytes += sum(len(record.body) for record in new)
                into.ended = False

    def end(self, topic: str) -> None:
        """Note that a topic has been read to its end."""
        self.inputs[topic].ended = True

    @property
    def positions(self) -> dict[str, int]:
        """The offset that follows the last record judged, a topic."""
        return {topic: each.position for topic, each in self.inputs.items()}

    def take(self, limit: int, now: int, *, ticks: bool = True) -> list[Record]:
        """Return at most `limit` records with the ticks between them; `now` (ms UTC) is the clock.

        What is returned counts as judged, but for what `give_back` returns. A tick that the log does not hold has no offset.
        With `ticks=False` it ends before the next tick.
        """
        taken: list[Record] = []
        self._room = BYTES
        while len(taken) < limit and self._room > 0:
            source, bound = self._next()
            if source is None:
                minute = now // MINUTE * MINUTE
                if ticks and 0 < self.tick < minute and self._settled(minute, now):
                    taken.append(self._ticked(minute))
                break
            first = source.waiting[0].arrived
            minute = first // MINUTE * MINUTE
            if 0 < self.tick < minute < first:
                if not ticks:
                    break
                taken.append(self._ticked(minute))
            self.tick = self.tick or minute
            if not self._run(source, min(bound, -(-first // MINUTE) * MINUTE + 1), limit, taken, ticks=ticks):
                break
        return taken

    def _next(self) -> tuple[Input | None, float]:
        """Return the input whose first record is the earliest, and the log time up to which it is; None while one has to be waited for."""
        first: Input | None = None
        bound = math.inf
        for each in self.inputs.values():
            if not each.waiting:
                if not each.ended:
                    return None, bound
            elif first is None or each.waiting[0].arrived < first.waiting[0].arrived:
                bound = min(bound, math.inf if first is None else first.waiting[0].arrived)
                first = each
            else:
                bound = min(bound, each.waiting[0].arrived)
        return first, bound

    def _run(self, source: Input, bound: float, limit: int, taken: list[Record], *, ticks: bool) -> bool:
        """Take from one input while it is the earliest; return False at a tick that may not be taken."""
        if source is self.inputs.get(CONTEXT):
            return self._controls(source, bound, limit, taken, ticks=ticks)
        run: list[Record] = []
        room = self._room
        for record in islice(source.waiting, limit - len(taken)):
            if run and (record.arrived >= bound or room <= 0):
                break
            run.append(record)
            room -= len(record.body)
        for record in run:
            source.waiting.popleft()
            source.position = record.offset + 1
        taken += run
        source.bytes -= self._room - room
        self._room = room
        return True

    def _controls(self, source: Input, bound: float, limit: int, taken: list[Record], *, ticks: bool) -> bool:
        """Take from `context` in the same way, one by one: ticks and answers are judged once, wherever they came from first."""
        while source.waiting and len(taken) < limit and self._room > 0:
            record = source.waiting[0]
            told = tick_of(record)
            if told is not None and told > self.tick and not ticks:
                return False
            source.waiting.popleft()
            source.position = record.offset + 1
            source.bytes -= len(record.body)
            if told is not None and told > self.tick:
                self.tick = told
            elif told is not None or is_answer(record):
                continue  # a tick that was written by the step that judged it, or an answer that was judged when it came
            taken.append(record)
            self._room -= len(record.body)
            if source.waiting and source.waiting[0].arrived >= bound:
                break
        return True

    def give_back(self, records: Sequence[Record], tick: int) -> None:
        """Take back what was not judged after all, the end of the last `take`; `tick` is the last tick that was."""
        self.tick = tick
        for record in reversed(records):
            if record.offset < 0:
                continue  # a tick of ours: it comes again
            into = self.inputs[record.topic]
            into.waiting.appendleft(record)
            into.bytes += len(record.body)
            into.position = record.offset

    def _settled(self, minute: int, now: int) -> bool:
        """Say whether idle time may pass: at once as a rule, but after a gap only when nothing has come for a while.

        What gateways kept while the log could not be reached comes behind its return, and must not find its hours closed.
        """
        if not self.idle:
            self._idle_since = 0
            return False
        if minute - self.tick <= GAP:
            return True
        self._idle_since = self._idle_since or now
        return now - self._idle_since >= SETTLE

    @property
    def idle(self) -> bool:
        """Say whether every input has been read and judged to its end."""
        return all(each.ended and not each.waiting for each in self.inputs.values())

    def _ticked(self, minute: int) -> Record:
        """Return the tick of a minute; it says how far the inputs had been judged."""
        self.tick = minute
        return tick_record(minute, self.positions)
