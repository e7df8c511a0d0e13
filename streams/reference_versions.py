"""What a source said, version by version: nothing is deleted, a row that disappeared is ended, one that changed has a successor.

Enters: the rows of a source that are in force, and what its newest export says. Leaves: the rows to add and those to end, or the
objections for which nothing at all is applied. The same export twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

from streams.reference import identity
from streams.reference_model import REMEDIES, Entry, Key, Source, Taken

LIVE, ENDED, REPLACED = "live", "ended", "replaced"


@dataclass(frozen=True, slots=True)
class Stamp:
    """Where and when an export came from: its hash (SHA-256, hex), the time in ms UTC, and the China day of it."""

    digest: str
    fetched: int
    day: date


@dataclass(frozen=True, slots=True)
class Kept:
    """One row of one source, with its provenance.

    `since`: the day from which this version is known, empty for the first of its key · `until`: the last day it was, empty while it
    is in force · `state`: live, ended (it disappeared) or replaced (by another version).
    """

    source: str
    table: str
    key: Key
    cells: Mapping[str, str]
    place: str
    raw: str
    digest: str
    fetched: int
    since: str = ""
    until: str = ""
    state: str = LIVE
    id: int = 0
    """The number the store gave it."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an export changes: rows to add, rows to end or replace, how many stay, and how many were in force before."""

    added: tuple[Kept, ...] = ()
    closed: tuple[Kept, ...] = ()
    same: int = 0
    had: int = 0

    @property
    def ended(self) -> list[Kept]:
        """Return the rows that disappeared."""
        return [row for row in self.closed if row.state == ENDED]

    @property
    def changed(self) -> list[Key]:
        """Return the keys whose row says something else now."""
        closed = {row.key for row in self.closed if row.state == REPLACED}
        return [row.key for row in self.added if row.key in closed]


def fold(source: Source, kept: Iterable[Kept], taken: Taken, stamp: Stamp) -> Change:
    """Compare what a source said with what it says. `kept`: all its rows, those ended and replaced too."""
    newest: dict[Key, Kept] = {}
    for row in sorted(kept, key=lambda row: row.id):
        newest[row.key] = row
    had = sum(row.state == LIVE for row in newest.values())
    added, closed, same = list[Kept](), list[Kept](), 0
    for entry in taken.entries:
        before = newest.pop(entry.key, None)
        if before is not None and before.state == LIVE and dict(before.cells) == dict(entry.cells):
            same += 1
            continue
        old, since = _succeeded(source, before, stamp)
        closed += old
        added.append(_row(source, entry, stamp, since))
    for row in newest.values():
        if row.state == LIVE and identity(source, row.cells) not in taken.held and row.raw not in taken.seen:
            closed.append(replace(row, state=ENDED, until=stamp.day.isoformat()))
    return Change(tuple(added), tuple(closed), same, had)


def _succeeded(source: Source, before: Kept | None, stamp: Stamp) -> tuple[list[Kept], str]:
    """Return the row before as it has to be closed, and since when its successor is known."""
    if before is None:
        return [], ""
    today = stamp.day.isoformat()
    if before.state == ENDED:
        if source.dated or before.until >= today:  # it came back under its own dates, or on the day it went
            return [replace(before, state=REPLACED)], before.since
        return [], today
    yesterday = (stamp.day - timedelta(days=1)).isoformat()
    if before.since and before.since > yesterday:
        return [replace(before, state=REPLACED, until=yesterday)], before.since
    return [replace(before, state=REPLACED, until=yesterday)], today


def _row(source: Source, entry: Entry, stamp: Stamp, since: str) -> Kept:
    return Kept(
        source.name, entry.table, entry.key, dict(entry.cells), entry.place, entry.raw, stamp.digest, stamp.fetched, since
    )


def objections(source: Source, taken: Taken, change: Change, *, may_end: bool = False) -> list[str]:
    """Return why nothing of an export is applied: it is empty, too much of it is faulty, or too much would end."""
    found: list[str] = []
    considered = taken.rows - taken.skipped
    missing = [fault.column for fault in taken.faults if fault.reason == "column"]
    if missing:
        found.append(f"{source.name}: the export lacks {', '.join(missing)}; {REMEDIES['column']}")
    elif not considered:
        found.append(f"{source.name}: the export has no rows (`only` passed over {taken.skipped}); see that it ran")
    elif len(taken.faults) > source.max_faulty * considered:
        share = f"{len(taken.faults)} of {considered} rows are faulty, more than max_faulty {source.max_faulty:g}"
        found.append(f"{source.name}: {share}; correct the mapping or the export, or raise max_faulty")
    if not may_end and len(change.ended) > source.max_ended * change.had:
        share = f"{len(change.ended)} of {change.had} rows in force would end, more than max_ended {source.max_ended:g}"
        found.append(f"{source.name}: {share}; see that the export is whole, then allow it with --allow-ended")
    return found
