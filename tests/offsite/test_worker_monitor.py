"""A real worker on a real broker, watched."""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from connectors.core import JSON, Record
from offsite.settings import load_settings
from offsite.worker_monitor import worker_monitor
from streams.identity import rfc3339
from streams.plan import load_plan
from streams.plan.load import MINUTE
from streams.registry_model import Point, Registry, Site
from streams.worker import KafkaLinks, Setting, Worker
from tests.real.kafka import Kafka
from tests.streams.driven import T0
from tests.streams.kafka_world import CrossSite, Writer, make_topics

pytestmark = pytest.mark.servers
SITES = ("S1", "S2", "S3", "S4")
ROWS = 30


def records() -> list[Record]:
    made = []
    for minute in range(ROWS):
        at = T0 + minute * MINUTE
        for site in SITES:
            row = {"site": site, "point": "DA001", "factor": "a21026", "time": rfc3339(at), "value": 20.0 + minute, "flag": "N"}
            body = json.dumps(row | {"period": "realtime", "stat": "rtd"}).encode()
            made.append(Record("emission-monitoring", site, at + 1_000, JSON, body))
    return made


def test_a_workers_lag_books_costs_and_health_are_told(kafka: Kafka, tmp_path: Path) -> None:
    cluster, plan, partitions = kafka.cluster(), load_plan(None), 2
    make_topics(cluster, partitions)
    writer = Writer(cluster, partitions)
    writer.publish(Registry(sites=[Site(s) for s in SITES], points=[Point(s, "DA001", "gas") for s in SITES]), T0 - 1)
    writer.put(records())
    setting = Setting("w1", pause=0.01)
    worker = Worker(KafkaLinks(cluster, setting), plan, setting, clock=lambda: 0)
    stage = CrossSite(cluster, plan)
    monitor = worker_monitor(worker, load_settings(None, {"data": tmp_path}), lambda: T0 + ROWS * MINUTE)
    port = monitor.start(0)
    try:
        assert [f.part for f in monitor._faults()] == ["partitions"]
        deadline = time.monotonic() + 60
        while not worker.parts or not all(part.merge.idle for part in worker.parts.values()):
            worker.run_once()
            monitor.pulse.beat()
            stage.look()
            assert time.monotonic() < deadline
        monitor.look()
        told = monitor.registry.get_sample_value
        assert told("offsite_readings_total", {"fate": "accepted"}) == ROWS * len(SITES)
        for partition in ("0", "1"):
            assert told("offsite_lag_records", {"topic": "emission-monitoring", "partition": partition}) == 0
            delay = told("offsite_log_delay_seconds", {"partition": partition})
            assert delay is not None
            assert delay <= 120
        assert (told("offsite_detector_rows_total", {"rule": "out-of-range"}) or 0) == ROWS * len(SITES)
        assert (told("offsite_step_seconds_count") or 0) >= 1
        assert monitor.conditions() == []
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            assert answer.status == 200
        number, part = next(iter(worker.parts.items()))
        part.merge.inputs["emission-monitoring"].position -= 5  # as if five more had been announced than judged
        assert told("offsite_lag_records", {"topic": "emission-monitoring", "partition": str(number)}) == 5
    finally:
        monitor.close()
        worker.close()
