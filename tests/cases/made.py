"""Made-up outputs of the judge, a clock that tests set, and a desk that is ready in a millisecond."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import sqlalchemy as sa

from cases.clocks import format_time, parse_time
from cases.models import METADATA
from cases.people import DEFAULT
from cases.store import Desk

T0 = parse_time("2026-03-04T10:00:00+08:00")  # a Wednesday
HOUR = 3_600_000
PEOPLE = (*DEFAULT, {"person": "enterprise", "name": "示范企业", "role": "enterprise", "site": "S1"})


@dataclass
class Hand:
    """A clock set by hand."""

    now: int = T0

    def __call__(self) -> int:
        return self.now


def alert(key: str = "a1", seq: int = 1, *, at: int = T0, level: int = 3, site: str = "S1", **more: Any) -> dict[str, Any]:
    return {
        "id": key, "rule": "limit_hour", "family": "limits", "site": site, "point": "DA001", "factor": "a21026", "period": "hour",
        "level": level, "active": True, "opened": format_time(T0 - HOUR), "updated": format_time(at), "closed": None, "observed": 80.0,
        "expected": 35.0, "limit": 35.0, "unit": "mg/m3", "score": 2.3, "reason_zh": "超标", "reason_en": "over the limit",
        "plan": "p", "seq": seq, "folded": None, **more,
    }  # fmt: skip


def lead(key: str = "l1", seq: int = 1, *, at: int = T0, level: int = 3, site: str = "S1", **more: Any) -> dict[str, Any]:
    return {
        "id": key, "type": "exceedance", "site": site, "point": "DA001", "window": {"start": format_time(T0 - HOUR), "end": None},
        "alerts": ["a1"], "families": ["limits"], "probability": 0.9, "grade": "A", "missing": [], "clause": "c",
        "opened": format_time(T0 - HOUR), "updated": format_time(at), "level": level, "reason_zh": "超标", "reason_en": "over",
        "plan": "p", "auto_case": False, "seq": seq, **more,
    }  # fmt: skip


def outputs(*bodies: dict[str, Any]) -> list[tuple[int, str, str, dict[str, Any]]]:
    return [(k, "lead" if "window" in body else "alert", body["site"], body) for k, body in enumerate(bodies, 1)]


@cache
def template() -> bytes:
    """The file of a fresh desk with one person a role."""
    file = Path(mkdtemp(prefix="desk")) / "desk.sqlite"
    with Desk(f"sqlite:///{file}", clock=lambda: T0) as desk:
        desk.put_people(PEOPLE)
    return file.read_bytes()


def ready(folder: Path, clock: Hand) -> Desk:
    """Return a desk with people, without running the migrations again and without waiting for the disk."""
    file = folder / "desk.sqlite"
    file.write_bytes(template())
    desk = Desk(f"sqlite:///{file}", clock=clock, migrate=False)
    sa.event.listen(desk._db._write, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
    return desk


def dump(desk: Desk, *, without: tuple[str, ...] = ()) -> dict[str, list[tuple[Any, ...]]]:
    """Return the contents of all tables, in key order."""
    with desk._db.read() as tx:
        return {
            name: sorted((tuple(row) for row in tx.conn.execute(sa.select(table))), key=repr)
            for name, table in METADATA.tables.items()
            if name not in without
        }
