"""What other departments' sources said, kept for good: rows with their provenance, every import, and what was not taken.

Enters: changes of one source, each in one transaction with its import and its faults. Leaves: rows (facts of a site among them), imports
and faults; and two registries, the base (what the registry's own files say) and the one that was composed last. The tables stand in
a file of their own, or in the desk's database where that has a server; they are made at its first use.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

from cases.database import Database
from cases.db import Row, Tx, canonical
from connectors.core import Clock
from streams.reference_model import Fault
from streams.reference_versions import LIVE, Change, Kept

METADATA = MetaData()
Number = BigInteger().with_variant(Integer, "sqlite")
FILE = "reference.sqlite"

rows = Table(
    "reference_rows",
    METADATA,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("source", String(64), nullable=False),
    Column("filled", String(16), nullable=False),  # the table it fills
    Column("site", String(128), nullable=False),
    Column("key", Text, nullable=False),
    Column("cells", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("raw", String(32), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("fetched", BigInteger, nullable=False),
    Column("since", String(10), nullable=False),
    Column("until", String(10), nullable=False),
    Column("state", String(8), nullable=False),
    Index("ix_reference_rows_source", "source", "state"),
    Index("ix_reference_rows_site", "site", "filled"),
)
imports = Table(
    "reference_imports",
    METADATA,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("source", String(64), nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("by", String(128), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("outcome", String(16), nullable=False),  # applied | unchanged | refused
    Column("counts", Text, nullable=False),
    Column("objections", Text, nullable=False),
)
faults = Table(
    "reference_faults",
    METADATA,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("import", Number, nullable=False, index=True),
    Column("place", Text, nullable=False),
    Column("column", Text, nullable=False),
    Column("reason", String(16), nullable=False),
    Column("detail", Text, nullable=False),
)
registries = Table("reference_registries", METADATA, Column("name", String(16), primary_key=True), Column("body", Text))


@dataclass(frozen=True, slots=True)
class Import:
    """One import of a source: by whom, of what (SHA-256), how it ended, its counts, and why it was refused."""

    source: str
    at: int
    by: str
    digest: str
    outcome: str
    counts: Mapping[str, int] = field(default_factory=dict)
    objections: Sequence[str] = ()


class ReferenceStore:
    """The store at an SQLAlchemy URL; thread-safe. Nothing is asked of it before its first use, which raises Retry or Lost."""

    def __init__(self, url: str, *, clock: Clock) -> None:
        self._database, self._made = Database(url, clock=clock), False

    def _make(self) -> None:
        """Make the tables if they are not there; two processes that do so at once wait for each other."""
        if not self._made:
            self._database.do(lambda tx: METADATA.create_all(tx.conn))
            self._made = True

    def close(self) -> None:
        """Give back all connections."""
        self._database.close()

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """Open a transaction in which an import is compared and applied."""
        self._make()
        with self._database.write() as tx:
            yield tx

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """Open a short snapshot."""
        self._make()
        with self._database.read() as tx:
            yield tx


def lock(tx: Tx) -> None:
    """Let imports wait for each other: on PostgreSQL until the commit; a writing transaction of SQLite does so by itself."""
    if tx.conn.dialect.name == "postgresql":
        tx.conn.execute(sa.text("LOCK TABLE reference_registries IN EXCLUSIVE MODE"))


def kept(tx: Tx, *, source: str | None = None, site: str | None = None, state: str | None = None) -> list[Kept]:
    """Return rows in the order they came."""
    query = sa.select(rows).order_by(rows.c.id)
    for name, value in {"source": source, "site": site, "state": state}.items():
        if value is not None:
            query = query.where(rows.c[name] == value)
    return [_kept(row) for row in tx.rows(query)]


def _kept(row: Row) -> Kept:
    own = {name: row[name] for name in ("source", "place", "raw", "digest", "fetched", "since", "until", "state", "id")}
    return Kept(table=row["filled"], key=tuple(json.loads(row["key"])), cells=json.loads(row["cells"]), **own)


def _row(one: Kept) -> Row:
    own = {name: getattr(one, name) for name in ("source", "place", "raw", "digest", "fetched", "since", "until", "state")}
    return own | {
        "filled": one.table,
        "site": one.cells.get("site", ""),
        "key": canonical(list(one.key)),
        "cells": canonical(dict(one.cells)),
    }


def apply(tx: Tx, change: Change) -> None:
    """Add the new rows and close those that ended or were replaced."""
    tx.add(rows, [_row(one) for one in change.added])
    for one in change.closed:
        tx.conn.execute(sa.update(rows).where(rows.c.id == one.id).values(state=one.state, until=one.until))


def note(tx: Tx, done: Import, found: Iterable[Fault]) -> None:
    """Keep an import and what was not taken of it."""
    line = {"source": done.source, "at": done.at, "by": done.by, "digest": done.digest, "outcome": done.outcome}
    line |= {"counts": canonical(dict(done.counts)), "objections": canonical(list(done.objections))}
    number = tx.conn.execute(sa.insert(imports).values(line)).inserted_primary_key
    assert number is not None
    tx.add(
        faults,
        [{"import": number[0], "place": f.place, "column": f.column, "reason": f.reason, "detail": f.detail} for f in found],
    )


def imported(tx: Tx, source: str | None = None, limit: int = 20) -> list[Row]:
    """Return imports, the newest first, with their `id`."""
    query = sa.select(imports).order_by(imports.c.id.desc()).limit(limit)
    found = tx.rows(query if source is None else query.where(imports.c.source == source))
    return [row | {"counts": json.loads(row["counts"]), "objections": json.loads(row["objections"])} for row in found]


def last(tx: Tx, source: str) -> Row | None:
    """Return the newest import of a source."""
    return next(iter(imported(tx, source, 1)), None)


def faults_of(tx: Tx, number: int) -> list[Fault]:
    """Return what was not taken of an import."""
    found = tx.rows(sa.select(faults).where(faults.c["import"] == number).order_by(faults.c.id))
    return [Fault(row["place"], row["column"], row["reason"], row["detail"]) for row in found]


def facts(tx: Tx, site: str) -> list[Kept]:
    """Return the facts of a site in force, the newest first."""
    found = [one for one in kept(tx, site=site, state=LIVE) if one.table == "facts"]
    return sorted(found, key=lambda one: (one.cells.get("date", ""), one.key), reverse=True)


def registry(tx: Tx, name: str) -> Any:
    """Return a registry kept under `name` (base, composed, previous) as canonical JSON, parsed; None before the first."""
    text = tx.scalar(sa.select(registries.c.body).where(registries.c.name == name))
    return None if text is None else json.loads(text)


def put_registry(tx: Tx, name: str, text: str) -> None:
    """Keep a registry under `name`."""
    tx.upsert(registries, [{"name": name, "body": text}])
