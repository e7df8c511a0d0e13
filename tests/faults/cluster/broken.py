"""Deliberately broken ties to the cluster: each a classic mistake of stream processing, each to be caught by the simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streams.topics import ALERTS, LEADS, LIVE_STATE
from tests.faults.cluster.broker import Entry
from tests.faults.cluster.links import MemoryLinks, MemoryTransactions
from tests.faults.cluster.world import Build


class Early(MemoryTransactions):
    """Commits the position before the step that it stands for."""

    def put(self, topic: str, partition: int, key: str | bytes, value: bytes | None, headers: Any = None) -> None:
        super().put(topic, partition, key, value, headers)
        if key == b"position//0":
            self._links.broker.log((topic, partition))[-1].state = "committed"
            self._links.broker.open[self._id].wrote.pop()


class Outside(MemoryTransactions):
    """Puts alerts and leads out outside the transaction."""

    def put(self, topic: str, partition: int, key: str | bytes, value: bytes | None, headers: Any = None) -> None:
        if topic in {ALERTS, LEADS}:
            self._links.broker.log((topic, partition)).append(Entry(str(key), value, self._links.now(), headers or {}))
        else:
            super().put(topic, partition, key, value, headers)


class Open(MemoryTransactions):
    """Lets a worker commit that no longer owns what it writes."""

    def offsets(self, membership: Any) -> None:
        """Ask nobody."""

    def end(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Commit whatever the cluster knows."""
        self._links.broker.finish(self._id, commit=True)


class EarlyLinks(MemoryLinks):
    transactions_of = Early


class OutsideLinks(MemoryLinks):
    transactions_of = Outside


class OpenLinks(MemoryLinks):
    transactions_of = Open

    def read_back(self, number: int) -> Sequence[tuple[bytes, bytes | None]]:
        """Leave open what is open, and read what is committed."""
        return [(str(entry.key).encode(), entry.value) for _, entry in self.broker.committed((LIVE_STATE, number))]


class ShortLinks(MemoryLinks):
    """Restores what is stable, instead of all that is there once it is settled."""

    def read_back(self, number: int) -> Sequence[tuple[bytes, bytes | None]]:
        """Read short of the high watermark."""
        return [(str(entry.key).encode(), entry.value) for _, entry in self.broker.committed((LIVE_STATE, number))]


BUILDS: Mapping[str, Build] = {
    "position-early": Build(EarlyLinks),
    "outputs-outside": Build(OutsideLinks),
    "restore-short": Build(ShortLinks),
    "stale-owner": Build(OpenLinks),
}
"""Name → the broken build."""
