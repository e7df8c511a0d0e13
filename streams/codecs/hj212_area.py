"""Data areas into readings: values, times and flags of a whole batch, and what must be refused.

A reading is a factor-suffix pair of a frame whose DataTime can be read, with a finite number; the flag of the factor belongs to
all its values in that frame, the worst if it is sent twice.
"""

from __future__ import annotations

import numpy as np

from streams.codecs.hj212_names import SEVERITY, Kind
from streams.codecs.hj212_numbers import Bool, Float64, Int64, decimals, plain_number
from streams.codecs.hj212_pairs import Pairs
from streams.codecs.hj212_rows import Batch, Rest, cut, frame_times, text_of
from streams.model import Readings, Reject

_CANONICAL = np.array(SEVERITY, np.uint8)


class Area:
    """One batch on its way: pairs are named, then read, then flagged. Rejects and events gather in `rest`."""

    def __init__(self, batch: Batch, pairs: Pairs, rest: Rest) -> None:
        self._batch, self._pairs, self._rest = batch, pairs, rest
        self._rows = cut(batch, rest)
        rows = self._rows
        self._pair = pairs.numbers(rows.words, rows.start, rows.eq, batch.head[rows.frame])
        self._kind = pairs.kind[self._pair]
        self._time, self._timed = frame_times(rows, np.flatnonzero(self._kind == Kind.TIME), len(batch.areas))
        width = pairs.factors[batch.head]
        base = np.cumsum(width) - width
        self._slot = base[rows.frame] + pairs.local[self._pair]
        self._worst = np.zeros(int(width.sum()), np.uint8)

    def readings(self) -> Readings:
        """Return the readings of the batch, in the order of the wire."""
        rows, batch, pair = self._rows, self._batch, self._pair
        of = np.flatnonzero(self._kind <= Kind.FLAGLIKE)
        value, good = decimals(rows.words, rows.eq[of] + 1, rows.dot[of], rows.end[of])
        self._read_plainly(of, value, good)
        self._merge_flags()
        self._refuse_untimed(of[good | (self._kind[of] == Kind.VALUE)])
        self._keep_notes()
        usable = np.flatnonzero(good & self._timed[rows.frame[of]])
        of, value = of[usable], value[usable]
        series = self._series(pair[of])
        if (series < 0).any():
            self._rest.rejects.extend(rows.reject("too_many", row, batch) for row in of[series < 0].tolist())
            of, value, series = of[series >= 0], value[series >= 0], series[series >= 0]
        frame = rows.frame[of]
        index = batch.index[frame]
        return Readings(
            series=series.astype(np.int32),
            time=self._time[frame],
            value=value,
            flag=_CANONICAL[self._worst[self._slot[of]]],
            arrived=batch.arrived[index],
            frame=index.astype(np.int32),
        )

    def _read_plainly(self, of: Int64, value: Float64, good: Bool) -> None:
        """Read one by one what the fast way could not; text becomes an event or a flag where the suffix allows it."""
        rows, batch, rest = self._rows, self._batch, self._rest
        for at in np.flatnonzero(~good).tolist():
            row = int(of[at])
            number, frame = plain_number(rows.value(row)), int(rows.frame[row])
            if isinstance(number, float):
                value[at], good[at] = number, True
            elif self._kind[row] == Kind.FLAGLIKE:
                self._raise_flag(row)
            elif self._kind[row] == Kind.TEXTABLE:
                rest.events.add(int(batch.index[frame]))
            elif self._timed[frame]:
                rest.rejects.append(rows.reject(number, row, batch))

    def _merge_flags(self) -> None:
        """Keep the worst flag of each factor and frame; one-letter flags go through a table."""
        rows, batch = self._rows, self._batch
        of = np.flatnonzero(self._kind == Kind.FLAG)
        short = rows.end[of] - rows.eq[of] == 2
        letters = of[short]
        dialect = self._pairs.dialect[batch.head[rows.frame[letters]]]
        rank = self._pairs.ranks[dialect, rows.words.data[rows.eq[letters] + 1]]
        np.maximum.at(self._worst, self._slot[letters], rank)
        for row in of[~short].tolist():
            self._raise_flag(row)
            if b"=" in rows.value(row):  # `Flag=Nw20144-Rtd=0.1`: a separator is lost, and a pair with it
                self._rest.rejects.append(rows.reject("bad_pair", row, batch))

    def _raise_flag(self, row: int) -> None:
        rank = self._pairs.rank(int(self._batch.head[self._rows.frame[row]]), text_of(self._rows.value(row)).strip())
        slot = self._slot[row]
        self._worst[slot] = max(int(self._worst[slot]), rank)

    def _refuse_untimed(self, counted: Int64) -> None:
        """Refuse frames without a usable DataTime as a whole; those without pairs are kept as events by `_keep_notes`."""
        batch = self._batch
        count = np.bincount(self._rows.frame[counted], minlength=len(batch.areas))
        for frame in np.flatnonzero(~self._timed & (count > 0)).tolist():
            index = int(batch.index[frame])
            detail = f"{count[frame]} pairs without a usable DataTime"
            self._rest.rejects.append(Reject("bad_time", detail, batch.raws[index], index, int(count[frame])))

    def _keep_notes(self) -> None:
        """Refuse pairs without a factor; keep frames that hold notes, or nothing that could be a reading, as events."""
        rows, batch = self._rows, self._batch
        for row in np.flatnonzero(self._kind == Kind.NAMELESS).tolist():
            self._rest.rejects.append(rows.reject("no_factor", row, batch))
        noted = np.zeros(len(batch.areas), np.bool_)
        noted[rows.frame[self._kind == Kind.NOTE]] = True
        measured = np.zeros(len(batch.areas), np.bool_)
        measured[rows.frame[(self._kind <= Kind.FLAGLIKE) | (self._kind == Kind.NAMELESS)]] = True
        self._rest.events.update(batch.index[noted | ~measured].tolist())

    def _series(self, pair: Int64) -> Int64:
        series = self._pairs.series[pair]
        fresh = pair[series < 0]
        if not len(fresh):
            return series
        self._pairs.number_series(fresh)
        return self._pairs.series[pair]
