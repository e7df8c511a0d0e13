"""The demo as a visitor meets it: real sockets, a browser's interface, a case followed from the injected fault to closing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.servers

COMMAND = (sys.executable, "-c", "from offsite.cli import main; raise SystemExit(main())", "demo")


def get(base: str, path: str) -> Any:
    with urllib.request.urlopen(base + path, timeout=10) as answer:
        return json.load(answer)


def wait_for(what: str, seconds: float, found: Any) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.5)
    raise AssertionError(f"{what}: not within {seconds:g} s")


def test_a_case_runs_from_the_fault_to_its_end_and_the_demo_stops_cleanly(tmp_path: Path) -> None:
    options = ["--data", str(tmp_path / "demo"), "--enterprises", "40", "--days", "3", "--speed", "600"]
    log = (tmp_path / "out").open("w")
    demo = subprocess.Popen([*COMMAND, *options, "--hj212", "0", "--http", "0", "--desk", "0"], stdout=log, stderr=log)
    try:
        note = tmp_path / "demo" / "run.json"
        wait_for("the ports", 60, note.exists)
        base = f"http://127.0.0.1:{json.loads(note.read_text())['desk']}"
        alerts = wait_for("an alert", 120, lambda: get(base, "/api/v1/alerts?limit=50")["alerts"])
        assert {"id", "rule", "site", "reason_zh", "level"} <= alerts[0].keys()
        closed = wait_for(
            "a closed case", 150, lambda: [c for c in get(base, "/api/v1/cases")["cases"] if c["state"] == "closed"]
        )
        case = get(base, f"/api/v1/cases/{closed[0]['id']}")
        case = case.get("case", case)
        assert [e["move"] for e in case["events"]][-3:] == ["dispatch", "verify", "close"]
        truth = json.loads((tmp_path / "demo" / "truth.json").read_text())
        assert case["site"] in {t["site"] for t in truth}
        books = get(base, "/api/v1/books")
        fates = {k: v for k, v in books["readings"].items() if k != "received"}
        assert sum(fates.values()) == books["readings"]["received"] > 10_000
        assert books["frames"]["rejected"] == {}
    finally:
        demo.send_signal(signal.SIGINT)
        code = demo.wait(30)
        log.close()
    told = (tmp_path / "out").read_text()
    assert code == 0, told
    assert "Traceback" not in told
    assert not _children(demo.pid)
    assert re.search(r"http://127\.0\.0\.1:\d+/", told)


def _children(pid: int) -> list[int]:
    """Return the processes that the demo started and left behind."""
    group = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            if parent == pid:
                group.append(int(entry.name))
    return [p for p in group if p != os.getpid()]
