"""What the city says over HTTP: power readings, camera and door events (design §3, rules E.1), as JSON rows.

Pure: a span in, rows out. `key` decides nothing here; the ids of events are content hashes, so sending twice is harmless.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np

from offsite.city.faults import Fault
from offsite.city.model import City
from offsite.city.plants import Site
from offsite.city.tables import CST_MS, DAY_MS, HOUR_MS, MINUTE_MS

_CST = timezone(timedelta(hours=8))
POWER_FACTOR = "d10001"


def rfc3339(ms: int) -> str:
    """Return ms UTC as RFC 3339 with +08:00.

    >>> rfc3339(0)
    '1970-01-01T08:00:00+08:00'
    """
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone(_CST).isoformat(timespec="seconds")


def power_rows(city: City, start_ms: int, step_ms: int, steps: int, *, period: str = "minute") -> list[dict[str, Any]]:
    """Return the readings of every meter: means of `minute` periods, or instants of `realtime`."""
    time = np.arange(steps, dtype=np.int64) * step_ms + start_ms
    values = city.power(time).T.tolist()
    stat = "rtd" if period == "realtime" else "avg"
    rows = []
    for k, at in enumerate(time.tolist()):
        text = rfc3339(at)
        rows += [
            {
                "site": m.site,
                "point": m.point,
                "factor": POWER_FACTOR,
                "time": text,
                "period": period,
                "stat": stat,
                "value": value,
                "flag": "N",
                "unit": "kW",
            }
            for m, value in zip(city.inventory.meters, values[k], strict=True)
        ]
    return rows


def events(city: City, begin: int, end: int) -> list[dict[str, Any]]:
    """Return the events that become known in (begin, end]: of faults, and the planned visits of maintenance."""
    rows = [row for fault in city.faults for row in _of_fault(city, fault)]
    rows += [row for site in city.inventory.sites if site.camera for row in _visits(city, site, begin, end)]
    return [event for known, event in sorted(rows, key=lambda pair: (pair[0], pair[1]["id"])) if begin < known <= end]


def _of_fault(city: City, fault: Fault) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (when it becomes known, event) of a fault that a camera or a door reports."""
    camera = city.sites[fault.site].camera
    if fault.kind == "camera_covered":
        body = {"camera": camera, "confidence": 0.93, "detail": "画面遮挡面积超过六成"}
        yield fault.start + MINUTE_MS, event(fault.site, camera, "occlusion", fault.start, fault.end, body)
    if fault.kind == "intrusion":
        door = {"door": "DOOR-1", "method": "forced", "work_order_id": None}
        yield fault.start, event(fault.site, camera, "door_forced", fault.start, fault.start + MINUTE_MS, door)
        body = {"camera": camera, "confidence": 0.88, "objects": ["person"], "work_order_id": None}
        yield fault.start + MINUTE_MS, event(fault.site, camera, "intrusion", fault.start + MINUTE_MS, fault.end, body)


def _visits(city: City, site: Site, begin: int, end: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the weekly visit of the maintenance company: a door opened with a card and a work order."""
    for day in range((begin + CST_MS) // DAY_MS, (end + CST_MS) // DAY_MS + 1):
        if (day + site.index * 3 + city.seed) % 7 == 0:
            start = day * DAY_MS - CST_MS + 9 * HOUR_MS + (site.index * 17) % 420 * MINUTE_MS
            body = {"door": "DOOR-1", "method": "card", "person": "运维工程师", "work_order_id": f"WO-{day}-{site.site}"}
            yield start, event(site.site, site.camera, "door_open", start, start + 25 * MINUTE_MS, body)


def event(site: str, point: str, kind: str, start: int, end: int, body: dict[str, Any]) -> dict[str, Any]:
    """Return one event with its content id."""
    seed = json.dumps(["event", kind, site, point, start], separators=(",", ":"))
    return {
        "id": hashlib.sha256(seed.encode()).hexdigest()[:32],
        "kind": kind,
        "site": site,
        "point": point,
        "start": rfc3339(start),
        "end": rfc3339(end),
        "at": rfc3339(start),
        "by": "示例视频平台",
        "body": body,
    }
