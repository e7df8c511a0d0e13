"""Views for other departments: a catalogue of what may leave, whom each row may go to, and a line in the audit for every reading.

Enters: an API key, the name of a view, and what of it is asked. Leaves: rows of the view's columns, of the sites that the key's grant
covers and of no other; what is not granted is Refused. Personal data leaves only through views that say so and are granted by name.
Grants are lines of the audit themselves (`view.grant`; the newest of a key holds), so that who might read what, and when, is proved
by the same chain as who did (promise 9).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cases.audit import Person, record
from cases.clocks import format_time
from cases.database import Database
from cases.db import Row, Tx
from cases.keys import check
from cases.models import audit, keys
from cases.people import who
from cases.view_rows import SOURCES, Ask, Page, Series, World
from connectors.core import Refused
from connectors.table import Table, TableFaults
from streams.registry_model import Registry, Site

FILE = "views.toml"
GRANT, READ = "view.grant", "view.read"
ALL = "*"
"""In a grant: every view that holds no personal data."""


@dataclass(frozen=True, slots=True)
class View:
    """One view. `where`: column of its source → the values that belong to it · `readers`, `purpose`, `basis` are for people."""

    name: str
    zh: str
    en: str
    source: str
    columns: tuple[str, ...]
    where: Mapping[str, tuple[str, ...]]
    personal: bool
    readers: str
    purpose: str
    basis: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key may read, and of which sites: of these districts (and those below them), enterprises and industries; empty is all."""

    views: tuple[str, ...] = ()
    districts: tuple[str, ...] = ()
    enterprises: tuple[str, ...] = ()
    industries: tuple[str, ...] = ()

    def allows(self, view: View) -> bool:
        """Say whether the view may be read; `*` leaves those with personal data out."""
        return view.name in self.views or (ALL in self.views and not view.personal)

    def sites(self, registry: Registry) -> frozenset[str] | None:
        """Return the sites whose rows may leave, None for all. A site that is not in the registry is nobody's."""
        if not (self.districts or self.enterprises or self.industries):
            return None
        districts = _below(registry, self.districts)

        def within(site: Site) -> bool:
            return (
                (not districts or site.district in districts)
                and (not self.enterprises or site.enterprise in self.enterprises)
                and (not self.industries or site.industry in self.industries)
            )

        return frozenset(site.site for site in registry.sites if within(site))


def _below(registry: Registry, districts: Sequence[str]) -> set[str]:
    """Return districts with all that lie below them."""
    found = set(districts)
    while more := {d.code for d in registry.districts if d.parent in found} - found:
        found |= more
    return found


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: the key's id and name, and what it was granted."""

    key: str
    name: str
    grant: Grant = field(default_factory=Grant)


def load_views(own: Path | None = None) -> dict[str, View]:
    """Return the catalogue: the product's views, and those of an own file, which replace them by name. Raises TableFaults."""
    tables = tomllib.loads((Path(__file__).parent / FILE).read_text("utf-8"))["views"]
    if own is not None and own.exists():
        try:
            tables |= tomllib.loads(own.read_text("utf-8")).get("views", {})
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise TableFaults([f"{own}: {error}"]) from error
    views: dict[str, View] = {}
    faults: list[str] = []
    for name, values in tables.items():
        table = Table({key: value for key, value in values.items() if key != "where"}, f"views.{name}", _no_secret)
        views[name] = _view(table, name, values)
        try:
            table.done()
        except TableFaults as error:
            faults += error.faults
    if faults:
        raise TableFaults(faults)
    return views


def _no_secret(reference: str) -> bytes:
    raise ValueError(f"a view has no secrets, and {reference!r} is none")


def _view(table: Table, name: str, values: Mapping[str, Any]) -> View:
    source = table.choice("source", tuple(SOURCES), "cases")
    origin = SOURCES[source]
    where = {name: _values(table, name, listed) for name, listed in _where(table, values).items()}
    columns, personal = table.texts("columns"), table.flag("personal", default=False)
    for column in columns:
        if column not in origin.columns:
            table.fault("columns", f"{source} has no {column}; it has {', '.join(origin.columns)}")
        elif column in origin.personal and not personal:
            table.fault("columns", f"{column} is personal data; leave it out or say personal = true")
    for column in where:
        if column not in origin.filters:
            table.fault(f"where.{column}", f"{source} is not filtered by it; by {', '.join(origin.filters) or 'nothing'}")
    texts = {key: table.text(key) for key in ("zh", "en", "readers", "purpose", "basis")}
    return View(name, source=source, columns=columns, where=where, personal=personal, **texts)


def _where(table: Table, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the filters of a view as they are written."""
    found = values.get("where", {})
    if not isinstance(found, Mapping):
        table.fault("where", f"{found!r} is no table of column = [values]")
        return {}
    return found


def _values(table: Table, column: str, listed: Any) -> tuple[str, ...]:
    if isinstance(listed, list) and listed and all(isinstance(one, str) for one in listed):
        return tuple(listed)
    table.fault(f"where.{column}", f'{listed!r} is no list of texts; write ["…"]')
    return ()


class Views:
    """The catalogue over the desk's database, the registry in force and the history of readings; thread-safe."""

    def __init__(
        self, database: Database, views: Mapping[str, View], registry: Callable[[], Registry], history: Series | None = None
    ) -> None:
        self._database, self.views, self._registry, self._history = database, dict(views), registry, history

    def reader(self, secret: str) -> Reader | None:
        """Return who shows this key, None if it is wrong or revoked."""
        with self._database.read() as tx:
            found = check(tx, secret)
            return None if found is None else Reader(found.key, found.name, granted(tx, found.key))

    def listed(self, reader: Reader) -> list[Row]:
        """Return what a reader may read, as the catalogue tells it."""
        return [told(view) for view in self.views.values() if reader.grant.allows(view)]

    def read(self, reader: Reader, name: str, ask: Ask) -> Page:
        """Return a page of a view. Raises Refused if it is not there or not granted, or if it can't be asked so."""
        view = self.views.get(name)
        if view is None or not reader.grant.allows(view):
            raise Refused(f"the key {reader.key} may not read {name}; its holder asks for `offsite views grant {reader.key}`")
        registry = self._registry()
        sites = reader.grant.sites(registry)
        if ask.site:
            sites = frozenset({ask.site}) if sites is None or ask.site in sites else frozenset()
        origin = SOURCES[view.source]
        with self._database.read() as tx:
            found = origin.read(World(tx, registry, self._history, sites, view.where, ask))
        rows = [{column: row.get(column) for column in view.columns} for row in found.rows]
        return Page(rows, found.next)

    def note(self, reader: Reader, name: str, ask: Ask, count: int) -> None:
        """Write into the audit who reads what of a view, and how many rows leave. Nothing leaves before this has returned."""
        asked = {key: value for key, value in asdict(ask).items() if value not in ("", None)}
        body = {"key": reader.key, "name": reader.name, "rows": count, "asked": asked}
        self._database.do(lambda tx: record(tx, Person(reader.key, "api_key"), READ, name, body))

    def grant(self, key: str, grant: Grant, by: str) -> Row:
        """Let a key read views from now on; no views takes all away. Raises Refused unless `by` is an admin, naming unknown views."""
        unknown = [name for name in grant.views if name != ALL and name not in self.views]
        if unknown:
            raise Refused(f"there is no view {', '.join(unknown)}; `offsite views list` shows all")

        def work(tx: Tx) -> Row:
            actor = who(tx, by)
            if actor.role != "admin":
                raise Refused(f"{by} is {actor.role}: only an admin grants views")
            if tx.row(sa.select(keys.c.id).where(keys.c.id == key, keys.c.revoked.is_(None))) is None:
                raise Refused(f"there is no valid API key {key!r}: see `offsite key list`")
            record(tx, actor, GRANT, key, asdict(grant))
            return {"key": key} | asdict(grant)

        return self._database.do(work)

    def grants(self) -> list[Row]:
        """Return what each valid key may read."""
        with self._database.read() as tx:
            found = tx.rows(sa.select(keys).where(keys.c.revoked.is_(None)).order_by(keys.c.created, keys.c.id))
            return [{"key": row["id"], "name": row["name"]} | asdict(granted(tx, row["id"])) for row in found]

    def readings(self, name: str | None = None, limit: int = 200) -> list[Row]:
        """Return who read what, the newest first."""
        query = sa.select(audit).where(audit.c.what == READ).order_by(audit.c.seq.desc()).limit(limit)
        with self._database.read() as tx:
            found = tx.rows(query if name is None else query.where(audit.c.subject == name))
        return [{"at": format_time(row["at"]), "view": row["subject"]} | json.loads(row["body"]) for row in found]


def granted(tx: Tx, key: str) -> Grant:
    """Return what a key was granted last; nothing if it never was."""
    query = sa.select(audit.c.body).where(audit.c.subject == key, audit.c.what == GRANT).order_by(audit.c.seq.desc()).limit(1)
    text = tx.scalar(query)
    return Grant() if text is None else Grant(**{name: tuple(value) for name, value in json.loads(text).items()})


def told(view: View) -> Row:
    """Return a view as the catalogue tells it."""
    return asdict(view) | {"columns": list(view.columns), "where": {k: list(v) for k, v in view.where.items()}}
