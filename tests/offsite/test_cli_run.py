"""The command line beside the real product: two processes, real sockets, real frames."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import offsite as package
from connectors.core import HJ212
from connectors.hj212.commands import build
from connectors.hj212.header import parse
from connectors.sqlite_log import SqliteLog
from streams.embedded import open_embedded
from streams.plan import load_plan
from tests.offsite.conftest import Offsite

pytestmark = pytest.mark.servers

PATIENCE = 60.0
HERE = str(Path(str(package.__file__)).parent.parent)
RUN = "import sys; from offsite.cli import main; sys.exit(main())"


@contextmanager
def product(data: Path, *more: str) -> Iterator[dict[str, int]]:
    """Run the product on free ports; yield them. It has to end by itself, and well."""
    arguments = [sys.executable, "-c", RUN, "run", "--data", str(data), "--hj212", "0", "--http", "-1", "--desk", "0", *more]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=HERE, env=os.environ | {"PYTHONPATH": HERE}) as child:
        assert child.stdout is not None
        try:
            yield json.loads(child.stdout.readline())["ready"]
        finally:
            child.send_signal(signal.SIGTERM)
            assert child.wait(PATIENCE) == 0
    assert not (data / "run.json").exists()


def until(true: Callable[[], object]) -> None:
    """Wait until it is."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def books(offsite: Offsite, data: Path) -> dict[str, Any]:
    return offsite("doctor", "--books", "--json", "--data", data).rows[0]


def answer_one_request(device: socket.socket) -> None:
    """Do as a device does: say that the request is taken, then that it is done (HJ 212-2017 §6.3)."""
    heard = b""
    while not re.search(rb"CN=1062;.*&&....\r\n", heard):
        heard += device.recv(4096)
    head = parse(re.split(rb"##\d{4}", heard)[-1])
    assert b"RtdInterval=60" in heard
    for cn, area in (("9011", "QnRtn=1"), ("9012", "ExeRtn=1")):
        device.sendall(build(st="91", cn=cn, pw="123456", mn=head.mn, qn=head.qn, flag=4, area=f"QN={head.qn};{area}"))


def test_devices_of_a_running_product(offsite: Offsite, hour: list[bytes], data: Path, tmp_path: Path) -> None:
    live = tmp_path / "live"
    at = ("--data", live, "--json")
    with product(live) as ports, closing(socket.create_connection(("127.0.0.1", ports["hj212"]))) as device:
        device.sendall(b"\r\n".join([*hour, b""]))
        until(lambda: books(offsite, live)["frames"]["accepted"] == len(hour))
        devices = offsite("device", "list", *at).rows
        assert {row["mn"] for row in devices} == {parse(frame[6:]).mn for frame in hour}
        assert not any(row["known"] for row in devices)
        mn = parse(hour[0][6:]).mn
        assert offsite("device", "adopt", mn, *at).rows[0]["adopted"].keys() == {mn}
        one = books(offsite, live)["readings"]["received"]
        assert one > 0
        assert offsite("device", "adopt", "--all", "--as", "shift_lead", *at).code == 0
        assert books(offsite, live)["readings"]["received"] == books(offsite, data)["readings"]["received"] > one
        assert [row["by"] for row in offsite("audit", "list", *at).rows if row["what"] == "device.adopt"] == [
            "admin",
            "shift_lead",
        ]
        assert len(offsite("show", "readings", *at).rows) == books(offsite, live)["readings"]["received"]
        assert offsite("doctor", *at).code == 0

        away = offsite("device", "send", "NOBODY", "1062", "RtdInterval=60", *at)
        assert (away.code, away.rows[0]["fault"]) == (1, "not_connected")
        wrong = offsite("device", "send", mn, "1062", "Colour=red", *at)
        assert wrong.code == 1
        assert "RtdInterval" in wrong.err
        talk = threading.Thread(target=answer_one_request, args=(device,))
        talk.start()
        done = offsite("device", "send", mn, "1062", "RtdInterval=60", *at)
        talk.join()
        assert (done.code, done.rows[0]) == (0, {"qn_rtn": 1, "exe_rtn": 1, "fault": None})

        refused = offsite("case", "open", "l9", "--as", "operator", "--data", live)
        assert refused.code == 1
        assert "l9" in refused.err
    rows = offsite("device", "list", *at).rows
    assert len(rows) == len(devices)
    assert all(row["known"] and not row["online"] for row in rows)


def frames_in(log: SqliteLog) -> list[bytes]:
    return [record.body for record in log.read(0, 100_000) if record.content_type == HJ212]


def judged_at_once(folder: Path, log: SqliteLog) -> dict[str, int]:
    """Judge a whole log from its beginning."""
    judge = open_embedded(folder, log, load_plan(None), durable=False)
    while judge.run_once():
        pass
    found = judge.store.books()
    judge.store.close()
    return found


def test_a_backup_of_a_running_product_goes_on_with_nothing_lost(offsite: Offsite, hour: list[bytes], tmp_path: Path) -> None:
    live, again, saved = tmp_path / "live", tmp_path / "again", tmp_path / "b.tar.zst"
    city = tmp_path / "city"
    (tmp_path / "hour.h212").write_bytes(b"\r\n".join([*hour, b""]))
    assert offsite("registry", "infer", tmp_path / "hour.h212", "--out", city).code == 0
    with (
        product(live, "--registry", str(city)) as ports,
        closing(socket.create_connection(("127.0.0.1", ports["hj212"]))) as device,
    ):
        device.sendall(b"\r\n".join([*hour[:100], b""]))
        until(lambda: books(offsite, live)["frames"]["accepted"] == 100)
        sending = threading.Thread(target=lambda: [(device.sendall(f + b"\r\n"), time.sleep(0.002)) for f in hour[100:]])
        sending.start()
        assert offsite("backup", "--data", live, "--out", saved).code == 0
        sending.join()
    assert offsite("restore", saved, "--data", again).code == 0
    with closing(SqliteLog(again / "log", lambda: 0)) as log:
        kept = frames_in(log)
    assert len(kept) >= 100
    assert kept == hour[: len(kept)]
    rest = hour[len(kept) :]
    with product(again) as ports, closing(socket.create_connection(("127.0.0.1", ports["hj212"]))) as device:
        device.sendall(b"\r\n".join([*rest, b""]))
        until(lambda: books(offsite, again)["frames"]["accepted"] == len(hour))
    with closing(SqliteLog(again / "log", lambda: 0)) as log:
        assert frames_in(log) == hour
        whole = judged_at_once(tmp_path / "whole", log)
    found = books(offsite, again)["readings"]
    assert found == {fate: whole.get(f"readings.{fate}", 0) for fate in found}
    assert len(offsite("show", "readings", "--data", again, "--json").rows) == found["received"]
    assert offsite("doctor", "--data", again).code == 0
