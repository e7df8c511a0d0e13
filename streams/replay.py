"""Log time of recorded input: each site's own running maximum of event time (design §3).

Decoded input enters without an arrival, and leaves with one. Rows that follow one another with one frame, site and event time
are one record: a file of rows has no other. A jump of more than an hour ahead counts only once three records in a row lie
beyond it: a broken clock must not close the hours of a whole site.
"""

from __future__ import annotations

from statistics import median_low

import numpy as np

from streams.index import Index
from streams.model import Decoded, Int64, Readings
from streams.plan.load import HOUR

CONFIRMED = 3


class LogTime:
    """Give each record of recorded input its arrival."""

    def __init__(self) -> None:
        self._clock: dict[int, int] = {}
        self._beyond: dict[int, list[int]] = {}

    def stamp(self, decoded: Decoded, index: Index) -> Decoded:
        """Return the same rows with `arrived` set and `frame` counting the records. `index` must know every series."""
        readings = decoded.readings
        if not len(readings):
            return decoded
        site = index.site[readings.series]
        changes = [np.diff(column, prepend=-1) != 0 for column in (readings.frame, site, readings.time)]
        starts = np.flatnonzero(np.logical_or.reduce(changes))
        newest, sites = readings.time[starts], site[starts]
        self._begin(sites, newest)
        clocks = [self._advance(number, time) for number, time in zip(sites.tolist(), newest.tolist(), strict=True)]
        rows = np.diff(starts, append=len(site))
        arrived = np.repeat(np.array(clocks, np.int64), rows)
        frame = np.repeat(np.arange(len(starts), dtype=np.int32), rows)
        columns = (readings.series, readings.time, readings.value, readings.flag, arrived, frame)
        return Decoded(Readings(*columns), decoded.events, decoded.rejects)

    def _begin(self, sites: np.ndarray, newest: Int64) -> None:
        """Let a new site's clock begin at the middle of its first three records, so that one wrong clock reading is no start."""
        for site in np.unique(sites).tolist():
            if site not in self._clock:
                first = newest[np.flatnonzero(sites == site)[:CONFIRMED]].tolist()
                self._clock[site] = min(median_low(first), first[0]) if len(first) < CONFIRMED else median_low(first)

    def _advance(self, site: int, time: int) -> int:
        clock = self._clock[site]
        if time <= clock + HOUR:
            self._beyond.pop(site, None)
            self._clock[site] = max(clock, time)
        else:
            beyond = self._beyond.setdefault(site, [])
            beyond.append(time)
            if len(beyond) >= CONFIRMED:
                self._clock[site] = min(beyond)
                del self._beyond[site]
        return self._clock[site]

    def ends(self, sites: int, grace_ms: int) -> Int64:
        """Return the last log time of each site, (sites,) ms UTC, with the grace that ends a replay."""
        return np.array([self._clock.get(site, 0) + grace_ms for site in range(sites)], np.int64)
