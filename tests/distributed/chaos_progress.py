"""How far the product is: what is judged of the log, and what the agents have taken. Asked of the cluster, as `offsite topics lag` does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from confluent_kafka import Consumer, KafkaException, TopicPartition

from connectors.core import Retry
from connectors.kafka import Cluster
from connectors.kafka_admin import Admin, Lag, lag
from streams.topics import ALERTS, HISTORY, LEADS, SUMMARIES
from streams.worker import GROUP
from tests.distributed.chaos_load import JSON_TOPICS
from tests.distributed.product import until

PARTITIONS = 4
AGENTS = {"agents-desk": (ALERTS, LEADS, SUMMARIES), "agents-archive": (HISTORY,), "agents-influx": (HISTORY,)}
"""Group → what it reads; that of the cross-site stage may be behind, and then answers nothing."""
Place = tuple[str, int]
T = TypeVar("T")


class Progress:
    """Of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._looker = Consumer(cluster.librdkafka(group_id=cluster.named(GROUP), enable_auto_commit=False) | {"log_level": 0})

    def close(self) -> None:
        self._looker.close()

    def ends(self) -> dict[Place, int]:
        """Return where the topic of most of the load ends."""
        return self._asked(lambda admin: admin.offsets([(JSON_TOPICS[0], partition) for partition in range(PARTITIONS)]))

    def judged(self, ends: dict[Place, int]) -> bool:
        """Say whether steps are committed up to these offsets."""
        wanted = [TopicPartition(self.cluster.named(topic), partition) for topic, partition in ends]
        try:
            found = self._looker.committed(wanted, timeout=5)
        except KafkaException:
            return False  # a coordinator is being found
        return all(one.offset >= ends[self.cluster.bare(one.topic), one.partition] for one in found)

    def all_judged(self) -> bool:
        """Say whether all that the load sent is judged."""
        rows = self._asked(lambda admin: lag(admin, GROUP, JSON_TOPICS))
        return len(rows) == len(JSON_TOPICS) * PARTITIONS and not any(row.lag for row in rows)

    def all_kept(self) -> bool:
        """Say whether the agents have taken everything."""
        return not any(row.lag for row in self.left(AGENTS))

    def caught_up(self, groups: Iterable[str]) -> float:
        """Return the seconds until these agents had taken all that there was when this was called."""
        since, now = time.monotonic(), int(time.time() * 1000)
        behind: list[Lag] = []

        def done() -> bool:
            behind[:] = [row for row in self.left(groups) if row.oldest is not None and row.oldest <= now]
            return not behind

        try:
            until(done, 180)
        except AssertionError as error:
            raise AssertionError(f"the agents do not catch up: {behind}") from error
        return round(time.monotonic() - since, 1)

    def left(self, groups: Iterable[str]) -> list[Lag]:
        """Return what the groups have not taken; one that has acknowledged nothing of a partition yet has all of it before it."""

        def ask(admin: Admin) -> list[Lag]:
            rows = [row for group in groups for row in lag(admin, group, AGENTS[group])]
            known = {(row.group, row.topic, row.partition) for row in rows}
            for group in groups:
                places = [(topic, n) for topic in AGENTS[group] for n in range(1 if topic == SUMMARIES else PARTITIONS)]
                ends = admin.offsets([place for place in places if (group, *place) not in known])
                rows += [Lag(group, *place, end, 0, end, 0, 0) for place, end in ends.items() if end]
            return rows

        return self._asked(ask)

    def _asked(self, ask: Callable[[Admin], T]) -> T:
        """Ask, again while brokers are away."""
        deadline = time.monotonic() + 60
        while True:
            try:
                with Admin(self.cluster) as admin:
                    return ask(admin)
            except Retry:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)
