"""What `offsite doctor` looks at: a machine and a data directory enter, findings leave. Nothing is changed.

Each finding says what was looked at, whether it is ok, a warning (works, but look at it) or broken, and what to do. Every check is one
function from a `Patient` to findings; a check that meets an error of a store reports it and the others go on.
"""

from __future__ import annotations

import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from connectors.core import ConnectorError
from offsite.data_dir import ANSWERS, DESK, LOG, STATE, Running, open_desk, open_log, open_state
from offsite.settings import Settings
from streams.identity import rfc3339
from streams.plan.load import MINUTE

Grade = Literal["ok", "warning", "broken"]
LOW, VERY_LOW = 2 << 30, 200 << 20
"""Bytes of free disk below which there is a warning, and below which the product can't work: a city's day of frames is about 1 GB."""
BEHIND = 3 * MINUTE
"""How far log time may be behind the clock before the judge counts as late: a tick comes each minute."""
TABLES = {
    STATE: {"meta", "chunks", "outputs", "dead_letters", "pending"},
    DESK: {"alerts", "leads", "cases", "audit", "people", "keys"},
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look has shown; `remedy` is empty where nothing needs to be done."""

    check: str
    grade: Grade
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined: the settings (data directory, plan, ports), the product that runs on it, and the time, ms UTC."""

    settings: Settings
    product: Running | None
    now: int

    @property
    def data(self) -> Path:
        """Return the data directory."""
        return self.settings.data

    def has(self, name: str) -> bool:
        """Tell whether a part of the data directory is there."""
        return (self.data / name).exists()


Check = Callable[[Patient], Iterator[Finding]]


def disk(patient: Patient) -> Iterator[Finding]:
    """Look at the space that is left."""
    place = patient.data.resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    grade: Grade = "ok" if free >= LOW else "warning" if free >= VERY_LOW else "broken"
    remedy = "" if grade == "ok" else "free some space or move the data directory; devices resend what could not be stored"
    yield Finding("disk", grade, f"{free >> 20} MB free at {place}", remedy)


def plan(patient: Patient) -> Iterator[Finding]:
    """Load the plan."""
    from streams.plan import PlanFaults, load_plan

    try:
        found = load_plan(patient.settings.plan)
    except PlanFaults as error:
        yield from (Finding("plan", "broken", fault, "correct the plan, then `offsite check-config`") for fault in error.faults)
    else:
        yield Finding("plan", "ok", f"version {found.version}, hash {found.hash}, {len(found.rules)} rules")


def ports(patient: Patient) -> Iterator[Finding]:
    """See whether the ports are free; a running product holds them itself."""
    if patient.product is not None:
        yield Finding("ports", "ok", f"the product runs (process {patient.product.pid})")
        return
    settings = patient.settings
    for name, port in (
        ("hj212", settings.hj212_port),
        ("tls", settings.tls_port),
        ("http", settings.http_port),
        ("desk", settings.desk_port),
    ):
        if port <= 0:
            continue
        host = "127.0.0.1" if name == "desk" else settings.host
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                remedy = f"stop its owner, or choose another port (--{name} PORT)"
                yield Finding("ports", "warning", f"{name} {host}:{port} cannot be opened: {error.strerror}", remedy)
            else:
                yield Finding("ports", "ok", f"{name} {host}:{port} is free")


def files(patient: Patient) -> Iterator[Finding]:
    """Let SQLite look through each of its files (PRAGMA quick_check), and see whether its tables are there."""
    paths = [patient.data / name for name in (STATE, DESK, ANSWERS)] + sorted((patient.data / LOG).glob("????-??-??.sqlite"))
    for path in paths:
        if path.exists():
            yield _file(path)


def _file(path: Path) -> Finding:
    restore = "stop the product, move the data directory away and restore the last backup (`offsite restore`)"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)) as db:
            told = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
            tables = {str(row[0]) for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        return Finding("files", "broken", f"{path.name}: {error}", restore)
    missing = TABLES.get(path.name, set()) - tables
    if told != "ok":
        return Finding("files", "broken", f"{path.name}: {told}", restore)
    if missing:
        return Finding(
            "files", "broken", f"{path.name}: has no table {', '.join(sorted(missing))}", "start the product of this version once"
        )
    return Finding("files", "ok", f"{path.name}: sound, {path.stat().st_size >> 10} KB")


def schema(patient: Patient) -> Iterator[Finding]:
    """Compare the desk's schema with the newest this version knows."""
    from alembic.script import ScriptDirectory

    from cases.migrate import config

    if not patient.has(DESK):
        return
    newest = ScriptDirectory.from_config(config()).get_current_head()
    with closing(sqlite3.connect(f"{(patient.data / DESK).resolve().as_uri()}?mode=ro", uri=True, timeout=10)) as db:
        row = db.execute("SELECT version_num FROM alembic_version").fetchone()
    there = None if row is None else str(row[0])
    if there == newest:
        yield Finding("schema", "ok", f"{DESK}: {there}")
    else:
        yield Finding(
            "schema",
            "broken",
            f"{DESK}: is at {there}, this version needs {newest}",
            "start the product of this version, it upgrades",
        )


def positions(patient: Patient) -> Iterator[Finding]:
    """Compare how far the log, the judge and the desk have come, and how far log time is behind the clock."""
    if not (patient.has(STATE) and patient.has(LOG)):
        return
    with open_state(patient.data) as store:
        position, tick = store.position(), store.tick()
    with open_log(patient.data) as log:
        first, end = log.first(), log.end()
        newest = log.read(end - 1, 1) if end > first else []
    restore = "log and state are not of one time: restore a whole backup, never single files"
    if position > end:
        yield Finding("positions", "broken", f"the judge is at {position}, but the log ends at {end}", restore)
    elif position < first:
        yield Finding(
            "positions",
            "broken",
            f"the judge is at {position}, but the log begins at {first}: what lies between is not judged",
            restore,
        )
    else:
        waiting = "" if position == end else f", {end - position} records wait"
        yield Finding("positions", "ok", f"the judge is at {position} of {end}{waiting}")
    if newest and newest[0].arrived > patient.now + MINUTE:
        remedy = "set the clock right (NTP); until it has caught up, log time stands still"
        yield Finding(
            "clock", "warning", f"the newest record arrived {rfc3339(newest[0].arrived)}, later than this machine's clock", remedy
        )
    if patient.product is not None and tick and patient.now - tick > BEHIND:
        behind = f"judged up to {rfc3339(tick)}, {(patient.now - tick) // 1000} s behind this machine's clock"
        yield Finding(
            "clock",
            "warning",
            behind,
            "normal while it catches up after a stop; if it grows, see what the judge reports on stderr",
        )


def registry(patient: Patient) -> Iterator[Finding]:
    """Read the registry in force."""
    from offsite.registered import FILE, load_current
    from streams.registry_tables import RegistryFaults

    if not patient.has(FILE):
        return
    try:
        found = load_current(patient.data)
    except RegistryFaults as error:
        yield from (
            Finding("registry", "broken", fault, "start once with --registry and the corrected files") for fault in error.faults
        )
    else:
        yield Finding("registry", "ok", f"{len(found.sites)} sites, {len(found.points)} points, {len(found.limits)} limits")


def books(patient: Patient) -> Iterator[Finding]:
    """See whether the books balance: received = accepted + duplicate + revised + late + refused (promise 4)."""
    from offsite.books import FATES, of_counts

    if not patient.has(STATE):
        return
    with open_state(patient.data) as store:
        rows = of_counts(store.books())["readings"]
    told = ", ".join(f"{fate} {rows[fate]}" for fate in FATES)
    balanced = rows["received"] == sum(rows[fate] for fate in FATES[1:])
    yield Finding(
        "books",
        "ok" if balanced else "broken",
        told,
        "" if balanced else "readings have no fate: report this as a fault, with a backup",
    )


def audit(patient: Patient) -> Iterator[Finding]:
    """Recompute the audit chain (promise 9)."""
    if not patient.has(DESK):
        return
    with open_desk(patient.data) as desk:
        found = desk.audit_verify()
    if found.ok:
        yield Finding("audit", "ok", f"the chain of {found.rows} entries holds")
    else:
        remedy = "somebody has altered it: keep the file and compare it with a backup"
        yield Finding("audit", "broken", f"the chain breaks at entry {found.first_bad}", remedy)


CHECKS: dict[str, Check] = {
    "disk": disk,
    "plan": plan,
    "ports": ports,
    "files": files,
    "schema": schema,
    "positions": positions,
    "registry": registry,
    "books": books,
    "audit": audit,
}
"""Every check, in the order in which it is told."""


def examine(patient: Patient) -> Iterator[Finding]:
    """Make all checks."""
    for name, check in CHECKS.items():
        try:
            yield from check(patient)
        except (ConnectorError, sqlite3.Error, OSError) as error:
            yield Finding(
                name, "broken", str(error), "see the findings about the files, and restore the last backup if one is damaged"
            )
