"""SIGKILL in the middle of projecting: what the database then holds is whole, and going on loses and doubles nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cases.store import Desk
from tests.cases.made import Hand, alert, lead, outputs, template
from tests.conftest import ROOT

pytestmark = pytest.mark.faults

STEP = 20
CHILD = """
import sys
from tests.cases.made import Hand
from tests.cases.test_kill import step
from cases.store import Desk
desk = Desk(sys.argv[1], clock=Hand(), migrate=False)
print("ready", flush=True)
while True:
    step(desk)
"""


def step(desk: Desk) -> None:
    """Project the next alerts, and one lead that opens a case."""
    at = desk.position()
    rows = [alert(f"a{k}", k) for k in range(at + 1, at + STEP)]
    desk.project(outputs(*rows, lead(f"l{at}", at + STEP, auto_case=True)), at + STEP)
    desk.act(f"a{at + 1}", "ack", "operator")


def whole(desk: Desk) -> None:
    """Check that everything that was committed was committed whole."""
    at = desk.position()
    assert {one["seq"] for one in desk.alerts(limit=None)} == {k for k in range(1, at + 1) if k % STEP}
    assert sorted(one["number"] for one in desk.cases(limit=None)) == [f"案-2026-{k:06d}" for k in range(1, at // STEP + 1)]
    ok, rows, _ = desk.audit_verify()
    assert ok
    assert rows == len(desk.people()) + len(desk.alerts(state="acked", limit=None))
    assert [one["id"] for one in desk.events_since(0, 100_000)] == list(range(desk.first_event_id(), desk.last_event_id() + 1))


@pytest.mark.parametrize("wait", [0.03, 0.15])
def test_a_killed_desk_is_whole_and_goes_on(tmp_path: Path, wait: float) -> None:
    file = tmp_path / "desk.sqlite"
    file.write_bytes(template())
    url = f"sqlite:///{file}"
    child = subprocess.Popen([sys.executable, "-c", CHILD, url], stdout=subprocess.PIPE, cwd=ROOT)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    time.sleep(wait)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    with Desk(url, clock=Hand()) as desk:
        whole(desk)
        step(desk)
        whole(desk)
