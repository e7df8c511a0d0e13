"""The books of design §8: what came, what became of it, what it gave. Read from the stores, never from memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cases.store import Desk
from streams.store import StateStore

FATES = ("received", "accepted", "duplicate", "revised", "late", "refused")
PERIODS = ("minute", "hour", "day")


def of_counts(counts: Mapping[str, int]) -> dict[str, Any]:
    """Arrange the pipeline's counts: frames, readings by fate, windows, alerts, leads."""
    rejected = {k.removeprefix("frames.rejected."): v for k, v in sorted(counts.items()) if k.startswith("frames.rejected.")}
    accepted = counts.get("frames.accepted", 0)
    return {
        "frames": {"read": accepted + sum(rejected.values()), "accepted": accepted, "rejected": rejected},
        "readings": {fate: counts.get(f"readings.{fate}", 0) for fate in FATES},
        "windows": {period: counts.get(f"windows.{period}", 0) for period in PERIODS},
        "alerts": counts.get("alerts", 0),
        "leads": counts.get("leads", 0),
    }


def of_stores(store: StateStore, desk: Desk) -> dict[str, Any]:
    """Return the books of a running or stopped product; cases are counted at the desk."""
    return of_counts(store.books()) | {"cases": sum(desk.counts()["cases"].values())}
