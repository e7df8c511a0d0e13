"""What the topics should be against what they are: the catalogue and the cluster's state enter, findings with remedies leave.

Pure. A number of partitions that differs is never repaired: the partition of a site follows from it, and with another number the
site would be judged without its state (promise 2). What a group may lose is found here too: Kafka deletes by age, read or not
(promise 1; docs/decisions/0006).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from connectors.kafka_admin import Lag, Partition, TopicState
from streams.topics import CATALOGUE, DAY, INPUTS, Topic

BROKEN, WARNING = "broken", "warning"
PARTITIONS = 12
"""Of a new cluster: as many workers as can share the work."""
NEVER = (
    "it is never changed, because sites would move away from their state; set another kafka.prefix, make the topics there with "
    "`offsite topics create --partitions N` and feed the recorded input again"
)
SET = "run `offsite topics create` with the same options; it sets this and leaves the data alone"


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the cluster is to keep the topics; `producer_time`: producers stamp log time (recorded input only)."""

    partitions: int
    replication: int
    min_isr: int
    producer_time: bool = False

    def config(self, topic: Topic) -> dict[str, str]:
        """Return the whole configuration of a topic, with what no default of a broker may change."""
        own = topic.config(replication=self.replication, min_isr=self.min_isr, stamped=not self.producer_time)
        return {"cleanup.policy": "delete", "retention.bytes": "-1", "unclean.leader.election.enable": "false"} | own

    def count(self, topic: Topic) -> int:
        """Return the number of partitions of a topic."""
        return 1 if topic.single else self.partitions


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. `settable` is the configuration that puts it right, if anything may."""

    grade: str
    topic: str
    check: str
    found: str
    wanted: str
    remedy: str
    settable: Mapping[str, str] | None = None


def _same(found: str, wanted: str) -> bool:
    return found == wanted


def _at_least(found: str, wanted: str) -> bool:
    return int(found) >= int(wanted)


def _at_most(found: str, wanted: str) -> bool:
    return float(found) <= float(wanted)


def _as_long(found: str, wanted: str) -> bool:
    return found == "-1" or _at_least(found, wanted)


_COMPARED: Mapping[str, tuple[str, Callable[[str, str], bool]]] = {
    "cleanup.policy": ("compaction", _same),
    "retention.ms": ("retention", _as_long),
    "retention.bytes": ("retention", _same),
    "message.timestamp.type": ("log time", _same),
    "min.insync.replicas": ("in-sync replicas", _at_least),
    "max.message.bytes": ("message size", _at_least),
    "unclean.leader.election.enable": ("leader election", _same),
    "segment.bytes": ("compaction", _at_most),
    "segment.ms": ("compaction", _at_most),
    "min.cleanable.dirty.ratio": ("compaction", _at_most),
}
"""Key of Kafka's configuration → what it is about, and whether what was found will do."""


def common_count(found: Mapping[str, TopicState]) -> int | None:
    """Return the number of partitions that the inputs have, most of them if they differ; None if there is no input."""
    counts = Counter(len(found[name].partitions) for name in INPUTS if name in found)
    return counts.most_common(1)[0][0] if counts else None


def usual_replication(found: Mapping[str, TopicState], brokers: int) -> int:
    """Return the copies that topics should have: three if there are brokers for it, and not fewer because one is away."""
    return min(3, max([brokers, *(state.replication for state in found.values())]))


def miscounted(found: Mapping[str, TopicState], wanted: Wanted) -> list[Finding]:
    """Return a finding for each topic with another number of partitions."""
    return [
        Finding(BROKEN, name, "partitions", str(count), str(should), NEVER)
        for name, state in found.items()
        if (count := len(state.partitions)) != (should := wanted.count(CATALOGUE[name]))
    ]


def differences(found: Mapping[str, TopicState], wanted: Wanted) -> list[Finding]:
    """Return everything that is not as wanted, topic by topic."""
    missing = [
        Finding(BROKEN, name, "existence", "missing", "a topic", "run `offsite topics create`; it makes what is missing")
        for name in CATALOGUE
        if name not in found
    ]
    rest = [finding for name, state in found.items() for finding in _of_topic(state, CATALOGUE[name], wanted)]
    return [*missing, *miscounted(found, wanted), *rest]


def _of_topic(state: TopicState, topic: Topic, wanted: Wanted) -> Iterator[Finding]:
    for key, should in wanted.config(topic).items():
        about, will_do = _COMPARED[key]
        if not will_do(has := state.config.get(key, ""), should):
            yield Finding(BROKEN, topic.name, about, f"{key}={has}", f"{key}={should}", SET, {key: should})
    if state.replication < wanted.replication:
        remedy = "add replicas with Kafka's own kafka-reassign-partitions; data moves, so it is not done here"
        yield Finding(BROKEN, topic.name, "replication", str(state.replication), str(wanted.replication), remedy)
    needed = int(state.config["min.insync.replicas"])
    if needed > state.replication:
        yield Finding(
            BROKEN,
            topic.name,
            "in-sync replicas",
            f"{needed} of {state.replication} needed",
            "at most all replicas",
            "nothing can be written; run `offsite topics create --min-isr N` with a smaller N",
        )
    yield from _of_partitions(state, needed)


def _of_partitions(state: TopicState, needed: int) -> Iterator[Finding]:
    """Yield what is wrong with replicas: a finding for all partitions that have the same fault."""
    same: dict[tuple[str, str, str, str], list[str]] = {}
    for part in state.partitions:
        if words := _of_partition(part, needed):
            same.setdefault(words, []).append(str(part.number))
    for (grade, check, found, remedy), numbers in same.items():
        yield Finding(grade, state.name, check, f"partition {', '.join(numbers)}: {found}", "all replicas", remedy)


def _of_partition(part: Partition, needed: int) -> tuple[str, str, str, str] | None:
    """Return grade, check, what was found and the remedy; None for a partition that is well."""
    away = ", ".join(str(broker) for broker in sorted(set(part.replicas) - set(part.in_sync)))
    if part.leader < 0:
        return BROKEN, "leader", "none", f"nothing can be read or written; start the brokers {away}"
    if len(part.in_sync) < min(needed, len(part.replicas)):
        found = f"brokers {away} are missing, {len(part.in_sync)} in sync where {needed} are needed"
        return BROKEN, "in-sync replicas", found, f"nothing can be written; start the brokers {away}"
    return (WARNING, "in-sync replicas", f"brokers {away} are missing", f"start the brokers {away}") if away else None


def at_risk(rows: Iterable[Lag], found: Mapping[str, TopicState], now: int) -> list[Finding]:
    """Return what groups have lost, and a warning where the oldest unread record has lived through half of its retention."""
    findings = []
    for row in rows:
        place, kept = f"{row.topic}-{row.partition}", _retention(found.get(row.topic))
        if row.lost:
            findings.append(
                Finding(
                    BROKEN,
                    row.topic,
                    "retention",
                    f"{row.lost} records of {place} deleted before {row.group} read them",
                    "nothing deleted unread",
                    "look for the span in the producers' own stores and send it again",
                )
            )
        elif kept and row.oldest is not None and (age := now - row.oldest) > kept // 2:
            findings.append(
                Finding(
                    WARNING,
                    row.topic,
                    "retention",
                    f"{row.group} is {age / DAY:.1f} days behind in {place}",
                    f"less than half of {kept / DAY:g} days",
                    "start what reads it, and run `offsite topics lag --extend`, which keeps the records longer",
                    {"retention.ms": str(-(-2 * age // DAY) * DAY)},
                )
            )
    return findings


def extensions(findings: Iterable[Finding], found: Mapping[str, TopicState]) -> dict[str, int]:
    """Return topic → longer retention (ms, whole days) that the warnings of `at_risk` ask for; never a shorter one."""
    longest: dict[str, int] = {}
    for finding in findings:
        asked = int((finding.settable or {}).get("retention.ms", 0))
        if asked > max(_retention(found[finding.topic]), longest.get(finding.topic, 0)):
            longest[finding.topic] = asked
    return longest


def _retention(state: TopicState | None) -> int:
    """Return how long a topic keeps its records in ms; 0 if nothing is deleted by age."""
    if state is None or "delete" not in state.config["cleanup.policy"]:
        return 0
    return max(0, int(state.config["retention.ms"]))
