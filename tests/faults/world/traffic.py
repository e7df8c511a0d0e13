"""Traffic for a real product: hours of real HJ 212 devices, and synthetic ones that break limits.

Real data areas are sent byte for byte; their envelope gets a QN and asks for an answer, so that a frame can be told from its
repetition. Frames leave in batches of event time, each with the clock it is sent at.
"""

from __future__ import annotations

import lzma
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from connectors.hj212.commands import build, parse_cst, qn_from_ms
from connectors.hj212.frame import split_buffer
from connectors.hj212.header import parse
from streams.codecs.hj212_encode import encode_frame
from streams.plan.load import HOUR, MINUTE
from streams.registry_model import Bounds, Limit, Point, Registry, Site

BEGIN = 1_471_982_400_000
"""2016-08-24 04:00 China Standard Time, in ms UTC."""
HOURS = 3
BATCH = 4 * MINUTE
LIMIT = 80.0
Items = dict[str, dict[str, float | str]]
_TIME = re.compile(rb"DataTime=(\d{14})")


@dataclass(frozen=True, slots=True)
class Sent:
    """One frame: event time, QN, MN and bytes."""

    time: int
    qn: str
    mn: str
    frame: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames that are sent together at the clock `now` (ms UTC)."""

    now: int
    frames: Sequence[Sent]


def batches(data: Path, devices: int, made: int) -> list[Batch]:
    """Return `HOURS` of the traffic of so many real and made-up devices, in event-time order."""
    frames = sorted(
        [*real(data, devices), *(s for i in range(made) for s in synthetic(i))], key=lambda s: (s.time, s.mn, s.frame)
    )
    numbered = [_enveloped(sent, number) for number, sent in enumerate(frames)]
    found: dict[int, list[Sent]] = defaultdict(list)
    for sent in numbered:
        found[sent.time // BATCH].append(sent)
    return [Batch((number + 1) * BATCH + 20_000, found[number]) for number in sorted(found)]


def real(data: Path, devices: int) -> Iterator[Sent]:
    """Yield the real-time, minute and hour frames of some real devices."""
    by_mn: dict[str, list[Sent]] = defaultdict(list)
    for hour in range(4, 4 + HOURS):
        body = lzma.decompress((data / "hj212" / f"2016-08-24_{hour:02d}.h212.xz").read_bytes())
        for frame in split_buffer(body).frames():
            header, stamp = parse(frame[6:-4]), _TIME.search(frame)
            time = parse_cst(stamp[1].decode()) if stamp else None
            if header.cn in ("2011", "2051", "2061") and time is not None and BEGIN - HOUR <= time < BEGIN + HOURS * HOUR:
                place = time + HOUR if header.cn == "2061" else time
                by_mn[header.mn].append(Sent(min(place, BEGIN + HOURS * HOUR - 1), "", header.mn, frame))
    chosen = sorted(by_mn, key=lambda mn: (abs(len(by_mn[mn]) - 40 * HOURS), mn))[:devices]
    return (sent for mn in chosen for sent in by_mn[mn])


def synthetic(number: int) -> Iterator[Sent]:
    """Yield a device that stands still, jumps and breaks its hourly limit."""
    rng, mn = Random(number), f"SYN{number:021d}"
    for minute in range(0, HOURS * 60, 5):
        time = BEGIN + minute * MINUTE
        value = 33.5 if 70 <= minute < 145 else 30.0 + rng.randrange(400) / 100
        value = 500.0 + number if minute in (65, 160 + 5 * number) else value
        items: Items = {"a21026": {"Avg": value, "Flag": "N"}, "a19001": {"Avg": 8.0 + rng.randrange(200) / 100, "Flag": "N"}}
        yield Sent(time, "", mn, encode_frame(mn, "2051", time, items))
        if minute and minute % 60 == 0:
            hour: Items = {"a21026": {"Avg": LIMIT * (1.7 if minute == 60 else 0.5) + number, "Flag": "N"}}
            yield Sent(time, "", mn, encode_frame(mn, "2061", time - HOUR, hour))


def _enveloped(sent: Sent, number: int) -> Sent:
    """Give a frame a QN of its own and let it ask for an answer; the data area stays as it is."""
    header = parse(sent.frame.rstrip()[6:-4])
    qn = qn_from_ms(sent.time // 1000 * 1000 + number % 1000)
    area = sent.frame.partition(b"&&")[2].rpartition(b"&&")[0]
    frame = build(st=header.st, cn=header.cn, pw=header.pw, mn=sent.mn, qn=qn, flag=(header.flag or 0) | 1, area=area)
    return Sent(sent.time, qn, sent.mn, frame)


def registry(found: Sequence[Batch]) -> Registry:
    """Return a registry of all devices: a gas and a water outlet each, limits for the made-up ones."""
    mns = sorted({sent.mn for batch in found for sent in batch.frames})
    points = tuple(Point(mn, *outlet, mn=mn) for mn in mns for outlet in (("DA001", "gas"), ("DW001", "water")))
    made = [mn for mn in mns if mn.startswith("SYN")]
    limits = tuple(Limit(mn, "DA001", "a21026", "hour", Bounds(None, LIMIT), "mg/m3", "permit") for mn in made)
    return Registry(tuple(Site(mn, mn) for mn in mns), points, (), limits)
