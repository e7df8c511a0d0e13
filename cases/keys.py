"""API keys: a secret is shown once and kept only as its hash; a check answers which sites it may write for.

A secret is `osk_<id>_<43 characters>`: the id finds the row, the rest carries 256 random bits, so one SHA-256 is enough (no
dictionary can guess it), compared in constant time. Without a row the same work is done against a dummy.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from cases.audit import SYSTEM, record
from cases.clocks import format_time
from cases.db import Row, Tx, canonical
from cases.models import keys
from cases.people import who
from connectors.core import Refused

_FORM = re.compile(r"osk_([0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII)
_DUMMY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Grant:
    """What a valid key allows: its id and name, and the sites it may write for (None: all)."""

    key: str
    name: str
    sites: frozenset[str] | None

    def allows(self, site: str) -> bool:
        """Say whether the key may write for `site`."""
        return self.sites is None or site in self.sites


def create(tx: Tx, name: str, sites: Sequence[str] | None, by: str) -> Row:
    """Make a key; the returned `secret` is never shown again. No sites: it only reads. Raises Refused unless `by` is an admin."""
    actor = SYSTEM if by == SYSTEM.person else who(tx, by)
    if actor.role not in ("admin", SYSTEM.role):
        raise Refused(f"{by} is {actor.role}: only an admin makes API keys")
    if not name.strip():
        raise Refused("an API key needs a name that says who holds it")
    key = secrets.token_hex(6)
    secret = f"osk_{key}_{secrets.token_urlsafe(32)}"
    scope = None if sites is None else canonical(sorted(set(sites)))
    row = {"id": key, "name": name.strip(), "hash": _hash(secret), "sites": scope, "created": tx.now, "created_by": actor.person}
    tx.add(keys, [row])
    record(tx, actor, "key.create", key, {"name": row["name"], "sites": scope and json.loads(scope)})
    return _shown(row | {"revoked": None}) | {"secret": secret}


def listed(tx: Tx) -> list[Row]:
    """Return all keys, oldest first, without secrets."""
    return [_shown(row) for row in tx.rows(sa.select(keys).order_by(keys.c.created, keys.c.id))]


def revoke(tx: Tx, key: str, by: str) -> Row:
    """End a key at once. Raises Refused for an unknown or already revoked key, or unless `by` is an admin."""
    actor = who(tx, by)
    if actor.role != "admin":
        raise Refused(f"{by} is {actor.role}: only an admin revokes API keys")
    found = tx.row(sa.select(keys).where(keys.c.id == key).with_for_update())
    if found is None or found["revoked"] is not None:
        raise Refused(f"there is no valid API key {key!r}: see `offsite key list`")
    tx.change(keys, key, {"revoked": tx.now})
    record(tx, actor, "key.revoke", key, {"name": found["name"]})
    return _shown(found | {"revoked": tx.now})


def check(tx: Tx, secret: str) -> Grant | None:
    """Return what the secret allows, None if it is wrong or revoked."""
    form = _FORM.fullmatch(secret)
    found = tx.row(sa.select(keys).where(keys.c.id == (form[1] if form else "")))
    same = hmac.compare_digest(_hash(secret), found["hash"] if found else _DUMMY)
    if not (same and form and found and found["revoked"] is None):
        return None
    return Grant(found["id"], found["name"], None if found["sites"] is None else frozenset(json.loads(found["sites"])))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _shown(row: Row) -> Row:
    return {
        "id": row["id"],
        "name": row["name"],
        "sites": None if row["sites"] is None else json.loads(row["sites"]),
        "created": format_time(row["created"]),
        "created_by": row["created_by"],
        "revoked": format_time(row["revoked"]),
    }
