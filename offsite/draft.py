"""Draft a registry from recorded traffic: files enter, a `Registry` leaves whose MNs are sites, to be completed by people.

Of each device: its points by medium, the factors it sends, their interval (the median step of the finest period it sends) and the
usual unit of each factor (HJ 212-2017 Annex B). A device that sent no reading is drafted by its ST (table 8).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from connectors.core import HJ212
from connectors.files import bodies
from connectors.hj212.frame import split_buffer
from offsite.registered import MEDIUM_OF_ST
from streams.alerts import factor_names
from streams.codecs.hj212 import Hj212Decoder
from streams.codecs.hj212_names import medium
from streams.codecs.readings import decode_readings
from streams.model import PERIODS, Int64, Readings, SeriesKey, SeriesTable
from streams.registry_model import INFERRED_POINT, Factor, Point, Registry, Site
from streams.units import canonical

_WHO = re.compile(rb"(?:^|;)(ST|MN)=([^;,\s&]*)")


class Draft:
    """What the recordings have shown so far."""

    def __init__(self) -> None:
        self._table = SeriesTable()
        self._media: dict[tuple[str, str], str] = {}
        self._devices: dict[str, str] = {}
        self._times: dict[int, list[Int64]] = defaultdict(list)
        self._decoder = Hj212Decoder(self._place, self._table)

    def _place(self, mn: str, kind: str) -> tuple[str, str]:
        place = (mn, INFERRED_POINT[kind])
        self._media.setdefault(place, kind)
        return place

    def file(self, path: Path) -> None:
        """Learn from one file. Raises Refused naming a file that cannot be read."""
        for kind, body in bodies(path):
            if kind == HJ212:
                self._frames(split_buffer(body).frames())
            else:
                self._keep(decode_readings(kind, body, self._table, 0).readings)

    def _frames(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            who = {name: value.decode("utf-8", "replace") for name, value in _WHO.findall(frame[6 : frame.find(b"CP=")])}
            if who.get(b"MN"):
                self._devices.setdefault(who[b"MN"], MEDIUM_OF_ST.get(who.get(b"ST", ""), "gas"))
        self._keep(self._decoder.decode(frames, np.zeros(len(frames), np.int64)).readings)

    def _keep(self, readings: Readings) -> None:
        order = np.argsort(readings.series, kind="stable")
        series, time = readings.series[order], readings.time[order]
        for part in np.split(np.arange(len(order)), np.flatnonzero(np.diff(series)) + 1) if len(order) else []:
            self._times[int(series[part[0]])].append(np.unique(time[part]))

    def registry(self) -> Registry:
        """Return the draft."""
        factors = list(self._factors())
        read = {(f.site, f.point) for f in factors}
        for key in self._table.keys:  # what came as rows names its place, and has only the code to tell its medium
            self._media.setdefault((key.site, key.point), medium(key.factor, ""))
        points = [
            Point(site, point, self._media[site, point], mn=site if site in self._devices else "") for site, point in sorted(read)
        ]
        heard = {site for site, _ in read}
        points += [Point(mn, INFERRED_POINT[kind], kind, mn=mn) for mn, kind in sorted(self._devices.items()) if mn not in heard]
        sites = sorted({point.site for point in points})
        return Registry(tuple(Site(s, s) for s in sites), tuple(sorted(points, key=lambda p: (p.site, p.point))), tuple(factors))

    def _factors(self) -> Iterator[Factor]:
        keys = sorted((key, number) for number, key in enumerate(self._table.keys) if number in self._times)
        for (site, point, code), group in groupby(keys, key=lambda item: item[0][:3]):
            unit = canonical(factor_names().get(code, ("", "", ""))[2])
            yield Factor(site, point, code, wire_unit=unit, interval_s=self._interval(list(group)))

    def _interval(self, series: Iterable[tuple[SeriesKey, int]]) -> float | None:
        """Return the median step, s, of the finest period with at least two times; None if no period has."""
        by_period: dict[str, list[Int64]] = defaultdict(list)
        for key, number in series:
            by_period[key.period] += self._times[number]
        for period in sorted(by_period, key=lambda p: PERIODS.index(p) if p in PERIODS else len(PERIODS)):
            times = np.unique(np.concatenate(by_period[period]))
            if len(times) > 1:
                return float(np.median(np.diff(times))) / 1000
        return None


def draft(files: Sequence[Path]) -> Registry:
    """Draft a registry from recorded files. Raises Refused naming a file that cannot be read."""
    made = Draft()
    for path in files:
        made.file(path)
    return made.registry()
