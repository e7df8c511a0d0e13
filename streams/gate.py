"""The gate of a partition: which records are put aside before anything of them is decoded (promise 4: bad data is data).

A record and the registry in force enter; a reason and words leave, or None. What belongs to another partition would be judged
beside another site's memory; what nobody registered is held until somebody does (design §3).
"""

from __future__ import annotations

from dataclasses import dataclass

from connectors.core import Record
from connectors.kafka import partition_of
from streams.registry_model import Registry
from streams.topics import MAX_MESSAGE


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate of one partition out of `partitions`. `infer=True` lets unregistered sites in (no registry is kept)."""

    partition: int
    partitions: int
    infer: bool = False

    def __call__(self, record: Record, registry: Registry) -> tuple[str, str] | None:
        """Return (reason, words) for a record that is put aside."""
        if len(record.body) > MAX_MESSAGE:
            return "oversized", f"{len(record.body)} bytes; send at most {MAX_MESSAGE} a message"
        if not record.key:
            return "bad_key", "the message key is missing or no UTF-8; use the site id as the key"
        if partition_of(record.key, self.partitions) != self.partition:
            right = partition_of(record.key, self.partitions)
            return "wrong_partition", f"key {record.key!r} belongs to partition {right}: set the partitioner to murmur2 (Java)"
        if not self.infer and registry.site(record.key) is None:
            return "unregistered", f"nobody has registered {record.key!r}; register it, then drive the letter again"
        return None
