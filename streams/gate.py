"""The gate of a partition: which records are put aside before anything of them is decoded (promise 4: bad data is data).

A record and the registry in force enter; a reason and words leave, or None. What belongs to another partition would be judged
beside another site's memory; what nobody registered is held until somebody does (design §3).
"""

from __future__ import annotations

from connectors.core import Record
from connectors.kafka import partition_of
from streams.registry_model import Registry
from streams.topics import MAX_MESSAGE

MOST_KEYS = 200_000
"""Keys whose verdict is remembered: a producer that invents more has them looked at again."""
Verdict = tuple[str, str] | None


class Gate:
    """The gate of one partition out of `partitions`. `infer=True` lets unregistered sites in (no registry is kept)."""

    def __init__(self, partition: int, partitions: int, *, infer: bool = False) -> None:
        self.partition, self.partitions, self.infer = partition, partitions, infer
        self._registry = Registry()
        self._verdicts: dict[str, Verdict] = {}

    def __call__(self, record: Record, registry: Registry) -> Verdict:
        """Return (reason, words) for a record that is put aside."""
        if len(record.body) > MAX_MESSAGE:
            return "oversized", f"{len(record.body)} bytes; send at most {MAX_MESSAGE} a message"
        if registry is not self._registry or len(self._verdicts) > MOST_KEYS:
            self._registry, self._verdicts = registry, {}
        try:
            return self._verdicts[record.key]
        except KeyError:
            return self._verdicts.setdefault(record.key, self._of_key(record.key))

    def _of_key(self, key: str) -> Verdict:
        if not key:
            return "bad_key", "the message key is missing or no UTF-8; use the site id as the key"
        if (right := partition_of(key, self.partitions)) != self.partition:
            return "wrong_partition", f"key {key!r} belongs to partition {right}: set the partitioner to murmur2 (Java)"
        if not self.infer and self._registry.site(key) is None:
            return "unregistered", f"nobody has registered {key!r}; register it, then drive the letter again"
        return None
