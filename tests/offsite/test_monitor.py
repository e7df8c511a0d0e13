from __future__ import annotations

import asyncio
import json
import logging
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from connectors.metrics import Fault
from offsite.monitor import Monitor, certificate_ends
from offsite.self_seen import Snapshot


def ask(port: int, path: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            body = answer.read()
            return answer.status, body.decode() if path == "/metrics" else json.loads(body)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_condition_is_a_figure_a_line_and_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    seen = [Snapshot(1_000_000, free={"data": 1 << 20})]
    faults: list[Fault] = []
    monitor = Monitor("run", snapshot=lambda: seen[0], sources={}, ready=lambda: faults)
    caplog.set_level(logging.INFO)
    port = monitor.start(0)
    try:
        status, body = ask(port, "/readyz")
        assert status == 503
        assert [f["part"] for f in body["faults"]] == ["disk_full"]
        assert 'offsite_condition{id="disk_full"} 1.0' in ask(port, "/metrics")[1]
        assert ask(port, "/conditions")[1][0]["zh"].startswith("磁盘已满")
        monitor.look()
        seen[0] = replace(seen[0], free={"data": 1 << 40})
        monitor.look()
        assert ask(port, "/readyz")[0] == 200
        faults.append(Fault("log", "gone", "restart"))
        assert ask(port, "/readyz")[0] == 503
        assert 'offsite_condition{id="disk_full"} 0.0' in ask(port, "/metrics")[1]
    finally:
        monitor.close()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2  # once when it came, once when it went
    assert told[0].startswith("The disk is full (data): 1 MB are left")
    assert told[1].startswith("over: The disk is full")


def test_a_loop_that_stands_still_is_not_alive() -> None:
    now = [0.0]
    monitor = Monitor("gateway", snapshot=lambda: Snapshot(1), sources={}, monotonic=lambda: now[0])
    port = monitor.start(0)
    try:
        assert ask(port, "/healthz")[0] == 200
        now[0] = 31.0
        assert ask(port, "/healthz")[0] == 503
        assert ask(port, "/readyz")[0] == 503

        async def turn() -> None:
            beating = asyncio.create_task(monitor.beat(0.001))
            await asyncio.sleep(0.01)
            beating.cancel()

        asyncio.run(turn())
        assert ask(port, "/healthz")[0] == 200
    finally:
        monitor.close()


def test_without_a_port_it_looks_and_serves_nothing() -> None:
    monitor = Monitor("run", snapshot=lambda: Snapshot(1, databases_away={"desk": "down"}), sources={})
    assert monitor.start(-1) == -1
    assert [c["id"] for c in monitor.conditions()] == ["database_away"]
    monitor.close()


def test_the_end_of_a_certificate_is_read_and_a_broken_file_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    end = datetime(2031, 5, 6, tzinfo=UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, end - timedelta(days=9), end).sign(key, hashes.SHA256())
    (tmp_path / "good.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "bad.pem").write_text("no certificate")
    ends = certificate_ends([tmp_path / "good.pem", tmp_path / "bad.pem", tmp_path / "none.pem", None])
    assert ends == {"good.pem": round(end.timestamp() * 1000)}
    assert [r.getMessage().split()[1].rpartition("/")[2] for r in caplog.records] == ["bad.pem", "none.pem"]
