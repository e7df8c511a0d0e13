"""The topics of the distributed runtime (design §3): what each is called, is keyed by, and how Kafka must keep it.

The five inputs have one fixed number of partitions, so that all that is known of a site meets in one worker; outputs and the
changelog follow their owner's partition. A changed number would move sites away from their state: it is refused, never repaired.
"""

from __future__ import annotations

from dataclasses import dataclass

DAY = 86_400_000
LOG_DAYS = 14
"""Days that input and output topics are kept at least (design §2)."""
MB = 1 << 20
MAX_MESSAGE = MB
"""Bytes of one input message that are judged; a larger one is put aside as `oversized`, where its producer can see it."""
COMPACTED = {
    "cleanup.policy": "compact",
    "segment.bytes": str(64 * MB),
    "segment.ms": "3600000",
    "min.cleanable.dirty.ratio": "0.2",
}
"""How a topic without an end is kept: in small segments, for Kafka never compacts the one that it writes to."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: key, what it holds, days it is kept (None: compacted, for ever), largest message, and who stamps log time."""

    name: str
    key: str
    holds: str
    days: int | None = LOG_DAYS
    max_bytes: int = MB
    stamped: bool = False
    """Log time is the broker's (`LogAppendTime`): stamped once, when the log accepts the record."""
    single: bool = False
    """One partition, whatever the others have: read whole by everybody."""

    def config(self, *, replication: int, min_isr: int, stamped: bool | None = None) -> dict[str, str]:
        """Return Kafka's topic configuration. `stamped=False` lets producers stamp log time (recorded input only)."""
        by_broker = self.stamped if stamped is None else self.stamped and stamped
        kept = COMPACTED if self.days is None else {"retention.ms": str(self.days * DAY)}
        return kept | {
            "min.insync.replicas": str(min(min_isr, replication)),
            "max.message.bytes": str(self.max_bytes),
            "message.timestamp.type": "LogAppendTime" if by_broker else "CreateTime",
        }


INPUTS = ("sensor-readings", "emission-monitoring", "power-usage", "video-events", "context")
"""Co-partitioned; the order is the order of records that carry the same log time, what changes a judgement last."""
ALERTS, LEADS, CASE_EVENTS, HISTORY = "alerts", "leads", "case-events", "history"
LIVE_STATE, DEAD_LETTERS, SUMMARIES, REGISTRY = "live-state", "dead-letters", "site-summaries", "registry"
DEVICE_COMMANDS, DEVICE_REPLIES, DEVICE_PRESENCE = "device-commands", "device-replies", "device-presence"

CATALOGUE = {
    topic.name: topic
    for topic in (
        Topic(
            "sensor-readings",
            "site",
            "ambient air, surface water, noise, weather, process sensors",
            stamped=True,
            max_bytes=8 * MB,
        ),
        Topic("emission-monitoring", "site", "CEMS and effluent monitors", stamped=True, max_bytes=8 * MB),
        Topic("power-usage", "site", "power of production and treatment equipment, run states", stamped=True, max_bytes=8 * MB),
        Topic("video-events", "site", "camera and door-access events", stamped=True, max_bytes=8 * MB),
        Topic(
            "context",
            "site",
            "all else that changes a judgement: registry, marks, verdicts, ticks",
            stamped=True,
            max_bytes=16 * MB,
        ),
        Topic(ALERTS, "site", "alerts, each version with its content id and per-site sequence"),
        Topic(LEADS, "site", "violation leads, likewise"),
        Topic(CASE_EVENTS, "site", "what people did with alerts, leads and cases"),
        Topic(
            HISTORY, "partition", "judged readings with their fates, closed windows and raw frames, as Arrow", max_bytes=16 * MB
        ),
        Topic(SUMMARIES, "partition", "points found silent, for the cross-site stage", single=True),
        Topic(LIVE_STATE, "kind/name/number", "the changelog of the judge's state, in chunks", days=None, max_bytes=16 * MB),
        Topic(DEAD_LETTERS, "source", "refused input with its reason, re-drivable", max_bytes=17 * MB),
        Topic(DEVICE_COMMANDS, "site", "commands to the gateway that holds the socket"),
        Topic(DEVICE_REPLIES, "site", "what the device answered"),
        Topic(
            DEVICE_PRESENCE,
            "gateway",
            "the devices that are connected to each gateway, and when they were heard last",
            days=None,
            max_bytes=4 * MB,
            single=True,
        ),
        Topic(
            REGISTRY,
            "registry",
            "the registry in force, for gateways, desks and agents",
            days=None,
            max_bytes=16 * MB,
            single=True,
        ),
    )
}
