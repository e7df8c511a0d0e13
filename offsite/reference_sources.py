"""The sources of reference data in the settings: `[[reference]]` tables enter, sources leave, each with what fetches it.

Every fault of all tables is named at once; nothing is fetched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cases.reference_store import FILE
from connectors.reference import KINDS, Fetcher, fetcher_of
from connectors.table import Secret, Table, TableFaults
from offsite.settings import Settings, secret
from streams.reference_model import Source, source_of

Configured = tuple[Source, Fetcher | None]
"""A source and what fetches it, None if it is pushed."""


def sources_of(
    tables: Sequence[Mapping[str, Any]], secrets: Secret = secret, sleep: Callable[[float], None] = time.sleep
) -> dict[str, Configured]:
    """Return the sources of the `[[reference]]` tables by name. Raises TableFaults with the faults of all of them."""
    found: dict[str, Configured] = {}
    faults: list[str] = []
    ranks: dict[tuple[str, int], str] = {}
    for number, values in enumerate(tables):
        place, kind = f"reference[{number}]", values.get("kind")
        if kind not in KINDS:
            faults.append(f"{place}.kind: {kind!r} is no kind of source; known are {', '.join(KINDS)}")
            continue
        table = Table(values, place, secrets)
        fetcher = fetcher_of(table, str(kind), sleep)
        source = source_of(table, values)
        if source.name in found:
            table.fault("name", f"{source.name!r} is there twice; give each source a name of its own")
        rank = source.table, source.precedence
        if source.table != "facts" and ranks.setdefault(rank, source.name) != source.name:
            table.fault("precedence", f"is that of {ranks[rank]}, which fills {source.table} too; one of them has to go first")
        try:
            table.done()
        except TableFaults as error:
            faults += error.faults
        found[source.name] = source, fetcher
    if faults:
        raise TableFaults(faults)
    return found


def faults(settings: Settings, secrets: Secret = secret) -> list[str]:
    """Return every fault of the `[[reference]]` tables; nothing is fetched."""
    try:
        sources_of(settings.reference, secrets)
    except TableFaults as error:
        return error.faults
    return []


def store_url(settings: Settings) -> str:
    """Return where reference data is kept: beside the desk where that has a database of its own, else in the data directory."""
    return settings.desk_database() if settings.desk_url else f"sqlite:///{(settings.data / FILE).resolve()}"
