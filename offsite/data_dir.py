"""A data directory seen from outside: is the product running on it, and its stores opened for one short job.

A path enters; context managers leave that open the desk, the state store or the log and close them again. While the product runs
nothing here writes state or log: it alone does (design §2). Raises Refused, Retry or Lost, naming the thing and the remedy.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from cases.people import DEFAULT
from cases.store import Desk
from connectors.core import Refused
from connectors.sqlite_log import SqliteLog
from offsite.settings import RUN_FILE
from streams.store import StateStore

STATE, DESK, ANSWERS, LOG = "state.sqlite", "desk.sqlite", "answers.sqlite", "log"
PROJECT_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Running:
    """A running product: its process and the port of its desk (-1: it serves none)."""

    pid: int
    desk: int


def now() -> int:
    """Return the wall clock in ms UTC: the command line acts when a person does."""
    return time.time_ns() // 1_000_000


def running(data: Path) -> Running | None:
    """Return the product that runs on `data`, None if it is stopped. A note whose process is gone counts as none."""
    try:
        note = orjson.loads((data / RUN_FILE).read_bytes())
        found = Running(int(note["pid"]), int(note.get("desk", -1)))
    except (OSError, ValueError, KeyError, TypeError):  # no note, or one that a crash cut off: nothing runs that could be asked
        return None
    return found if _alive(found.pid) else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is there, and somebody else's
        return True
    return True


def desk_of(product: Running) -> int:
    """Return the desk's port of a running product. Raises Refused if it serves none."""
    if product.desk < 0:
        raise Refused(f"the product (process {product.pid}) runs without its desk; stop it, or start it with --desk 0")
    return product.desk


@contextmanager
def open_desk(data: Path) -> Iterator[Desk]:
    """Open the desk. Of a stopped product, what the judge has put out and the desk has not seen is projected first."""
    path = data / DESK
    stopped = running(data) is None
    with Desk(f"sqlite:///{path.resolve()}", clock=now, migrate=stopped or not path.exists()) as desk:
        if stopped and (data / STATE).exists():
            with open_state(data) as store:
                project(store, desk)
        yield desk


@contextmanager
def open_state(data: Path) -> Iterator[StateStore]:
    """Open the state store to read."""
    store = StateStore(data / STATE, readonly=True)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def open_log(data: Path) -> Iterator[SqliteLog]:
    """Open the log; the first append makes this process its writer."""
    log = SqliteLog(data / LOG, now)
    try:
        yield log
    finally:
        log.close()


def project(store: StateStore, desk: Desk) -> None:
    """Bring all outputs of the judge to the desk; repeating it changes nothing."""
    while outputs := store.outputs(desk.position(), PROJECT_AT_ONCE):
        desk.project(outputs, outputs[-1][0])


def note_adoption(desk: Desk, by: str, found: Mapping[str, int]) -> None:
    """Write an adoption into the audit: who, which device (or how many), and the frames of each (promise 9)."""
    subject = next(iter(found)) if len(found) == 1 else f"{len(found)} devices"
    desk.record(by, "device.adopt", subject, {"frames": dict(found)})


def actor(desk: Desk, person: str | None) -> str:
    """Return who acts: `person`, else the first administrator. Raises Refused for somebody the desk does not know.

    A desk without people gets one person a role first, as nobody could act there.
    """
    people = desk.people()
    if not people:
        desk.put_people(DEFAULT)
        people = desk.people()
    wanted = person or next((str(one["person"]) for one in people if one["role"] == "admin"), "an administrator")
    if all(one["person"] != wanted for one in people):
        raise Refused(
            f"the desk knows no person {wanted!r}; name with --as one of {', '.join(str(one['person']) for one in people)}"
        )
    return wanted
