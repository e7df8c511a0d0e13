"""What is wrong with topics, from the cluster's state alone: replicas, leaders, retention, and what readers may lose."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors.kafka_admin import Lag, Partition, TopicState
from offsite.topic_check import (
    BROKEN,
    WARNING,
    Finding,
    Wanted,
    at_risk,
    common_count,
    differences,
    extensions,
    usual_replication,
)
from streams.topics import CATALOGUE, DAY

WANTED = Wanted(partitions=2, replication=3, min_isr=2)
GOOD = {
    topic.name: TopicState(
        topic.name,
        "id",
        tuple(Partition(n, 1, (1, 2, 3), (1, 2, 3)) for n in range(WANTED.count(topic))),
        WANTED.config(topic),
    )
    for topic in CATALOGUE.values()
}
NOW = 100 * DAY


def with_config(topic: str, **config: str) -> dict[str, TopicState]:
    found = {key.replace("_", "."): value for key, value in config.items()}
    return GOOD | {topic: replace(GOOD[topic], config={**GOOD[topic].config, **found})}


def with_partition(topic: str, leader: int, *in_sync: int) -> dict[str, TopicState]:
    first, *rest = GOOD[topic].partitions
    return GOOD | {topic: replace(GOOD[topic], partitions=(replace(first, leader=leader, in_sync=in_sync), *rest))}


def only(findings: list[Finding]) -> Finding:
    [finding] = findings
    assert finding.remedy
    return finding


def test_topics_as_wanted_give_no_finding() -> None:
    assert differences(GOOD, WANTED) == []


def test_each_missing_topic_is_named() -> None:
    assert [f.topic for f in differences({}, WANTED)] == list(CATALOGUE)


@pytest.mark.parametrize(
    ("config", "check"),
    [
        ({"retention_ms": str(14 * DAY - 1)}, "retention"),
        ({"retention_bytes": "1000"}, "retention"),
        ({"cleanup_policy": "compact"}, "compaction"),
        ({"message_timestamp_type": "CreateTime"}, "log time"),
        ({"min_insync_replicas": "1"}, "in-sync replicas"),
        ({"max_message_bytes": "1000"}, "message size"),
        ({"unclean_leader_election_enable": "true"}, "leader election"),
    ],
)
def test_a_setting_that_breaks_a_promise_can_be_set_right(config: dict[str, str], check: str) -> None:
    finding = only(differences(with_config("context", **config), WANTED))
    assert (finding.grade, finding.topic, finding.check) == (BROKEN, "context", check)
    assert finding.settable is not None
    assert differences(with_config("context", **config, **dict(finding.settable)), WANTED) == []


@pytest.mark.parametrize("config", [{"retention_ms": "-1"}, {"retention_ms": str(30 * DAY)}, {"max_message_bytes": "99000000"}])
def test_more_than_wanted_is_well(config: dict[str, str]) -> None:
    assert differences(with_config("context", **config), WANTED) == []


def test_a_topic_that_nobody_can_write_to_is_told() -> None:
    finding = only(differences(with_config("alerts", min_insync_replicas="4"), WANTED))
    assert "nothing can be written" in finding.remedy


@pytest.mark.parametrize(
    ("leader", "in_sync", "grade", "remedy"),
    [
        (1, (1, 3), WARNING, "start the brokers 2"),
        (1, (1,), BROKEN, "nothing can be written; start the brokers 2, 3"),
        (-1, (), BROKEN, "nothing can be read or written; start the brokers 1, 2, 3"),
    ],
)
def test_a_broker_that_is_away_is_told(leader: int, in_sync: tuple[int, ...], grade: str, remedy: str) -> None:
    finding = only(differences(with_partition("alerts", leader, *in_sync), WANTED))
    assert (finding.grade, finding.remedy) == (grade, remedy)
    assert finding.found.startswith("partition 0: ")


def test_partitions_with_one_fault_make_one_finding() -> None:
    parts = tuple(replace(part, in_sync=(1, 3)) for part in GOOD["alerts"].partitions)
    finding = only(differences(GOOD | {"alerts": replace(GOOD["alerts"], partitions=parts)}, WANTED))
    assert finding.found == "partition 0, 1: brokers 2 are missing"


def test_too_few_copies_are_told_and_not_made() -> None:
    finding = only(differences(GOOD, replace(WANTED, replication=4, min_isr=2))[:1])
    assert (finding.check, finding.found, finding.wanted, finding.settable) == ("replication", "3", "4", None)


def test_another_number_of_partitions_is_told_and_never_repaired() -> None:
    found = GOOD | {"leads": replace(GOOD["leads"], partitions=GOOD["leads"].partitions[:1])}
    finding = only(differences(found, WANTED))
    assert (finding.topic, finding.found, finding.wanted, finding.settable) == ("leads", "1", "2", None)
    assert "sites would move away from their state" in finding.remedy


def test_what_a_cluster_usually_has() -> None:
    assert common_count({}) is None
    odd = replace(GOOD["context"], partitions=GOOD["context"].partitions[:1])
    assert common_count(GOOD | {"context": odd}) == 2
    assert [usual_replication(*given) for given in (({}, 1), ({}, 2), ({}, 5), (GOOD, 2))] == [1, 2, 3, 3]


def row(topic: str, days: float | None, lost: int = 0) -> Lag:
    return Lag("agents", topic, 1, 9, 4, 5, None if days is None else NOW - int(days * DAY), lost)


@pytest.mark.parametrize("days", [None, 0, 6.9])
def test_a_reader_that_keeps_up_is_at_no_risk(days: float | None) -> None:
    assert at_risk([row("history", days)], GOOD, NOW) == []


def test_a_reader_half_the_retention_behind_is_a_warning_and_lengthens_it() -> None:
    rows = [row("history", 7.1), row("history", 9.2), row("alerts", 1)]
    findings = at_risk(rows, GOOD, NOW)
    assert [(f.grade, f.topic, f.found) for f in findings] == [
        (WARNING, "history", "agents is 7.1 days behind in history-1"),
        (WARNING, "history", "agents is 9.2 days behind in history-1"),
    ]
    assert extensions(findings, GOOD) == {"history": 19 * DAY}
    assert at_risk(rows, with_config("history", retention_ms=str(19 * DAY)), NOW) == []


def test_a_longer_retention_is_never_shortened_and_what_is_kept_for_ever_needs_none() -> None:
    behind = [row("history", 15), row("live-state", 80)]
    assert extensions(at_risk(behind, GOOD, NOW), with_config("history", retention_ms=str(40 * DAY))) == {}
    assert at_risk(behind, with_config("history", retention_ms="-1"), NOW) == []


def test_records_deleted_unread_are_broken() -> None:
    finding = only(at_risk([row("history", 13, lost=5)], GOOD, NOW))
    assert (finding.grade, finding.found) == (BROKEN, "5 records of history-1 deleted before agents read them")
