"""What a process tells Prometheus: a table of metrics, and a collector that reads existing counters when it is asked.

Samples of `sources` enter at scrape time; metric families leave. The number of series is bounded whatever is sent from outside: labels
are of closed kinds (topic, partition, fate, rule, reason, target …, never a site, an MN or a person), and past a metric's `most` label sets
every further one is counted as `other`. A source whose store is busy or away leaves its metrics out of one scrape and is counted.
"""

from __future__ import annotations

import platform
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from connectors.core import ConnectorError
from connectors.histogram import Histogram

OTHER = "other"
LONGEST = 64
"""Characters of a label: a longer one is cut."""


class Metric(NamedTuple):
    """One metric: its name, kind, labels, what it says, and how many label sets it may have."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    text: str
    most: int = 64


CATALOGUE = (
    Metric("offsite_lag_records", "gauge", ("topic", "partition"), "records of the log that are not judged yet", 1_024),
    Metric("offsite_log_delay_seconds", "gauge", ("partition",), "now minus the log time judged last", 512),
    Metric("offsite_frames_total", "counter", ("fate",), "HJ 212 frames read from the log: accepted, of them held; or rejected"),
    Metric("offsite_readings_total", "counter", ("fate",), "readings by fate; received = the sum of all others"),
    Metric("offsite_batches_total", "counter", (), "batches of readings read from the log"),
    Metric("offsite_windows_total", "counter", ("period",), "closed windows"),
    Metric("offsite_dead_letters_total", "counter", ("reason",), "refused input by reason"),
    Metric("offsite_alerts_total", "counter", ("rule", "level"), "alerts raised, with the level they were raised at", 512),
    Metric("offsite_leads_total", "counter", ("type", "level"), "violation leads raised", 128),
    Metric("offsite_detector_seconds_total", "counter", ("rule",), "seconds spent scoring, by rule", 256),
    Metric("offsite_detector_rows_total", "counter", ("rule",), "rows scored, by rule", 256),
    Metric("offsite_detector_failures_total", "counter", ("rule",), "steps that a rule's detector has ended", 256),
    Metric(
        "offsite_step_seconds",
        "histogram",
        (),
        "from the records of a step to its commit; a worker commits behind the next step, and what is waited for is the one before",
    ),
    Metric("offsite_step_records", "histogram", (), "records of a step"),
    Metric("offsite_judge_restarts_total", "counter", (), "times the judge has ended and was started again"),
    Metric("offsite_series", "gauge", (), "series that the judge remembers"),
    Metric("offsite_state_bytes", "gauge", (), "bytes of their state in memory"),
    Metric("offsite_acknowledgement_seconds", "histogram", ("input",), "from the receipt of input to its durability", 16),
    Metric("offsite_refused_total", "counter", ("input",), "frames and requests that were not stored", 16),
    Metric("offsite_gateway_frames_total", "counter", ("fate", "reason"), "frames at the gateway: accepted, rejected, unstored"),
    Metric("offsite_gateway_bytes_total", "counter", (), "bytes received from devices"),
    Metric("offsite_gateway_acks_total", "counter", ("code",), "answers to devices"),
    Metric("offsite_gateway_unknown_device_total", "counter", (), "frames of devices that nobody has registered"),
    Metric("offsite_gateway_closed_total", "counter", ("cause",), "ended connections by cause"),
    Metric("offsite_open_sockets", "gauge", (), "connections of devices"),
    Metric("offsite_http_requests_total", "counter", ("status",), "requests at the ingest port"),
    Metric("offsite_http_rows_total", "counter", ("fate",), "rows of those requests"),
    Metric("offsite_log_queue_records", "gauge", (), "records that wait to be durable"),
    Metric("offsite_held_records", "gauge", (), "records held for sites that nobody has registered"),
    Metric("offsite_spool_bytes", "gauge", (), "bytes spooled to disk while Kafka is away"),
    Metric("offsite_spool_limit_bytes", "gauge", (), "bytes that the spool may take"),
    Metric("offsite_spool_age_seconds", "gauge", (), "age of the oldest spooled record"),
    Metric("offsite_outbound_queue", "gauge", ("target",), "what waits for an outbound target"),
    Metric("offsite_outbound_total", "counter", ("target", "fate"), "what a target was offered: sent, refused, expired", 256),
    Metric("offsite_history_write_failures_total", "counter", ("store",), "writes of history that failed and are repeated", 16),
    Metric("offsite_disk_free_bytes", "gauge", ("place",), "free bytes where data, log and spool lie", 16),
    Metric("offsite_certificate_seconds", "gauge", ("certificate",), "seconds until a certificate ends"),
    Metric("offsite_condition", "gauge", ("id",), "subjects for which a condition of the platform stands; 0: none"),
    Metric("offsite_scrape_errors_total", "counter", ("source",), "scrapes in which a source could not be read", 32),
    Metric("offsite_build_info", "gauge", ("version", "python", "process"), "1; what runs here"),
)
"""Every metric of every process. A process shows those whose sources it has; docs/operate.md holds the same table."""
KNOWN = {metric.name: metric for metric in CATALOGUE}
FAMILIES: Mapping[str, Callable[..., Any]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


class Sample(NamedTuple):
    """One value of a metric; `labels` in the order of its table."""

    name: str
    value: float | Histogram
    labels: tuple[str, ...] = ()


Source = Callable[[], Iterable[Sample]]
"""Reads counters that somebody keeps anyway. May raise a ConnectorError."""


class Samples(Collector):
    """The collector: asks every source, bounds the labels, adds up what falls together."""

    def __init__(self, sources: Mapping[str, Source], process: str, version: str) -> None:
        self._sources: dict[str, Source] = {**sources, "build": lambda: [_build(process, version)]}
        self._seen: dict[str, set[tuple[str, ...]]] = {name: set() for name in KNOWN}
        self._errors: Counter[str] = Counter()
        self._lock = threading.Lock()

    def describe(self) -> Iterator[Family]:
        """Return the families without samples."""
        return iter(())

    def collect(self) -> Iterator[Family]:
        """Return what every source says now."""
        with self._lock:
            found = self._read()
        for metric in CATALOGUE:
            yield _family(metric, found.get(metric.name, {}))

    def _read(self) -> dict[str, dict[tuple[str, ...], float | Histogram]]:
        found: dict[str, dict[tuple[str, ...], float | Histogram]] = {}
        for name, source in self._sources.items():
            self._errors[name] += 0
            try:
                samples = list(source())
            except ConnectorError:
                self._errors[name] += 1
                continue
            for sample in samples:
                _add(found.setdefault(sample.name, {}), KNOWN[sample.name], self._bounded(sample), sample.value)
        found["offsite_scrape_errors_total"] = {(name,): count for name, count in self._errors.items()}
        return found

    def _bounded(self, sample: Sample) -> tuple[str, ...]:
        """Return the labels under which the sample is shown: once seen they stay, and past the bound they are `other`."""
        labels = tuple(label[:LONGEST] for label in sample.labels)
        seen = self._seen[sample.name]
        if labels not in seen and len(seen) >= KNOWN[sample.name].most:
            return (OTHER,) * len(labels)
        seen.add(labels)
        return labels


def _build(process: str, version: str) -> Sample:
    return Sample("offsite_build_info", 1.0, (version, platform.python_version(), process))


def _add(
    family: dict[tuple[str, ...], float | Histogram], metric: Metric, labels: tuple[str, ...], value: float | Histogram
) -> None:
    """Add counters up; of gauges that fall together the largest is shown."""
    before = family.get(labels)
    if isinstance(value, Histogram):
        if isinstance(before, Histogram):
            value.counts = [a + b for a, b in zip(before.counts, value.counts, strict=True)]
            value.total += before.total
        family[labels] = value
    elif isinstance(before, Histogram):
        raise TypeError(f"{metric.name}: is a histogram; its source gave a number")
    else:
        gauge = max(value, value if before is None else before)
        family[labels] = gauge if metric.kind == "gauge" else value + (before or 0.0)


def _family(metric: Metric, values: Mapping[tuple[str, ...], float | Histogram]) -> Family:
    family: Family = FAMILIES[metric.kind](metric.name, metric.text, labels=metric.labels)
    for labels, value in sorted(values.items()):
        if isinstance(value, Histogram):
            assert isinstance(family, HistogramMetricFamily)
            family.add_metric(labels, _buckets(value), value.total)
        else:
            assert isinstance(family, CounterMetricFamily | GaugeMetricFamily)
            family.add_metric(labels, value)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Return the counts up to each bound, as Prometheus wants them."""
    so_far, rows = 0, []
    for bound, count in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True):
        so_far += count
        rows.append((bound, float(so_far)))
    return rows


def registry_of(sources: Mapping[str, Source], *, process: str, version: str) -> CollectorRegistry:
    """Return a registry of its own with the sources' metrics and those of the operating system's process."""
    registry = CollectorRegistry()
    registry.register(Samples(sources, process, version))
    ProcessCollector(registry=registry)
    return registry
