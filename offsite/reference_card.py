"""What a site's card shows of other departments: facts, where each field comes from, and where sources differ.

Enters: the sources and a site. Leaves: plain JSON; every value names its source, department, fetch time, row and file hash.
"""

from __future__ import annotations

from typing import Any

from cases import reference_store
from offsite.reference import Reference
from streams.identity import rfc3339
from streams.reference_merge import Conflict
from streams.reference_versions import Kept


def card(reference: Reference, site: str) -> dict[str, Any]:
    """Return `{facts, fields, conflicts, left_out}` of a site; four empty lists if no source says anything of it."""
    with reference.store.read() as tx:
        facts = reference_store.facts(tx, site)
    fitted = reference.fitted(site)
    composed = fitted.composed
    fields = [
        {"table": table, "key": _key(key), "field": column, "value": composed.tables[table][key].get(column, "")}
        | provenance(reference, row)
        for (table, key), origins in sorted(composed.origins.items())
        for column, row in origins.items()
    ]
    return {
        "facts": [dict(row.cells) | provenance(reference, row) for row in facts],
        "fields": fields,
        "conflicts": [conflict(one) for one in composed.conflicts],
        "left_out": [{"reason": words} | provenance(reference, row) for row, words in fitted.left_out],
    }


def provenance(reference: Reference, row: Kept) -> dict[str, Any]:
    """Return where a row comes from."""
    configured = reference.configured.get(row.source)
    return {
        "source": row.source,
        "department": configured[0].department if configured else "",
        "fetched": rfc3339(row.fetched),
        "row": row.place,
        "sha256": row.digest,
    }


def conflict(one: Conflict) -> dict[str, Any]:
    """Return a conflict as people and programs read it."""
    others = [{"source": source, "value": value} for source, value in one.others]
    return {"table": one.table, "key": _key(one.key), "field": one.field, "value": one.value, "source": one.source} | {
        "others": others
    }


def _key(key: tuple[str, ...]) -> str:
    return "/".join(filter(None, key))
