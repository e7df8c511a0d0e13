"""A registry on a real broker: it holds everywhere or nowhere, and each partition is told of its own sites."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from connectors.core import Lost, Record, Refused, Retry
from connectors.kafka import Cluster, partition_of
from connectors.kafka_sender import Sender
from offsite import kafka_registry
from offsite.cli import parser_of
from offsite.cli import registry as verb
from streams import registry as registries
from streams.records import CONTEXT
from streams.registry_model import Person, Point, Registry, Site
from streams.topics import CASE_EVENTS, REGISTRY
from tests.real.kafka import Kafka
from tests.streams.kafka_world import everything, make_topics

pytestmark = pytest.mark.servers
PARTITIONS = 3
SITES = [f"S{k:02d}" for k in range(20)]


def registry(*sites: str) -> Registry:
    return Registry(
        tuple(Site(s, f"示例{s}") for s in sites),
        tuple(Point(s, "DA001", "gas", mn=f"MN{s}") for s in sites),
        people=(Person("li", "李", "officer"),),
    )


@pytest.fixture(scope="module")
def cluster(kafka: Kafka) -> Cluster:
    made = kafka.cluster()
    make_topics(made, PARTITIONS)
    return made


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert true()


def test_it_is_published_whole_and_each_partition_hears_of_its_own_sites(cluster: Cluster) -> None:
    assert kafka_registry.current(cluster) is None
    heard: list[Registry] = []
    stop = threading.Event()
    following = threading.Thread(target=kafka_registry.follow, args=(cluster, heard.append, stop.is_set))
    kafka_registry.publish(cluster, registry("S00"), PARTITIONS)
    following.start()
    until(lambda: len(heard) == 1)
    kafka_registry.publish(cluster, registry(*SITES), kafka_registry.partitions_of(cluster))
    until(lambda: len(heard) == 2)
    stop.set()
    following.join()
    assert [len(found.sites) for found in heard] == [1, 20]
    assert kafka_registry.current(cluster) == registry(*SITES) == heard[-1]

    told = {m.partition(): orjson.loads(m.value()) for m in everything(cluster, CONTEXT)}  # the last of each
    assert sorted(told) == list(range(PARTITIONS))
    parts = {p: registries.from_json(body["text"]) for p, body in told.items()}
    for p, part in parts.items():
        wanted = [s for s in SITES if partition_of(s, PARTITIONS) == p]
        assert [s.site for s in part.sites] == wanted
        assert [one.site for one in part.points] == wanted
        assert part.people == ()


def test_a_registry_too_large_is_refused_and_nothing_is_published(cluster: Cluster) -> None:
    before = len(everything(cluster, CONTEXT)), len(everything(cluster, REGISTRY))
    large = Registry((Site("S1", "名" * 6_000_000),))
    with pytest.raises(Refused, match="leave out"):
        kafka_registry.publish(cluster, large, PARTITIONS)
    assert (len(everything(cluster, CONTEXT)), len(everything(cluster, REGISTRY))) == before


def test_missing_topics_are_named_with_the_remedy(kafka: Kafka) -> None:
    bare = kafka.cluster()
    with pytest.raises(Lost, match="offsite topics create"):
        kafka_registry.partitions_of(bare)
    with pytest.raises(Lost, match="offsite topics create"):
        kafka_registry.follow(bare, lambda _: None, lambda: False)
    with pytest.raises(Retry, match="offsite topics create"):
        Sender(bare, "desk", seconds=1).send([Record(CASE_EVENTS, "S1", -1, "application/json", b"{}")])


def test_a_sender_keeps_the_order_of_a_site_and_finds_its_partition(cluster: Cluster) -> None:
    sender = Sender(cluster, "desk")
    for start in (0, 50):
        sender.send([Record(CASE_EVENTS, SITES[k % 5], -1, "application/json", b"%d" % k) for k in range(start, start + 50)])
    found = everything(cluster, CASE_EVENTS)
    assert len(found) == 100
    for site in SITES[:5]:
        mine = [m for m in found if m.key() == site.encode()]
        assert [int(m.value()) for m in mine] == list(range(SITES.index(site), 100, 5))
        assert {m.partition() for m in mine} == {partition_of(site, PARTITIONS)}
        assert dict(mine[0].headers()) == {"content-type": b"application/json"}
    with pytest.raises(Refused, match="smaller"):
        sender.send([Record(CASE_EVENTS, "S1", -1, "application/json", random.randbytes(2 << 20))])


def test_the_verb_publishes_once_and_says_so(cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, config = tmp_path / "city", tmp_path / "offsite.toml"
    registries.save(registry("S77"), files)
    config.write_text(f'[kafka]\nbootstrap = "{cluster.bootstrap}"\nprefix = "{cluster.prefix}"\n')
    words = ["registry", "publish", "--registry", str(files), "--config", str(config), "--json"]
    told = []
    for _ in range(2):
        assert verb.run(parser_of("registry").parse_args(words)) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert [(one["changed"], one["partitions"], one["sites"]) for one in told] == [(True, PARTITIONS, 1), (False, PARTITIONS, 1)]
    found = kafka_registry.current(cluster)
    assert found is not None
    assert [site.site for site in found.sites] == ["S77"]

    config.write_text("[kafka]\n")
    assert verb.run(parser_of("registry").parse_args(words)) == 1
    assert "kafka.bootstrap" in capsys.readouterr().err
