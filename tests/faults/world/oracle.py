"""What the log should have come to, counted by a slow and plain reading of it: the fates of readings, one at a time.

Independent of the pipeline: dictionaries instead of slabs, one row after the other instead of columns (design §3 and promise 4).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import orjson

from connectors.core import HJ212, Record
from connectors.hj212.header import parse
from tests.faults.world.loop import HOUR, MINUTE

AHEAD = 10 * MINUTE
CLOSES = 30 * MINUTE


def area(frame: bytes) -> tuple[str, str, int, list[tuple[str, float, str]]]:
    """Return MN, command, event time in ms UTC, and (factor, value, flag) of a frame of the simulated loggers."""
    header = parse(frame[6:-4])
    text = frame.decode().partition("CP=&&")[2].partition("&&")[0].split(";")
    stamp = datetime.strptime(text[0].partition("=")[2], "%Y%m%d%H%M%S").replace(tzinfo=UTC) - timedelta(hours=8)
    items = []
    for part in text[1:]:
        value, flag = part.split(",")
        items.append((value.partition("-")[0], float(value.partition("=")[2]), flag.partition("=")[2]))
    return header.mn, header.cn, int(stamp.timestamp()) * 1000, items


def fates(log: Iterable[Record], sites: dict[str, str]) -> Counter[str]:
    """Count the fates of all readings of registered devices, `sites` MN → site; also frames by where they went."""
    clock: dict[str, int] = dict.fromkeys(sites.values(), 0)
    seen: dict[tuple[str, str, str, int], set[float]] = {}
    books: Counter[str] = Counter()
    for record in log:
        if record.topic == "context":
            body = orjson.loads(record.body)
            if body["kind"] == "tick":
                clock = {site: max(known, body["now"]) if known else 0 for site, known in clock.items()}
        elif record.topic == "dead-letters":
            books["bad"] += 1
        elif record.topic == "held":
            books["held"] += 1
        elif record.content_type == HJ212:
            books["frames"] += 1
            mn, cn, time, items = area(record.body)
            clock[sites[mn]] = now = max(clock[sites[mn]], record.arrived)
            for factor, value, _flag in items:
                books["received"] += 1
                books[_fate(seen.setdefault((mn, cn, factor, time), set()), value, time, now)] += 1
    return books


def _fate(known: set[float], value: float, time: int, now: int) -> str:
    """Return the first fate that holds: refused, duplicate, revised, late, accepted."""
    if time > now + AHEAD:
        return "refused"
    if value in known:
        return "duplicate"
    fate = "revised" if known else "late" if time // HOUR < (now - CLOSES) // HOUR else "accepted"
    known.add(value)
    return fate
