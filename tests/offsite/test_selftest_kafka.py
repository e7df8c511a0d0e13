from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.core import Refused
from connectors.kafka import Cluster, partition_of
from connectors.kafka_tail import newest
from offsite.cli import selftest
from tests.real.kafka import Kafka
from tests.streams.codecs.reading_samples import good

pytestmark = pytest.mark.servers
PARTS = 4
TOPIC = "emission-monitoring"
ROW = good(time="2026-03-04T10:00:00+08:00")


@pytest.fixture
def cluster(kafka: Kafka) -> Cluster:
    made = kafka.cluster()
    admin = AdminClient(made.librdkafka())
    names = [made.named(topic) for topic in (TOPIC, "context")]
    topics = [NewTopic(name, PARTS, 1, config={"message.timestamp.type": "LogAppendTime"}) for name in names]
    for done in admin.create_topics(topics).values():
        done.result(30)
    return made


def send(cluster: Cluster, *messages: tuple[Any, Any, Any, Any], topic: str = TOPIC) -> None:
    producer = Producer(cluster.librdkafka(partitioner="murmur2"))
    for key, value, headers, part in messages:
        where = {} if part is None else {"partition": part}
        producer.produce(cluster.named(topic), value, key, headers=headers, **where)
    assert producer.flush(30) == 0


def check(cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    config = tmp_path / "offsite.toml"
    config.write_text(f'[kafka]\nbootstrap = "{cluster.bootstrap}"\nprefix = "{cluster.prefix}"\n', encoding="utf-8")
    parser = argparse.ArgumentParser()
    selftest.add(parser)
    code = selftest.run(parser.parse_args([*words, "--config", str(config), "--json"]))
    return code, json.loads(capsys.readouterr().out)


def test_messages_of_a_topic_are_checked_with_key_partition_and_header(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = [("content-type", b"application/json")]
    wrong = (partition_of("S1", PARTS) + 1) % PARTS
    body = json.dumps(ROW).encode()
    send(
        cluster,
        (b"S1", body, typed, None),
        (b"S1", body, None, None),
        (b"S1", body, typed, wrong),
        (b"S2", body, typed, None),
        (b"\xff", body, typed, 0),
        (None, body, typed, 0),
        (b"S1", b"\xff\xfe", typed, None),
        (b"S1", body, [("content-type", b"text/html")], None),
        (b"S1", json.dumps(ROW | {"time": "2999-01-01T00:00:00Z"}).encode(), typed, None),
    )
    code, found = check(cluster, tmp_path, capsys, "--topic", TOPIC)
    assert code == 1
    assert found["counts"]["messages"] == 9
    assert found["summary"] == {
        "warning.no_content_type": 1,
        "fault.wrong_partition": 1,
        "fault.wrong_key": 1,
        "fault.bad_key": 2,
        "fault.not_utf8": 1,
        "fault.bad_content_type": 1,
        "fault.future_time": 1,
    }
    [moved] = [one for one in found["findings"] if one["reason"] == "wrong_partition"]
    assert moved["source"] == f"{TOPIC}/{wrong}/0"
    assert "murmur2" in moved["found"] + moved["fix"]


def test_the_newest_messages_are_read_and_a_missing_topic_is_refused(cluster: Cluster) -> None:
    send(cluster, *((f"S{i % 7}".encode(), str(i).encode(), None, None) for i in range(40)))
    found = newest(cluster, TOPIC, 10, 0, clock=lambda: 0.0)
    assert len(found) == 10
    assert [seen.record.arrived for seen in found] == sorted(seen.record.arrived for seen in found)
    assert len(newest(cluster, TOPIC, 1000, 0, clock=lambda: 0.0)) == 40
    with pytest.raises(Refused, match="topics create"):
        newest(cluster, "video-events", 10, 0, clock=lambda: 0.0)


def test_records_of_context_are_checked(cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = [("content-type", b"application/json")]
    mark = {"kind": "mark", "site": "S1", "start": "2026-03-04T10:00:00Z", "body": {"mark": "maintenance"}}
    send(cluster, (b"S1", json.dumps(mark).encode(), typed, None), (None, b'{"kind":"tick","now":1}', typed, 2), topic="context")
    assert check(cluster, tmp_path, capsys, "--topic", "context") == (
        0,
        {"ok": True, "counts": {"messages": 2, "events": 1, "refused": 0, "records": 1}, "summary": {}, "findings": []},
    )
    send(cluster, (b"S1", b"[]", typed, None), topic="context")
    code, found = check(cluster, tmp_path, capsys, "--topic", "context")
    assert (code, found["summary"]) == (1, {"fault.bad_context": 1})
