"""Setting a consumer group back: topics and a log time enter, the group reads again from there. Its members must be stopped.

What the group does has to be idempotent: it does it again. Raises Refused (members run, unknown topic), Retry or Lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connectors.core import Refused
from connectors.kafka import Cluster, translate

WAIT_S = 20.0
RUNNING = ("UNKNOWN_MEMBER_ID", "NON_EMPTY_GROUP", "GROUP_SUBSCRIBED_TO_TOPIC")


def rewind(cluster: Cluster, group: str, topics: Sequence[str], instant: int) -> dict[tuple[str, int], int]:
    """Let `group` read `topics` from the first record at or after `instant` (ms UTC); return (topic, partition) → offset."""
    from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
    from confluent_kafka.admin import AdminClient

    named = cluster.named(group)
    client = Consumer(cluster.librdkafka(group_id=named, enable_auto_commit=False))
    try:
        asked = [TopicPartition(name, number, instant) for name, number in _partitions(client, cluster, topics)]
        found = client.offsets_for_times(asked, timeout=WAIT_S)
        places = [
            TopicPartition(p.topic, p.partition, p.offset if p.offset >= 0 else client.get_watermark_offsets(p, WAIT_S)[1])
            for p in found
        ]
        admin = AdminClient(cluster.librdkafka())
        for future in admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(named, places)]).values():
            for told in future.result(WAIT_S).topic_partitions:
                if told.error is not None:
                    raise _told(told.error, named)
    except KafkaException as error:
        raise _told(error.args[0], named) from error
    finally:
        client.close()
    return {(cluster.bare(p.topic), p.partition): p.offset for p in places}


def _partitions(client: Any, cluster: Cluster, topics: Sequence[str]) -> list[tuple[str, int]]:
    known = client.list_topics(timeout=WAIT_S).topics
    names = [cluster.named(topic) for topic in topics]
    missing = [name for name in names if name not in known]
    if missing:
        raise Refused(f"there is no topic {', '.join(missing)}; `offsite topics check` shows those there are")
    return [(name, number) for name in names for number in sorted(known[name].partitions)]


def _told(error: Any, group: str) -> Exception:
    if error.name() in RUNNING:
        return Refused(f"group {group} is running; stop all its processes first, then set it back")
    return translate(error, f"setting group {group} back")
