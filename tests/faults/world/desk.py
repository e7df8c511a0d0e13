"""The desk of the simulated world: the inbox's own merging over two dicts, or the real desk on SQLite in memory.

Both take outputs at least once and in any cut, and both are left by a crash as they were before or after the transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Protocol

import orjson

from cases import inbox
from cases.matters import withdrawn
from cases.store import Desk
from tests.faults.world.judge import Output

ADDED = ("seen", "due", "overdue", "escalated", "shelved_until", "close_reason", "close_reason_zh", "close_reason_en")
Rows = dict[str, dict[str, Any]]


class AnyDesk(Protocol):
    """What the world asks of a desk."""

    def position(self) -> int: ...
    def project(self, outputs: Sequence[Output], position: int) -> int: ...
    def people(self, rng: Random) -> str: ...
    def alerts(self) -> Rows: ...
    def leads(self) -> Rows: ...
    def cases(self) -> list[str]: ...


class SmallDesk:
    """The inbox without a database: `cases.inbox.merged` over dicts, and one case for each lead that asked for one."""

    def __init__(self, now: int) -> None:
        self._now, self._at = now, 0
        self._alerts: Rows = {}
        self._leads: Rows = {}
        self._cases: list[str] = []

    def position(self) -> int:
        return self._at

    def project(self, outputs: Sequence[Output], position: int) -> int:
        for _, kind, _, body in sorted(outputs, key=lambda o: o[3]["seq"]):
            key = body["id"]
            if kind == "alert":
                self._alerts[key] = inbox.merged(self._alerts.get(key), body, self._now)
            else:
                self._leads[key] = inbox._merged_lead(self._leads.get(key), body)
                if body["auto_case"] and not withdrawn(body) and key not in self._cases:
                    self._cases.append(key)
                    self._leads[key]["state"] = "cased"
        self._at = max(self._at, position)
        return len(outputs)

    def people(self, rng: Random) -> str:
        waiting = [key for key, row in self._alerts.items() if row["state"] == "open"]
        if not waiting:
            return "nothing to do"
        key, state = rng.choice(waiting), rng.choice(["acked", "closed", "shelved"])
        self._alerts[key] = self._alerts[key] | {"state": state}
        return f"{state} {key[:8]}"

    def alerts(self) -> Rows:
        return {key: _said(row) for key, row in self._alerts.items()}

    def leads(self) -> Rows:
        return {key: _said(row) for key, row in self._leads.items()}

    def cases(self) -> list[str]:
        return self._cases


class RealDesk:
    """`cases.store.Desk` on SQLite in memory."""

    def __init__(self, now: int) -> None:
        self._now = now
        self.desk = Desk("sqlite://", clock=lambda: self._now)
        self.desk.put_people([{"person": "op", "name": "值班员", "role": "operator"}])

    def position(self) -> int:
        return self.desk.position()

    def project(self, outputs: Sequence[Output], position: int) -> int:
        return self.desk.project(outputs, position)

    def people(self, rng: Random) -> str:
        waiting = self.desk.alerts(state="open", limit=None)
        if not waiting:
            return "nothing to do"
        row = rng.choice(waiting)
        self.desk.act(row["id"], "ack", "op")
        return f"acked {row['id'][:8]}"

    def alerts(self) -> Rows:
        return {row["id"]: _without(row) for row in self.desk.alerts(limit=None)}

    def leads(self) -> Rows:
        return {row["id"]: _without(row) for row in self.desk.leads(limit=None)}

    def cases(self) -> list[str]:
        return [str(row["lead_id"]) for row in self.desk.cases(limit=None)]


def _said(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the judge said, and the state."""
    said: dict[str, Any] = orjson.loads(row["body"])
    return said | {"state": row["state"]}


def _without(row: dict[str, Any]) -> dict[str, Any]:
    """Return a shown row without what the desk adds, but with its state."""
    return {name: value for name, value in row.items() if name not in ADDED}
