"""A plain, obvious, one-frame-at-a-time reading of HJ 212 data areas, against which the batched decoder is compared."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from connectors.hj212.commands import parse_cst
from connectors.hj212.header import parse
from streams.codecs.hj212_names import PERIOD, SEVERITY, load_tables, medium
from streams.model import SeriesKey

POINT = {"gas": "DA001", "water": "DW001", "air": "EQ001", "surface_water": "EQ001", "noise": "NS001", "power": "PW001"}
STATS = {"zsrtd": "zs_rtd", "zsmin": "zs_min", "zsavg": "zs_avg", "zsmax": "zs_max", "cou": "sum", "zscou": "zs_sum"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def place(mn: str, what: str) -> tuple[str, str]:
    return mn, POINT[what]


@dataclass
class Plain:
    rows: list[tuple[SeriesKey, int, float, int, int]] = field(default_factory=list)
    refused: int = 0
    received: int = 0


def read(frames: list[bytes]) -> Plain:
    out = Plain()
    for index, raw in enumerate(frames):
        head = parse(raw[6:-4])
        if head.cn in PERIOD:
            read_area(raw[6:-4][slice(*head.area)].decode("utf-8", "replace"), head, index, out)
    return out


def read_area(area: str, head, index: int, out: Plain) -> None:
    tables, stamp, flags, pairs = load_tables(), None, {}, []
    for token in re.split("[;,]", area):
        name, equals, value = token.partition("=")
        factor, dash, suffix = name.partition("-")
        if not equals:
            assert not token.strip(), f"{token!r} is not for the plain reader"
        elif name == "DataTime":
            stamp = stamp or value
        elif (dash and suffix.lower() == "flag") or (dash and suffix == "ZsFlag" and not NUMBER.fullmatch(value)):
            rank = SEVERITY.index(tables.flag(head.st, head.version, value))
            flags[tables.factor(factor)] = max(flags.get(tables.factor(factor), 0), rank)
        elif dash:
            pairs.append((tables.factor(factor), STATS.get(suffix.lower(), suffix.lower()), value))
    time = parse_cst(stamp or "")
    for factor, stat, value in pairs:
        out.received += 1
        if time is None or not NUMBER.fullmatch(value) or not math.isfinite(float(value)):
            out.refused += 1
            continue
        key = SeriesKey(*place(head.mn, medium(factor, head.st)), factor, PERIOD[head.cn], stat)
        out.rows.append((key, time, float(value), SEVERITY[flags.get(factor, 0)], index))
