"""Reference data past one machine: the registry that a real broker holds is changed by a pull, and by nothing else."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from offsite import kafka_registry
from offsite.cli import reference as verb
from streams.registry_model import Person, Point, Registry, Site
from tests.real.kafka import Kafka
from tests.streams.kafka_world import make_topics

pytestmark = pytest.mark.servers
REGISTRY = Registry((Site("S1", "One"),), (Point("S1", "DA001", "gas"),), people=(Person("li", "李", "officer"),))
SOURCE = """
[[reference]]
kind = "file"
name = "permits"
department = "行政审批局"
table = "limits"
location = "{folder}/permits.csv"
columns = {{ "site" = "site", "point" = "point", "factor" = "factor", "limit" = "limit" }}
fixed = {{ period = "hour", unit = "mg/m3" }}
"""


def test_a_pull_publishes_the_registry_once(kafka: Kafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster = kafka.cluster()
    make_topics(cluster, 2)
    kafka_registry.publish(cluster, REGISTRY, 2)
    (tmp_path / "permits.csv").write_text("site,point,factor,limit\nS1,DA001,a21026,35\n", "utf-8")
    config = tmp_path / "offsite.toml"
    head = f'data = "{tmp_path}/data"\n[kafka]\nbootstrap = "{cluster.bootstrap}"\nprefix = "{cluster.prefix}"\n'
    config.write_text(head + SOURCE.format(folder=tmp_path), "utf-8")
    parser = argparse.ArgumentParser()
    verb.add(parser)
    for outcome in ("applied", "unchanged"):
        assert verb.run(parser.parse_args(["pull", "permits", "--config", str(config), "--json"])) == 0
        assert json.loads(capsys.readouterr().out)["outcome"] == outcome
        found = kafka_registry.current(cluster)
        assert found is not None
        assert [one.limit.high for one in found.limits] == [35.0]
        assert (found.people, found.points) == (REGISTRY.people, REGISTRY.points)
