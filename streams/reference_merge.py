"""The registry as its own files and the sources together say it: pure, and the same whatever order they came in.

Enters: the base (what the registry's own files say), the rows of all sources, and the precedence of each. Leaves: the tables of the
registry in force, from which row every field comes, and every conflict: who won, and what the others say. A field goes to the source of
the highest precedence; limits are laid out in time, the weaker source's where the stronger one says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from streams.limits import rank_of
from streams.reference_model import BASE, BASE_PRECEDENCE, FILLED, Key, Source
from streams.reference_versions import ENDED, LIVE, REPLACED, Kept
from streams.registry_cells import read_date
from streams.registry_model import Registry
from streams.registry_tables import TABLES, cells_of
from streams.units import canonical

Tables = dict[str, dict[Key, dict[str, str]]]
DAY = timedelta(days=1)
Span = tuple[date, date]
_Said = tuple[int, str, Mapping[str, str], Kept | None]
"""What one source says of a key: its precedence, its name, its cells, and its row (of the base: none)."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two sources differ: the field, the value that holds and its source, and what the others say."""

    table: str
    key: Key
    field: str
    value: str
    source: str
    others: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Composed:
    """The tables in force, the row of a source that each field comes from, the rows behind each key, and the conflicts."""

    tables: Tables
    origins: dict[tuple[str, Key], dict[str, Kept]] = field(default_factory=dict)
    behind: dict[tuple[str, Key], list[Kept]] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)


def tables_of(registry: Registry) -> Tables:
    """Return a registry as its cells, by table and key."""
    found: Tables = {}
    for name, table in TABLES.items():
        written = (cells_of(table, row) for row in getattr(registry, name))
        found[name] = {tuple(cells.get(part, "") for part in table.key): cells for cells in written}
    return found


def keyed(rows: Mapping[str, Sequence[dict[str, str]]]) -> Tables:
    """Return the tables of a registry's canonical JSON (`registry.to_json`, parsed)."""
    return {
        name: {tuple(cells.get(part, "") for part in table.key): dict(cells) for cells in rows.get(name, ())}
        for name, table in TABLES.items()
    }


def canonical_text(tables: Tables) -> str:
    """Return tables as `keyed` reads them."""
    rows = {name: [tables[name][key] for key in sorted(tables[name])] for name in tables}
    return json.dumps(rows, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def shared(one: Tables, other: Tables) -> int:
    """Return how many rows two sets of tables have in common."""
    return sum(other.get(name, {}).get(key) == cells for name, rows in one.items() for key, cells in rows.items())


def rebased(base: Tables, composed: Tables, current: Tables) -> Tables:
    """Return the base with what people have changed in the registry since it was composed: rows and cells, new and gone."""
    done: Tables = {}
    for name in TABLES:
        was, put, now = base.get(name, {}), composed.get(name, {}), current.get(name, {})
        rows = {key: dict(cells) for key, cells in was.items() if key in now or key not in put}
        for key, cells in now.items():
            if key not in put:
                rows[key] = dict(cells)
                continue
            for column in {*cells, *put[key]}:
                if cells.get(column, "") != put[key].get(column, ""):
                    _set(rows.setdefault(key, _key_cells(name, key)), column, cells.get(column, ""))
        done[name] = rows
    return done


def _key_cells(table: str, key: Key) -> dict[str, str]:
    return {name: part for name, part in zip(TABLES[table].key, key, strict=True) if part}


def _set(cells: dict[str, str], column: str, value: str) -> None:
    if value:
        cells[column] = value
    else:
        cells.pop(column, None)


def compose(base: Tables, kept: Iterable[Kept], sources: Mapping[str, Source]) -> Composed:
    """Put base and sources together. Rows of a source that is no longer in `sources` do not count."""
    done = Composed({name: {key: dict(cells) for key, cells in base.get(name, {}).items()} for name in TABLES})
    rows: dict[str, list[Kept]] = {}
    for row in sorted(kept, key=lambda row: (row.source, row.id)):
        if row.source in sources:
            rows.setdefault(row.table, []).append(row)
    for name in FILLED:
        if name == "limits":
            _limits(done, rows.get(name, []), sources)
        elif name != "facts":
            _cells(done, name, rows.get(name, []), sources)
    return done


def _cells(done: Composed, name: str, kept: Sequence[Kept], sources: Mapping[str, Source]) -> None:
    """Fill the fields of a table's rows, each from the source of the highest precedence that says something."""
    by_key: dict[Key, list[Kept]] = {}
    for row in kept:
        by_key.setdefault(row.key, []).append(row)
    table = done.tables[name]
    for key, rows in by_key.items():
        own = table.get(key)
        makers = [row for row in rows if sources[row.source].create and row.state != REPLACED]
        if own is None and not makers:
            continue
        live = [row for row in rows if row.state == LIVE]
        if own is None and not any(row.state == LIVE for row in makers):
            last = max(makers, key=lambda row: (row.until, sources[row.source].precedence))
            table[key] = {**last.cells, "valid_to": last.until}
            done.behind[name, key] = [last]
            continue
        said: list[_Said] = [(BASE_PRECEDENCE, BASE, own or {}, None)]
        said += [(sources[row.source].precedence, row.source, row.cells, row) for row in live]
        said.sort(key=lambda one: -one[0])
        done.behind[name, key] = sorted(live, key=lambda row: -sources[row.source].precedence)
        table[key] = _fields(done, name, key, said)


def _fields(done: Composed, name: str, key: Key, said: Sequence[_Said]) -> dict[str, str]:
    cells: dict[str, str] = {}
    for column in dict.fromkeys(column for _, _, values, _ in said for column in values):
        told = [(source, values[column], row) for _, source, values, row in said if values.get(column)]
        source, value, row = told[0]
        cells[column] = value
        if row is not None:
            done.origins.setdefault((name, key), {})[column] = row
        others = tuple((other, text) for other, text, _ in told[1:] if text != value)
        if others:
            done.conflicts.append(Conflict(name, key, column, value, source, others))
    return cells


@dataclass(frozen=True, slots=True)
class _Limit:
    """A limit and the days it holds; of a source, or of the base (`row` None)."""

    precedence: int
    source: str
    cells: Mapping[str, str]
    span: Span
    row: Kept | None = None


def _limits(done: Composed, kept: Sequence[Kept], sources: Mapping[str, Source]) -> None:
    """Lay the limits of all sources out in time, one strength of source (permit, local, national) at a time."""
    groups: dict[tuple[str, ...], list[_Limit]] = {}
    for cells in done.tables["limits"].values():
        groups.setdefault(_about(cells), []).append(_Limit(BASE_PRECEDENCE, BASE, cells, span_of(cells)))
    for row in kept:
        dated = _dated(row, sources[row.source])
        if dated is not None:
            one = _Limit(sources[row.source].precedence, row.source, dated, span_of(dated), row)
            groups.setdefault(_about(dated), []).append(one)
    done.tables["limits"] = {}
    for group in groups.values():
        for limit, span in _laid_out(done, sorted(group, key=lambda one: -one.precedence)):
            _put(done, limit, span)


def _about(cells: Mapping[str, str]) -> tuple[str, ...]:
    where = [cells.get(name, "") for name in ("site", "point", "factor", "period")]
    return (*where, canonical(cells.get("unit", "")), str(rank_of(cells.get("source", ""))))


def _dated(row: Kept, source: Source) -> dict[str, str] | None:
    """Return the cells of a limit with the days it holds by what the source said, None for a version that held no day."""
    cells = dict(row.cells)
    if row.state == LIVE and source.dated:
        return cells  # days that run backwards are told by the registry's own checks
    if source.dated and row.state == REPLACED:
        return None
    if not source.dated and row.since:
        cells["valid_from"] = row.since
    if row.state in {ENDED, REPLACED}:
        cells["valid_to"] = min(cells.get("valid_to") or row.until, row.until)
    first, last = span_of(cells)
    return cells if first <= last else None


def span_of(cells: Mapping[str, str]) -> Span:
    """Return the days a limit holds, both included."""
    first, last = cells.get("valid_from"), cells.get("valid_to")
    return (read_date(first) if first else date.min), (read_date(last) if last else date.max)


def _laid_out(done: Composed, group: Sequence[_Limit]) -> Iterator[tuple[_Limit, Span]]:
    """Yield each limit with the days on which no stronger source speaks; a stronger one that differs is a conflict."""
    placed: list[_Limit] = []
    for limit in group:
        free = [limit.span]
        for other in placed:
            if other.source == limit.source or not _meet(other.span, limit.span):
                continue
            free = [rest for span in free for rest in outside(span, other.span)]
            if other.cells.get("limit") != limit.cells.get("limit"):
                key = tuple(other.cells.get(name, "") for name in TABLES["limits"].key)
                told = ((limit.source, limit.cells.get("limit", "")),)
                done.conflicts.append(Conflict("limits", key, "limit", other.cells.get("limit", ""), other.source, told))
        placed.append(limit)
        yield from ((limit, span) for span in free)


def _meet(one: Span, other: Span) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def outside(span: Span, taken: Span) -> list[Span]:
    """Return the days of `span` that are not in `taken`.

    >>> [(a.day, b.day) for a, b in outside((date(2026, 1, 1), date(2026, 1, 9)), (date(2026, 1, 3), date(2026, 1, 5)))]
    [(1, 2), (6, 9)]
    """
    if not _meet(span, taken):
        return [span]
    found = []
    if span[0] < taken[0]:
        found.append((span[0], taken[0] - DAY))
    if taken[1] < span[1]:
        found.append((taken[1] + DAY, span[1]))
    return found


def _put(done: Composed, limit: _Limit, span: Span) -> None:
    cells = dict(limit.cells)
    _set(cells, "valid_from", "" if span[0] == date.min else span[0].isoformat())
    _set(cells, "valid_to", "" if span[1] == date.max else span[1].isoformat())
    key = tuple(cells.get(name, "") for name in TABLES["limits"].key)
    done.tables["limits"][key] = cells
    if limit.row is not None:
        done.origins["limits", key] = dict.fromkeys(cells, limit.row)
        done.behind["limits", key] = [limit.row]
