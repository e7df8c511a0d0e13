"""A registry out of base and sources that passes its own checks: rows of sources that do not fit are left out and named.

Enters: what `streams.reference_merge.compose` takes. Leaves: the composition, the registry, and for every row left out the words of the
check it fails: a limit of a point that nobody registers any more, two devices of one number. The base itself has to pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from streams.reference_merge import Composed, Tables, compose
from streams.reference_model import BASE, Key, Source
from streams.reference_versions import Kept
from streams.registry_model import Registry
from streams.registry_tables import RegistryFaults, Row, build


@dataclass(frozen=True, slots=True)
class Fitted:
    """The composition, the registry it makes, and the rows left out with the reason."""

    composed: Composed
    registry: Registry
    left_out: tuple[tuple[Kept, str], ...]


def fitted(base: Tables, kept: Iterable[Kept], sources: Mapping[str, Source], prefer: str = "") -> Fitted:
    """Compose and check. Where several rows are behind one fault, that of the source `prefer` is left out, else the weakest.

    Raises RegistryFaults if the base itself is at fault.
    """
    rows, out = list(kept), dict[int, tuple[Kept, str]]()
    while True:
        composed = compose(base, [row for row in rows if row.id not in out], sources)
        named: list[tuple[str, Key]] = []
        tables = {
            table: [Row(_place(composed, named, table, key), cells) for key, cells in rows.items()]
            for table, rows in composed.tables.items()
        }
        try:
            return Fitted(composed, build(tables), tuple(out[number] for number in sorted(out)))
        except RegistryFaults as error:
            found = {row.id: (row, words) for row, words in _blamed(composed, named, error.faults, prefer)}
            if not found:
                raise
            out |= found


def _place(composed: Composed, named: list[tuple[str, Key]], table: str, key: Key) -> str:
    """Return the place under which a row is checked: a number if a source is behind it."""
    if (table, key) not in composed.behind:
        return f"{BASE} {table}"
    named.append((table, key))
    return f"#{len(named) - 1}"


def _blamed(composed: Composed, named: list[tuple[str, Key]], faults: Iterable[str], prefer: str) -> Iterator[tuple[Kept, str]]:
    """Yield the rows that faults are about, with the words of the fault."""
    for fault in faults:
        place, _, words = fault.partition(" ")
        if not place.startswith("#"):
            continue
        where = named[int(place[1:])]
        behind = composed.behind[where]
        origin = composed.origins.get(where, {}).get(words.partition(":")[0])
        own = next((row for row in behind if row.source == prefer), None)
        yield origin or own or behind[-1], words
