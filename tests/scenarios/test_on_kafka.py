"""Every scenario on the distributed runtime: a real broker, partitions, a worker, the cross-site stage by message.

What comes out must be what the embedded runtime puts out, alert by alert and lead by lead: a change of behaviour that exists in
only one runtime is a bug (design §2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.core import HJ212, Record
from connectors.hj212.header import parse
from streams.plan.load import Plan
from streams.records import tick_of
from streams.registry_model import Registry
from tests.real.kafka import Kafka
from tests.scenarios.runner import Output, differences, run_scenario, wanted
from tests.streams.kafka_world import Writer, judge_all, make_topics, outputs_of

pytestmark = pytest.mark.servers
PARTITIONS = 2
FOLDERS = sorted(path.parent for path in Path(__file__).parent.glob("*/out.ndjson"))


def site_of(record: Record, registry: Registry | None) -> str:
    """Return the message key: the gateway knows the site of an MN."""
    if record.content_type != HJ212 or registry is None:
        return record.key
    found = registry.resolve(parse(record.body[6:]).mn, "gas") or registry.resolve(parse(record.body[6:]).mn, "water")
    return found[0] if found else record.key


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_distributed_runtime_says_the_same(kafka: Kafka, folder: Path) -> None:
    seen: list[list[Output]] = []

    def judge(plan: Plan, registry: Registry | None, log: Sequence[Record]) -> tuple[list[Output], dict[str, int]]:
        cluster = kafka.cluster()
        make_topics(cluster, PARTITIONS)
        writer = Writer(cluster, PARTITIONS)
        if registry is not None:
            writer.publish(registry, log[0].arrived - 1)
        writer.put(replace(r, key=site_of(r, registry), arrived=tick_of(r) or r.arrived) for r in log)
        books = judge_all(cluster, plan, infer=registry is None)
        outputs = outputs_of(cluster)
        seen.append(outputs)
        return outputs, books

    came = run_scenario(folder, judge)
    assert differences(came, wanted(folder)) == []
    here = {(o["kind"], o["id"]): o for o in came if o["kind"] != "books"}
    there = {(o["kind"], o["id"]): o for o in run_scenario(folder) if o["kind"] != "books"}
    assert here.keys() == there.keys(), "no second id for one episode"
    told = ("rule", "site", "point", "factor", "opened", "closed", "level", "folded", "window", "type", "families", "alerts")
    for key, output in here.items():
        assert {n: output.get(n) for n in told} == {n: there[key].get(n) for n in told}
