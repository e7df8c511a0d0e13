"""The worker's consumer: which ends of partitions it tells."""

from __future__ import annotations

import pytest

pytest.importorskip("confluent_kafka", reason="the distributed runtime is not installed")

from connectors.core import JSON, Record
from connectors.kafka_inputs import Polled, _standing


def record(topic: str, partition: int, offset: int) -> Record:
    return Record(topic, "S1", 0, JSON, b"{}", offset, partition)


def test_an_end_that_records_of_the_same_poll_lie_behind_is_not_told() -> None:
    polled = Polled([record("power-usage", 0, 7), record("power-usage", 0, 8)], [("power-usage", 0, 7)])
    assert _standing(polled) == [], "the input goes on: it has to be waited for"


def test_an_end_behind_the_last_record_is_told_and_other_partitions_do_not_matter() -> None:
    ends = [("power-usage", 0, 9), ("power-usage", 1, 0), ("context", 0, 3)]
    polled = Polled([record("power-usage", 0, 8), record("power-usage", 2, 50)], ends)
    assert _standing(polled) == ends
