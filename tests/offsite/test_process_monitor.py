from __future__ import annotations

from collections import Counter
from pathlib import Path

from connectors.core import Retry
from connectors.hj212.device import Counters
from offsite.monitor import Monitor
from offsite.process_monitor import Spool, agents_monitor, desk_monitor, gateway_monitor
from offsite.receipts import Receipts
from offsite.self_seen import MINUTE, Target
from offsite.settings import load_settings

NOW = 1_800_000_000_000


def standing(monitor: Monitor) -> list[tuple[str, str]]:
    monitor.look()
    return [(c["id"], c["subject"]) for c in monitor.conditions()]


def test_a_gateway_whose_spool_fills_says_so_before_it_answers_nobody(tmp_path: Path) -> None:
    settings = load_settings(None, {"data": tmp_path})
    spool = [Spool(0, 100, None)]
    receipts = Receipts(lambda: 0.0)
    monitor = gateway_monitor(settings, lambda: NOW, gateway=Counters(open=3), receipts=receipts, spool=lambda: spool[0])
    told = monitor.registry.get_sample_value
    assert standing(monitor) == []
    assert told("offsite_spool_age_seconds") == 0
    assert told("offsite_open_sockets") == 3
    spool[0] = Spool(60, 100, NOW - MINUTE)
    assert standing(monitor) == [("spool_filling", "")]
    assert told("offsite_spool_age_seconds") == 60
    spool[0] = Spool(100, 100, NOW - MINUTE)
    assert standing(monitor) == [("spool_full", "")]
    receipts.failing = "the spool is full"
    assert [fault.part for fault in monitor._faults()] == ["log", "spool_full"]


def test_agents_tell_which_store_is_away_and_which_target_fails(tmp_path: Path) -> None:
    answers: dict[str, Exception | None] = {"postgresql": None, "influxdb": None}

    def asks(name: str) -> None:
        if (error := answers[name]) is not None:
            raise error

    failures, target = Counter({"influxdb": 2}), Target(5, NOW - 6 * MINUTE, "refused")
    monitor = agents_monitor(
        load_settings(None, {"data": tmp_path}),
        lambda: NOW,
        databases={"postgresql": lambda: asks("postgresql")},
        history={"influxdb": lambda: asks("influxdb")},
        write_failures=failures,
        queues=lambda: {"province": {"queued": 9, "waiting": 5, "sent": 4, "refused": 0}},
        targets=lambda: {"province": target},
    )
    assert standing(monitor) == [("target_failing", "province")]
    answers["postgresql"] = answers["influxdb"] = Retry("connection refused")
    assert set(standing(monitor)) == {
        ("database_away", "postgresql"),
        ("history_away", "influxdb"),
        ("target_failing", "province"),
    }
    told = monitor.registry.get_sample_value
    assert told("offsite_outbound_queue", {"target": "province"}) == 5
    assert told("offsite_outbound_total", {"target": "province", "fate": "sent"}) == 4
    assert told("offsite_history_write_failures_total", {"store": "influxdb"}) == 2
    assert told("offsite_condition", {"id": "database_away"}) == 1
    assert [fault.part for fault in monitor._faults()] == ["database_away"]  # history away: charts wait, work goes on


def test_a_desk_is_not_ready_without_its_database(tmp_path: Path) -> None:
    def refused() -> None:
        raise Retry("connection refused")

    settings = load_settings(None, {"data": tmp_path})
    monitor = desk_monitor(settings, lambda: NOW, databases={"desk": refused}, history={})
    assert standing(monitor) == [("database_away", "desk")]
