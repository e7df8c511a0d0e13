"""The figures of a process: bounded whatever is sent, exact where they are added up, and the same table in code and handbook."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from connectors.core import Retry
from connectors.histogram import Histogram
from connectors.hj212.device import Counters
from offsite import metric_sources
from offsite.metrics import CATALOGUE, KNOWN, Sample, Source, registry_of
from tests.conftest import ROOT


def registry(**sources: Source) -> CollectorRegistry:
    return registry_of(sources, process="test", version="0")


def value(found: CollectorRegistry, name: str, **labels: str) -> float | None:
    return found.get_sample_value(name, labels)


def series(found: CollectorRegistry) -> set[str]:
    return {line.rpartition(" ")[0] for line in generate_latest(found).decode().splitlines() if not line.startswith("#")}


def test_invented_labels_become_other_and_nothing_is_lost() -> None:
    counters = Counters()
    found = registry(gateway=lambda: metric_sources.gateway(counters))
    counters.rejected.update(crc=5)
    generate_latest(found)
    sizes = []
    for round_ in range(1, 4):
        for number in range(10_000):
            counters.rejected[f"invented {round_} {number}"] += 1
            counters.closed["x" * number] += 1
        sizes.append(len(series(found)))
    assert sizes[0] == sizes[1] == sizes[2]
    assert value(found, "offsite_gateway_frames_total", fate="rejected", reason="crc") == 5
    told = [s.value for m in found.collect() if m.name == "offsite_gateway_frames" for s in m.samples]
    assert sum(told) == 30_005


def test_a_series_once_shown_goes_on() -> None:
    """What is shown under its own name stays there: a counter never falls because others came."""
    counts = {"crc": 1}
    found = registry(one=lambda: [Sample("offsite_dead_letters_total", n, (reason,)) for reason, n in counts.items()])
    generate_latest(found)
    names = [f"a{number}" for number in range(500)]
    random.Random(7).shuffle(names)
    shown: dict[tuple[str, ...], float] = {}
    for name in names:
        counts[name] = 1
        counts["crc"] += 1
        now = {tuple(s.labels.values()): s.value for m in found.collect() if m.name == "offsite_dead_letters" for s in m.samples}
        assert all(now[labels] >= before for labels, before in shown.items())
        shown = now
    assert shown["crc",] == counts["crc"]


def test_what_falls_together_is_added_up_and_of_gauges_the_largest_is_shown() -> None:
    def source() -> Iterator[Sample]:
        yield from (Sample("offsite_gateway_acks_total", 2, ("9014",)) for _ in range(3))
        yield from (Sample("offsite_log_delay_seconds", n, ("0",)) for n in (1.0, 7.0, 3.0))
        for seconds in (0.003, 0.3):
            one = Histogram()
            one.observe(seconds)
            yield Sample("offsite_step_seconds", one)

    found = registry(one=source)
    assert value(found, "offsite_gateway_acks_total", code="9014") == 6
    assert value(found, "offsite_log_delay_seconds", partition="0") == 7
    assert value(found, "offsite_step_seconds_bucket", le="0.005") == 1
    assert value(found, "offsite_step_seconds_bucket", le="+Inf") == 2
    assert value(found, "offsite_step_seconds_count") == 2
    assert value(found, "offsite_step_seconds_sum") == pytest.approx(0.303)


def test_a_store_that_is_away_costs_its_own_figures_only() -> None:
    def away() -> Iterator[Sample]:
        yield Sample("offsite_series", 1)
        raise Retry("the file is locked")

    found = registry(store=away, sockets=lambda: [Sample("offsite_open_sockets", 4)])
    assert value(found, "offsite_open_sockets") == 4
    assert value(found, "offsite_series") is None
    assert value(found, "offsite_scrape_errors_total", source="store") == 3  # the third scrape in this test
    assert value(found, "offsite_scrape_errors_total", source="sockets") == 0


def test_books_are_shown_by_fate_rule_and_level() -> None:
    counts = {
        "readings.received": 10,
        "readings.accepted": 8,
        "readings.late": 2,
        "frames.accepted": 3,
        "frames.rejected.crc": 1,
        "frames.rejected.noise": 2,
        "rejects.bad_value": 4,
        "alerts": 3,
        "alerts.exceed-hour.2": 3,
        "leads": 1,
        "leads.two-families.1": 1,
        "context.mark": 9,
    }
    found = registry(books=lambda: metric_sources.books(counts))
    assert value(found, "offsite_readings_total", fate="late") == 2
    assert value(found, "offsite_readings_total", fate="revised") == 0
    assert value(found, "offsite_frames_total", fate="rejected") == 3
    assert value(found, "offsite_dead_letters_total", reason="bad_value") == 4
    assert value(found, "offsite_alerts_total", rule="exceed-hour", level="2") == 3
    assert value(found, "offsite_leads_total", type="two-families", level="1") == 1


def test_names_follow_the_conventions() -> None:
    assert len(KNOWN) == len(CATALOGUE)
    for metric in CATALOGUE:
        assert metric.name.startswith("offsite_")
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert not {"site", "mn", "person", "user", "peer"} & set(metric.labels)


def test_the_handbook_holds_the_same_table() -> None:
    rows = [f"| `{m.name}` | {m.kind} | {', '.join(m.labels)} | {m.text} |" for m in CATALOGUE]
    text = (ROOT / "docs" / "operate.md").read_text("utf-8")
    told = [line for line in text.splitlines() if line.startswith("| `offsite_")]
    assert told == rows
