"""Reference data in force: an export of a source enters, the registry that it changes leaves, with the books of the import.

All of an export is applied or nothing (`streams/reference_versions.py` says when nothing). The registry is composed anew of what its
own files say and what all sources say, so that the order of imports does not matter and importing again changes nothing; what people
changed in the registry meanwhile is part of its base. A crash at any point is repaired by the next import.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cases import reference_store as kept_in
from cases.db import Tx
from cases.reference_store import Import, ReferenceStore
from connectors.core import Clock, Refused, Retry
from connectors.reference import Part, pieces
from offsite.reference_sources import Configured
from streams.identity import rfc3339
from streams.limits import cst_day
from streams.reference import take
from streams.reference_fit import Fitted, fitted
from streams.reference_merge import Conflict, Tables, canonical_text, keyed, rebased, shared, tables_of
from streams.reference_model import Fault, Source, Taken
from streams.reference_rows import rows_of
from streams.reference_versions import Change, Kept, Stamp, fold, objections
from streams.registry import registry_hash, to_json
from streams.registry_model import Registry
from streams.registry_tables import RegistryFaults

_log = logging.getLogger("offsite.reference")
TRIES = 5
"""How often a registry is put that somebody else has changed in between."""


class ExportRefused(Refused):
    """Nothing of an export was applied; `faults` lists the rows at fault, each with its reason and remedy."""

    def __init__(self, message: str, faults: Sequence[Mapping[str, str]]) -> None:
        super().__init__(message)
        self.rows, self.faults = list(faults), [message, *(f"{f['place']} {f['column']}: {f['detail']}" for f in faults[:20])]


@dataclass(frozen=True, slots=True)
class Report:
    """What an import came to. `diff` has one row a change: change (new, changed, ended), key, and the cells before and after."""

    done: Import
    faults: tuple[Fault, ...] = ()
    diff: tuple[Mapping[str, Any], ...] = ()

    def books(self) -> dict[str, Any]:
        """Return it as JSON shows it: rows = taken + faulty + skipped + repeated, and what that changed."""
        own = {"source": self.done.source, "at": rfc3339(self.done.at), "sha256": self.done.digest, "outcome": self.done.outcome}
        return (
            own | dict(self.done.counts) | {"objections": list(self.done.objections), "faults": [shown(f) for f in self.faults]}
        )


@dataclass(frozen=True, slots=True)
class _Compared:
    taken: Taken
    change: Change
    conflicts: Sequence[Conflict]
    against: list[str]


def shown(fault: Fault) -> dict[str, str]:
    """Return a fault as people and programs read it."""
    told = {"place": fault.place, "column": fault.column, "reason": fault.reason, "detail": fault.detail}
    return told | {"remedy": fault.remedy}


class Reference:
    """The sources, their store, and the registry they change.

    `current()` gives the registry in force; `put(before, after)` replaces it durably, or raises Retry if it is no longer `before`.
    """

    def __init__(
        self,
        sources: Mapping[str, Configured],
        store: ReferenceStore,
        clock: Clock,
        current: Callable[[], Registry],
        put: Callable[[Registry, Registry], None],
    ) -> None:
        self.configured, self.store, self._clock = dict(sources), store, clock
        self._current, self._put = current, put
        self._sources = {name: source for name, (source, _) in sources.items()}

    def source(self, name: str) -> Configured:
        """Return a source. Raises Refused if there is none of that name."""
        if name not in self.configured:
            known = ", ".join(self.configured) or "none"
            raise Refused(f"there is no source {name!r} among [[reference]] of the settings; known are {known}")
        return self.configured[name]

    def pull(self, name: str, by: str, part: Part | None = None, *, dry: bool = False, may_end: bool = False) -> Report:
        """Fetch a source (or take `part`, which was pushed) and apply it; a `dry` run only tells what would change.

        Raises ExportRefused, Refused or Retry; then nothing has changed but the list of imports.
        """
        source, fetcher = self.source(name)
        if part is None and fetcher is None:
            raise Refused(f"{name} is pushed by its owner (POST /api/v1/reference/{name}); there is nothing to fetch")
        parts = [part] if part is not None else fetcher.fetch() if fetcher else []
        now = self._clock()
        digest = hashlib.sha256(b"".join(pieces(parts))).hexdigest()
        stamp = Stamp(digest, now, cst_day(now))
        current = self._current()
        with self.store.read() if dry else self.store.write() as tx:
            if not dry:
                kept_in.lock(tx)
            found = self._compared(tx, source, parts, stamp, current, may_end=may_end)
            report = _report(source, found, stamp, by)
            if not dry:
                if not found.against:
                    kept_in.apply(tx, found.change)
                kept_in.note(tx, report.done, report.faults)
        if found.against:
            raise ExportRefused("; ".join(found.against), [shown(fault) for fault in report.faults])
        if not dry:
            self.settle()
        return report

    def _compared(
        self, tx: Tx, source: Source, parts: Sequence[Part], stamp: Stamp, current: Registry, *, may_end: bool
    ) -> _Compared:
        """Map an export and compare it with what is kept; rows that the registry's own checks refuse are faults like others."""
        wide: list[Fault] = []
        try:
            rows = rows_of(source, parts, wide)
        except RegistryFaults as error:
            return _Compared(Taken((), ()), Change(), (), error.faults)
        taken = take(source, rows, current, wide)
        everything, base = kept_in.kept(tx), _base(tx, current)
        own = [row for row in everything if row.source == source.name]
        while True:
            change = fold(source, own, taken, stamp)
            try:
                found = fitted(base, _after(everything, change), self._sources, source.name)
            except RegistryFaults as error:
                return _Compared(taken, change, (), error.faults)
            fewer = _without(taken, found.left_out, source.name, stamp)
            if fewer is None:
                against = objections(source, taken, change, may_end=may_end)
                return _Compared(taken, change, found.composed.conflicts, against)
            taken = fewer

    def settle(self) -> bool:
        """Let the registry that base and sources make hold; return whether it was another one. Raises Retry."""
        for _ in range(TRIES):
            current = self._current()
            with self.store.write() as tx:
                kept_in.lock(tx)
                found = self._laid_down(tx, _base(tx, current), current)
            if registry_hash(found) == registry_hash(current):
                return False
            try:
                self._put(current, found)
            except Retry:
                continue  # somebody changed it in between: what they changed is part of the base
            return True
        raise Retry("the registry changes all the time; the import is kept and holds with the next one", 60.0)

    def over(self, files: Registry) -> Registry:
        """Return the registry that holds once `files` are what the registry's own files say: them and all sources."""
        with self.store.write() as tx:
            kept_in.lock(tx)
            return self._laid_down(tx, tables_of(files), self._current())

    def _laid_down(self, tx: Tx, base: Tables, current: Registry) -> Registry:
        """Keep base and composition, and what holds until the composition is put; return the registry to put."""
        found = fitted(base, kept_in.kept(tx), self._sources)
        for row, words in found.left_out:
            _log.warning("reference source %s: %s is left out of the registry: %s", row.source, row.place, words)
        kept_in.put_registry(tx, "base", canonical_text(base))
        kept_in.put_registry(tx, "composed", to_json(found.registry))
        kept_in.put_registry(tx, "previous", to_json(current))
        return found.registry

    def fitted(self, site: str | None = None) -> Fitted:
        """Return the registry with the origin of every field, the conflicts, and rows that do not fit; of one site or of all."""
        with self.store.read() as tx:
            base, rows = kept_in.registry(tx, "base"), kept_in.kept(tx, site=site)
        tables = tables_of(self._current()) if base is None else keyed(base)
        if site is not None:
            tables = {n: {k: c for k, c in t.items() if c.get("site") == site} for n, t in tables.items()}
        return fitted(tables, rows, self._sources)


def _base(tx: Tx, current: Registry) -> Tables:
    """Return what the registry's own files and people say: all but what the sources put there."""
    base, now = kept_in.registry(tx, "base"), tables_of(current)
    if base is None:
        return now
    was, put = keyed(kept_in.registry(tx, "previous")), keyed(kept_in.registry(tx, "composed"))
    return rebased(keyed(base), was if shared(now, was) > shared(now, put) else put, now)


def _after(everything: Sequence[Kept], change: Change) -> Iterator[Kept]:
    """Yield all rows as they are after a change."""
    closed = {row.id: row for row in change.closed}
    yield from (closed.get(row.id, row) for row in everything)
    last = max((row.id for row in everything), default=0)
    yield from (replace(row, id=last + k) for k, row in enumerate(change.added, 1))


def _without(taken: Taken, left_out: Sequence[tuple[Kept, str]], name: str, stamp: Stamp) -> Taken | None:
    """Return what is left without the rows of this export that do not fit, None if all of them do."""
    told = {
        row.place: words
        for row, words in left_out
        if (row.source, row.fetched, row.digest) == (name, stamp.fetched, stamp.digest)
    }
    bad = [entry for entry in taken.entries if entry.place in told]
    if not bad:
        return None
    faults = [Fault(entry.place, told[entry.place].partition(":")[0], "registry", told[entry.place]) for entry in bad]
    entries = tuple(entry for entry in taken.entries if entry.place not in told)
    return replace(taken, entries=entries, faults=(*taken.faults, *faults), seen=taken.seen | {entry.raw for entry in bad})


def _report(source: Source, found: _Compared, stamp: Stamp, by: str) -> Report:
    taken, change = found.taken, found.change
    changed = set(change.changed)
    moved = bool(change.added or change.closed)
    counts = {
        "rows": taken.rows,
        "taken": len(taken.entries),
        "skipped": taken.skipped,
        "faulty": len(taken.faults),
        "repeated": max(0, taken.rows - taken.skipped - len(taken.entries) - len(taken.faults)),
        "new": sum(row.key not in changed for row in change.added),
        "changed": len(changed),
        "ended": len(change.ended),
        "same": change.same,
        "conflicts": sum(source.name in {c.source, *(name for name, _ in c.others)} for c in found.conflicts),
    }
    outcome = "refused" if found.against else "applied" if moved else "unchanged"
    done = Import(source.name, stamp.fetched, by, stamp.digest, outcome, counts, tuple(found.against))
    return Report(done, taken.faults, tuple(_diff(change)))


def _diff(change: Change) -> Iterator[dict[str, Any]]:
    before = {row.key: row for row in change.closed}
    for row in change.added:
        old = before.get(row.key)
        kind = "changed" if old is not None else "new"
        yield {
            "change": kind,
            "key": "/".join(filter(None, row.key)),
            "before": old and dict(old.cells),
            "after": dict(row.cells),
        }
    for row in change.ended:
        yield {"change": "ended", "key": "/".join(filter(None, row.key)), "before": dict(row.cells), "after": None}
