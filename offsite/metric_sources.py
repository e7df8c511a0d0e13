"""Sources of metrics: existing counters of gateway, ingest, books, judge and queues enter; samples of `offsite.metrics` leave.

Each function reads one thing and nothing else, so that a process puts together the sources that it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from connectors.histogram import Histogram
from connectors.hj212.device import Counters
from connectors.http import HttpCounters
from offsite.books import FATES, PERIODS
from offsite.metrics import Sample
from offsite.receipts import Receipts
from offsite.self_seen import SECOND, Snapshot
from offsite.self_watch import KINDS, Condition


def books(counts: Mapping[str, int]) -> Iterator[Sample]:
    """Show the judge's books (streams/state.py): they survive a restart, and nothing is in them twice."""
    for fate in FATES:
        yield Sample("offsite_readings_total", counts.get(f"readings.{fate}", 0), (fate,))
    for period in PERIODS:
        yield Sample("offsite_windows_total", counts.get(f"windows.{period}", 0), (period,))
    yield Sample("offsite_batches_total", counts.get("batches.accepted", 0))
    yield Sample("offsite_frames_total", counts.get("frames.accepted", 0), ("accepted",))
    yield Sample("offsite_frames_total", counts.get("frames.held", 0), ("held",))
    for name, count in counts.items():
        kind, _, rest = name.partition(".")
        if name.startswith("frames.rejected."):
            yield Sample("offsite_frames_total", count, ("rejected",))
        elif kind == "rejects":
            yield Sample("offsite_dead_letters_total", count, (rest,))
        elif kind in RAISED and rest:
            what, _, level = rest.rpartition(".")
            yield Sample(f"offsite_{kind}_total", count, (what, level))


RAISED = frozenset({"alerts", "leads"})
"""Books `alerts.RULE.LEVEL` and `leads.TYPE.LEVEL`."""


def vitals(told: Mapping[str, Any], now: int) -> Iterator[Sample]:
    """Show what a judge tells of itself (streams/vitals.py) at `now`, ms UTC; nothing before it has said anything."""
    if not told:
        return
    yield Sample("offsite_step_seconds", Histogram.from_json(told["steps"]))
    yield Sample("offsite_step_records", Histogram.from_json(told["records"]))
    yield Sample("offsite_series", told["series"])
    yield Sample("offsite_state_bytes", told["state_bytes"])
    for rule, (seconds, rows) in told["cost"].items():
        yield Sample("offsite_detector_seconds_total", seconds, (rule,))
        yield Sample("offsite_detector_rows_total", rows, (rule,))
    for partition, arrived in told["arrived"].items():
        yield Sample("offsite_log_delay_seconds", max(0, now - arrived) / SECOND, (partition,))


def failures(counts: Mapping[str, int]) -> Iterator[Sample]:
    """Show how often each rule's detector has ended a step."""
    yield from (Sample("offsite_detector_failures_total", count, (rule,)) for rule, count in counts.items())


def gateway(counters: Counters) -> Iterator[Sample]:
    """Show the gateway's books (connectors/hj212/device.py)."""
    now = counters.snapshot()
    yield Sample("offsite_open_sockets", now["open"])
    yield Sample("offsite_gateway_bytes_total", now["bytes"])
    yield Sample("offsite_gateway_unknown_device_total", now["unknown_device"])
    yield Sample("offsite_gateway_frames_total", now["accepted"], ("accepted", ""))
    for fate in ("rejected", "unstored"):
        yield from (Sample("offsite_gateway_frames_total", n, (fate, reason)) for reason, n in now[fate].items())
    yield from (Sample("offsite_gateway_acks_total", n, (code,)) for code, n in now["acks"].items())
    yield from (Sample("offsite_gateway_closed_total", n, (cause,)) for cause, n in now["closed"].items())


def ingest(counters: HttpCounters) -> Iterator[Sample]:
    """Show requests and rows of the HTTP ingest."""
    yield from (Sample("offsite_http_requests_total", n, (str(status),)) for status, n in dict(counters.status).items())
    yield from (Sample("offsite_http_rows_total", n, (fate,)) for fate, n in dict(counters.rows).items())


def outbound(queues: Mapping[str, Mapping[str, int]]) -> Iterator[Sample]:
    """Show outbound queues: target → {waiting, sent, refused …}."""
    for target, counts in queues.items():
        yield Sample("offsite_outbound_queue", counts.get("waiting", 0), (target,))
        done = {fate: count for fate, count in counts.items() if fate not in {"waiting", "queued"}}
        yield from (Sample("offsite_outbound_total", count, (target, fate)) for fate, count in done.items())


def spool(used: int, allowed: int, oldest: int | None, now: int) -> Iterator[Sample]:
    """Show a gateway's spool: bytes used and allowed, and the log time of the oldest record (ms UTC, None: empty)."""
    yield Sample("offsite_spool_bytes", used)
    yield Sample("offsite_spool_limit_bytes", allowed)
    yield Sample("offsite_spool_age_seconds", 0 if oldest is None else max(0, now - oldest) / SECOND)


def seen(snapshot: Snapshot, topic: str = "log") -> Iterator[Sample]:
    """Show what the platform sees of itself: lag by partition, free disk, certificates."""
    for part in snapshot.partitions:
        yield Sample("offsite_lag_records", max(0, part.end - part.position), (topic, part.name))
    yield from (Sample("offsite_disk_free_bytes", free, (place,)) for place, free in snapshot.free.items())
    for name, end in snapshot.expires.items():
        yield Sample("offsite_certificate_seconds", (end - snapshot.now) / SECOND, (name,))


def conditions(standing: list[Condition]) -> Iterator[Sample]:
    """Show for every kind of condition for how many subjects it stands: 0 too, so that an alert rule never lacks its series."""
    for kind in KINDS:
        yield Sample("offsite_condition", sum(c.id == kind.id for c in standing), (kind.id,))


def receipts(watched: Receipts) -> Iterator[Sample]:
    """Show how long input took to be durable, and what was not stored."""
    for name, latency in watched.latency.items():
        yield Sample("offsite_acknowledgement_seconds", latency.copy(), (name,))
    yield from (Sample("offsite_refused_total", n, (name,)) for name, n in dict(watched.refused).items())


def history(failures: Mapping[str, int]) -> Iterator[Sample]:
    """Show by store how many writes of history failed and are repeated."""
    yield from (Sample("offsite_history_write_failures_total", n, (store,)) for store, n in dict(failures).items())
