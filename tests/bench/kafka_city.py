"""The city that the Kafka benchmarks judge: minute data of many series, as messages of 1, 100 or 1,000 readings.

Whatever a message holds, series, values and times are the same; only what counts as one site differs. Sites are named so that
every partition has as many. Log time is event time and a second, so that ticks come as they do in a day's work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import orjson

from connectors.core import ARROW, JSON, Record
from connectors.kafka import partition_of
from streams.codecs.readings import encode_readings
from streams.codecs.rows import format_time
from streams.model import Float64, Readings, SeriesKey, SeriesTable
from streams.plan.load import MINUTE
from streams.registry_model import Point, Registry, Site

PARTITIONS = 4
START = 1_795_399_200_000 + 10 * MINUTE
FACTORS = ("a21026", "a21002", "a34013", "a19001", "a01011", "a01012", "a01014", "a00000", "a21005", "a05001")
USUAL = np.array([40.0, 60.0, 12.0, 8.0, 9.0, 55.0, 6.0, 30_000.0, 20.0, 80_000.0])
TOPIC = "emission-monitoring"


@dataclass(frozen=True, slots=True)
class City:
    """`size` readings a message of `content_type`; so many series, and minutes from `first` (ms UTC) on."""

    series: int
    minutes: int
    size: int
    content_type: str = JSON
    first: int = START

    @property
    def readings(self) -> int:
        return self.series * self.minutes

    @property
    def per_site(self) -> int:
        return max(self.size, len(FACTORS))

    def share(self) -> list[int]:
        """Return the readings of each partition."""
        of = [partition_of(site, PARTITIONS) for site in self.sites()]
        return [of.count(number) * self.per_site * self.minutes for number in range(PARTITIONS)]

    def sites(self) -> list[str]:
        """Return the sites; every partition has as many, but for the last few."""
        wanted = self.series // self.per_site
        each = -(-wanted // PARTITIONS)
        names: list[list[str]] = [[] for _ in range(PARTITIONS)]
        for number in count():
            mine = names[partition_of(f"S{number:05d}", PARTITIONS)]
            if len(mine) < each:
                mine.append(f"S{number:05d}")
                if sum(map(len, names)) == each * PARTITIONS:
                    break
        return [site for group in zip(*names, strict=True) for site in group][:wanted]

    def registry(self) -> Registry:
        """Return what the registry says of it."""
        points = [Point(site, point, "gas") for site in self.sites() for point in points_of(self.per_site)]
        return Registry(tuple(map(Site, sorted(self.sites()))), tuple(sorted(points, key=lambda p: (p.site, p.point))))

    def keys(self) -> list[SeriesKey]:
        """Return the series, those of a site together."""
        return [
            SeriesKey(site, point, factor, "realtime", "rtd")
            for site in self.sites()
            for point in points_of(self.per_site)
            for factor in FACTORS
        ]

    def records(self) -> Iterator[Record]:
        """Yield the log, minute by minute, in any order within one; a message holds readings of one site and one minute."""
        keys = self.keys()
        draw = np.random.default_rng(1)
        usual = np.tile(USUAL, self.series // len(FACTORS))
        encode = as_arrow if self.content_type == ARROW else as_json
        for at in range(self.first, self.first + self.minutes * MINUTE, MINUTE):
            values = (usual * draw.normal(1.0, 0.05, self.series)).round(3)
            for row in self.size * draw.permutation(self.series // self.size):
                rows = slice(row, row + self.size)
                yield Record(TOPIC, keys[row].site, at + 1000, self.content_type, encode(keys[rows], at, values[rows]))


def points_of(per_site: int) -> list[str]:
    """Return a site's points: ten series each."""
    return [f"DA{number:03d}" for number in range(1, per_site // len(FACTORS) + 1)]


def as_json(keys: list[SeriesKey], at: int, values: Float64) -> bytes:
    """Write one reading of each series at one time: an object, or an array of them."""
    time = format_time(at)
    rows = [
        {"site": k.site, "point": k.point, "factor": k.factor, "time": time, "period": "realtime", "value": value, "flag": "N"}
        for k, value in zip(keys, values.tolist(), strict=True)
    ]
    return orjson.dumps(rows if len(rows) > 1 else rows[0])


def as_arrow(keys: list[SeriesKey], at: int, values: Float64) -> bytes:
    """Write the same as an Arrow stream."""
    n = len(keys)
    readings = Readings.of(np.arange(n), np.full(n, at), values, np.full(n, ord("N")), np.full(n, at), np.zeros(n))
    return encode_readings(ARROW, readings, SeriesTable(keys))
