"""Adoption of held devices from the command line: of a running product through its desk, of a stopped one with its own stores.

A data directory and MNs enter; what was driven again leaves, once it is in the books. Whoever adopts is in the audit (promise 9).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from connectors.core import Retry
from offsite import desk_client, registered
from offsite.data_dir import STATE, Running, actor, desk_of, note_adoption, now, open_desk, open_log, open_state, project, running
from streams.embedded import open_embedded
from streams.identity import rfc3339
from streams.plan import load_plan

POLL = 0.1


def adopt(data: Path, mns: Sequence[str] | None, *, person: str | None, plan: Path | None, wait: float) -> dict[str, int]:
    """Register held devices (None: all) and judge what they sent; return MN → records. Raises Refused, Retry or Lost.

    Of a running product the judge is waited for, at most `wait` s; of a stopped one this process judges, by `plan`.
    """
    product = running(data)
    if product is not None:
        return _ask(data, product, mns, person, wait)
    judged_by = load_plan(plan)
    with open_log(data) as log:
        log.append([])  # takes the log's lock: from here on no product can start
        with open_desk(data) as desk:
            by = actor(desk, person)
            found = registered.adopt(data, log, now(), mns)
            if found:
                note_adoption(desk, by, found)
            judge = open_embedded(data, log, judged_by)
            try:
                judge.run(lambda: judge.store.position() >= log.end(), lambda: None)
                project(judge.store, desk)
            finally:
                judge.store.close()
    return found


def _ask(data: Path, product: Running, mns: Sequence[str] | None, person: str | None, wait: float) -> dict[str, int]:
    with open_desk(data) as desk:
        by = actor(desk, person)
    answer = desk_client.call(
        desk_of(product), "POST", "/api/v1/devices/adopt", {"mns": None if mns is None else list(mns)}, person=by
    )
    with open_log(data) as log:
        end = log.end()
    _await_judge(data, end, wait)
    return dict(answer["adopted"])


def _await_judge(data: Path, end: int, wait: float) -> None:
    """Wait until the judge has passed `end` and the desk has what came of it."""
    until = time.monotonic() + wait
    with open_state(data) as store, open_desk(data) as desk:
        while store.position() < end or store.outputs(desk.position(), 1):
            if time.monotonic() > until:
                raise Retry(
                    f"{data / STATE}: the devices are adopted, but after {wait:g} s the judge is at {store.position()} of {end}; "
                    "nothing is lost: see `offsite doctor`, or wait and look at `offsite doctor --books`"
                )
            time.sleep(POLL)


def devices(data: Path) -> list[dict[str, Any]]:
    """Return one row a device: mn, site, point, known, online, last_seen, held. What a stopped product holds is read from its log."""
    product = running(data)
    if product is not None:
        rows = list(desk_client.call(desk_of(product), "GET", "/api/v1/devices")["devices"])
    else:
        by_mn = registered.load_current(data).by_mn
        rows = [registered.device_row(mn, points) for mn, points in by_mn.items()]
    there = {row["mn"] for row in rows}
    return rows + [row for row in _held(data) if row["mn"] not in there]


def _held(data: Path) -> list[dict[str, Any]]:
    registry = registered.load_current(data)
    rows: dict[str, dict[str, Any]] = {}
    with open_log(data) as log:
        for record in registered.held(log):
            row = rows.setdefault(record.key, registered.device_row(record.key, registry.by_mn.get(record.key, ())))
            row["held"] += 1
            row["last_seen"] = rfc3339(record.arrived)
    return list(rows.values())
