"""The product watched from outside: a real `offsite run`, its endpoint, promtool, and a real Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest

from connectors.hj212.commands import build
from offsite.metrics import CATALOGUE, KNOWN
from offsite.self_watch import KINDS
from tests.conftest import ROOT, need
from tests.offsite.conftest import Offsite

PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "offsite.json"
RUN = "import sys; from offsite.cli import main; sys.exit(main())"
PATIENCE = 60.0
ELSEWHERE = {"offsite_spool_", "offsite_outbound_", "offsite_history_", "offsite_certificate_"}
"""Beginnings of metrics that `offsite run` has nothing to say about until it is given targets, certificates or Kafka."""
AFTER_A_FAULT = {"offsite_detector_failures_total", "offsite_gateway_closed_total"}
SERIES = re.compile(r"\b(offsite_\w+)")


def until(true: Callable[[], Any]) -> Any:
    """Wait until it is; return what it is."""
    end = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    return found


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def series(port: int) -> dict[str, float]:
    lines = [line for line in get(port, "/metrics")[1].splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


class Product:
    """A running product: its ports, its data directory, what it has logged."""

    def __init__(self, data: Path, process: subprocess.Popen[str]) -> None:
        self.data, self.process = data, process
        assert process.stdout is not None
        self.ports: dict[str, int] = json.loads(process.stdout.readline())["ready"]
        self.metrics = self.ports["metrics"]

    def send(self, frames: bytes, answers: int) -> None:
        """Send frames and wait for their answers."""
        with socket.create_connection(("127.0.0.1", self.ports["hj212"]), timeout=PATIENCE) as device:
            device.sendall(frames)
            got = b""
            while got.count(b"CN=9014") < answers:
                got += device.recv(1 << 20)

    def judge(self) -> int:
        """Return the judge's process id."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(int(c) for c in children if b"judge_process" in Path(f"/proc/{c}/cmdline").read_bytes())

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.data.parent / "log").read_text("utf-8").splitlines()]


@contextmanager
def started(folder: Path) -> Iterator[Product]:
    arguments = [sys.executable, "-c", RUN, "run", "--data", str(folder / "data"), "--metrics", "0", "--log-format", "json"]
    arguments += ["--hj212", "0", "--http", "0", "--desk", "0"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=log, cwd=ROOT, text=True) as process,
    ):
        try:
            yield Product(folder / "data", process)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with started(tmp_path_factory.mktemp("operate")) as running:
        running.send(frame("A001"), 1)
        until(lambda: series(running.metrics).get("offsite_step_seconds_count"))
        yield running


def frame(mn: str, number: int = 0) -> bytes:
    area = f"DataTime=2026101200{number % 60:02d}00;a21026-Rtd={20 + number},a21026-Flag=N"
    return build(st="31", cn="2011", pw="123456", mn=mn, qn=f"2026101200{number % 60:02d}00001", flag=5, area=area)


def named(text: str) -> set[str]:
    """Return the metrics that an expression names."""
    return {re.sub(r"_(bucket|count|sum)$", "", n) if n not in KNOWN else n for n in SERIES.findall(text)}


def expressions() -> str:
    rules = re.findall(r"expr: (?:>-\n((?:          .*\n)+)|(.*)\n)", (PROMETHEUS / "alerts.yml").read_text("utf-8"))
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return "\n".join([*(a or b for a, b in rules), *(t["expr"] for p in panels for t in p.get("targets", []))])


@pytest.mark.servers
def test_every_metric_of_dashboard_and_alerts_is_in_a_real_scrape(product: Product) -> None:
    asked = named(expressions())
    assert len(asked) > 30
    assert asked <= set(KNOWN)
    text = get(product.metrics, "/metrics")[1]
    declared = {name for name in KNOWN if re.search(rf"^# TYPE {name} ", text, re.MULTILINE)}
    assert declared == set(KNOWN)
    told = {line.partition("{")[0].partition(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    here = {m.name for m in CATALOGUE if not m.name.startswith(tuple(ELSEWHERE))} - AFTER_A_FAULT
    silent = {name for name in here if name not in told and f"{name}_count" not in told}
    assert silent <= {
        "offsite_dead_letters_total",
        "offsite_alerts_total",
        "offsite_leads_total",
        "offsite_http_requests_total",
    } | {"offsite_http_rows_total"} | {n for n in here if n.startswith("offsite_detector_")}


@pytest.mark.servers
def test_it_is_alive_ready_and_without_conditions(product: Product) -> None:
    assert get(product.metrics, "/healthz") == (200, '{"status": "ok", "faults": []}')
    assert until(lambda: get(product.metrics, "/readyz")[0] == 200)
    assert get(product.ports["desk"], "/api/v1/conditions") == (200, '{"conditions":[]}')


@pytest.mark.servers
def test_ten_thousand_invented_devices_make_no_series(product: Product) -> None:
    product.send(b"".join(frame(f"B{number}", number) for number in range(100)), 100)
    before = series(product.metrics)
    for first in range(0, 10_000, 2_500):
        product.send(b"".join(frame(f"HOSTILE{number}", number) for number in range(first, first + 2_500)), 2_500)
    until(lambda: series(product.metrics)['offsite_frames_total{fate="held"}'] >= 10_101)
    after = series(product.metrics)
    assert after["offsite_held_records"] == 10_101
    assert "HOSTILE" not in get(product.metrics, "/metrics")[1]
    assert len(after) <= len(before) + 2  # causes of ended connections


@pytest.mark.servers
def test_a_refused_request_keeps_its_trace_into_the_log(product: Product) -> None:
    given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    url = f"http://127.0.0.1:{product.ports['http']}/api/v1/readings"
    request = urllib.request.Request(url, b"[]", {"traceparent": given, "Content-Type": "application/json"})
    with pytest.raises(HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    with refused.value as answer:
        assert answer.code == 401
        assert answer.headers["traceparent"].startswith(given[:36])
    line = until(lambda: [row for row in product.log() if row.get("trace") == given[3:35]])[0]
    assert line["msg"] == "a request was refused with 401"
    assert line["process"] == "run"


@pytest.mark.servers
def test_the_doctor_asks_the_running_product(product: Product, offsite: Offsite) -> None:
    found = [row for row in offsite("doctor", "--json", "--data", product.data).rows if row["check"] == "conditions"]
    assert [row["grade"] for row in found] == ["ok"]


@pytest.mark.servers
def test_a_judge_that_was_killed_is_counted_and_told(product: Product) -> None:
    killed = product.judge()
    subprocess.run(["/bin/kill", "-9", str(killed)], check=True)
    until(lambda: series(product.metrics)["offsite_judge_restarts_total"] == 1)
    assert any("the judge ended with -9" in row["msg"] for row in product.log())
    assert until(lambda: get(product.metrics, "/readyz")[0] == 200)


def test_alert_rules_are_checked_and_do_what_their_tests_say() -> None:
    promtool = shutil.which("promtool")
    need(promtool, "promtool (Debian package prometheus)")
    assert promtool is not None
    for arguments in (
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ):
        told = subprocess.run([promtool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False, timeout=60)
        assert told.returncode == 0, told.stdout + told.stderr


def test_every_condition_has_its_alert() -> None:
    text = (PROMETHEUS / "alerts.yml").read_text("utf-8")
    critical, warning = (set(ids.split("|")) for ids in re.findall(r"offsite_condition\{id=~\"([\w|]+)\"\}", text))
    assert critical == {kind.id for kind in KINDS if kind.severity == "critical"}
    assert warning == {kind.id for kind in KINDS if kind.severity == "warning"}


def test_every_alert_has_a_test_that_sees_it_fire() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", (PROMETHEUS / "alerts.yml").read_text("utf-8")))
    assert alerts - set(re.findall(r"Offsite\w+", (PROMETHEUS / "alerts_test.yml").read_text("utf-8"))) == set()


@pytest.mark.servers
def test_a_real_prometheus_scrapes_the_product_and_its_alert_fires(product: Product, tmp_path: Path) -> None:
    prometheus = shutil.which("prometheus")
    need(prometheus, "prometheus (Debian package)")
    assert prometheus is not None
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}\n"
        f"rule_files: [{PROMETHEUS / 'alerts.yml'}]\n"
        "scrape_configs:\n"
        f"  - {{job_name: offsite, static_configs: [{{targets: ['127.0.0.1:{product.metrics}']}}]}}\n"
    )
    port = free_port()
    arguments = [prometheus, f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}"]
    arguments.append(f"--web.listen-address=127.0.0.1:{port}")
    with (tmp_path / "log").open("w") as log, subprocess.Popen(arguments, stdout=log, stderr=log) as server:
        try:
            product.send(bad(1) + frame("A001", 7), 1)
            until(lambda: value(port, 'up{job="offsite"}') == 1)
            until(lambda: value(port, "sum(offsite_dead_letters_total)"))
            product.send(bad(300) + frame("A001", 8), 1)
            until(lambda: value(port, 'ALERTS{alertname="OffsiteDeadLetters",alertstate="firing"}') == 1)
            assert value(port, 'count(ALERTS{alertname="OffsiteDown"})') is None
        finally:
            server.terminate()
            server.wait(PATIENCE)


def bad(count: int) -> bytes:
    """Return frames whose checksum is wrong."""
    good = frame("A001")
    return (good[:-6] + b"0000\r\n") * count


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def value(port: int, query: str) -> float | None:
    """Ask Prometheus; None while it is not up or knows nothing."""
    try:
        text = get(port, "/api/v1/query?query=" + urllib.request.quote(query))[1]
        found = json.loads(text)["data"]["result"]
    except (URLError, ConnectionError, KeyError, ValueError):
        return None
    return float(found[0]["value"][1]) if found else None
