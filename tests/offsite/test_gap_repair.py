"""Gap repair on the real product: after an outage the device is asked for exactly the windows that are missing, once."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from connectors.hj212.commands import build, parse_cst
from connectors.hj212.header import parse
from offsite.city.clock import SharedClock
from streams.codecs.hj212 import encode_frame
from streams.plan.load import HOUR, MINUTE
from tests.offsite.test_cli_run import product, until

pytestmark = pytest.mark.servers

MN = "010000A8900016F000169DC0"
T0 = 1_795_392_000_000 // HOUR * HOUR


class Device:
    """A data logger with a memory: it answers 2061 and 2051 with what it measured while the line was down."""

    def __init__(self, port: int) -> None:
        self.asked: list[tuple[str, int, int]] = []
        self.acked = 0
        self._rest = b""
        self._line = socket.create_connection(("127.0.0.1", port))
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, cn: str, time_ms: int, suffix: str = "Rtd") -> None:
        values = {"a21026": {suffix: 20.0 + time_ms // MINUTE % 7, "Flag": "N"}}
        self._line.sendall(encode_frame(MN, cn, time_ms, values, flag_ack=True, qn_ms=time_ms + 1000))

    def close(self) -> None:
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)  # the listening thread keeps the connection standing otherwise
        self._line.close()

    def _listen(self) -> None:
        try:
            while data := self._line.recv(65536):
                *frames, self._rest = (self._rest + data).split(b"\r\n")
                for frame in frames:
                    self._take(frame)
        except OSError:
            return

    def _take(self, frame: bytes) -> None:
        head = parse(frame[6:-4])
        self.acked += head.cn == "9014"
        found = re.search(rb"BeginTime=(\d+)[;,]EndTime=(\d+)", frame)
        if head.cn not in {"2061", "2051"} or not found:
            return
        begin, end = (parse_cst(word.decode()) for word in found.groups())
        assert begin is not None
        assert end is not None
        self.asked.append((head.cn, begin, end))
        reply = {"st": "91", "pw": "123456", "mn": MN, "qn": head.qn, "flag": 4}
        self._line.sendall(build(cn="9011", area="QnRtn=1", **reply))
        for at in range(begin, end + 1, HOUR if head.cn == "2061" else 10 * MINUTE):
            self.send(head.cn, at, "Avg")
        self._line.sendall(build(cn="9012", area="ExeRtn=1", **reply))


def registry(folder: Path) -> Path:
    folder.mkdir()
    (folder / "sites.csv").write_text("site,name\nS1,示例厂\n", encoding="utf-8")
    (folder / "points.csv").write_text(f"site,point,medium,mn\nS1,DA001,gas,{MN}\n", encoding="utf-8")
    (folder / "factors.csv").write_text("site,point,factor,wire_unit\nS1,DA001,a21026,mg/m3\n", encoding="utf-8")
    return folder


def test_exactly_the_missing_windows_are_asked_for_and_fill_history(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with SharedClock(tmp_path / "clock") as clock:
        clock.set(T0)
        options = ("--registry", str(registry(tmp_path / "registry")), "--clock", str(tmp_path / "clock"))
        with product(data, *options) as ports:
            device = Device(ports["hj212"])
            with closing(device):
                for minute in range(30):
                    clock.set(T0 + minute * MINUTE + 2000)
                    device.send("2011", T0 + minute * MINUTE)
                    until(lambda wanted=minute + 1: device.acked >= wanted)
            for minute in range(32, 4 * 60, 2):
                clock.set(T0 + minute * MINUTE)
                time.sleep(0.06)
            device = Device(ports["hj212"])
            with closing(device):
                for minute in range(240, 244):
                    clock.set(T0 + minute * MINUTE + 2000)
                    device.send("2011", T0 + minute * MINUTE)
                    time.sleep(0.3)
                until(lambda: {cn for cn, _, _ in device.asked} >= {"2061", "2051"})
                time.sleep(6)
                hours = [(begin, end) for cn, begin, end in device.asked if cn == "2061"]
                assert hours == [(T0 + HOUR, T0 + 3 * HOUR)]
                minutes = [(begin, end) for cn, begin, end in device.asked if cn == "2051"]
                assert len(minutes) == 1
                assert T0 + 29 * MINUTE <= minutes[0][0] <= T0 + 31 * MINUTE
                assert T0 + 238 * MINUTE <= minutes[0][1] <= T0 + 240 * MINUTE
            books = json.loads(_get(ports["desk"], "/api/v1/books"))
            assert books["readings"]["late"] > 0
            assert books["gateway"]["commands"] == {"2061": 1, "2051": 1}


def _get(port: int, path: str) -> bytes:
    with closing(socket.create_connection(("127.0.0.1", port))) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        body = b""
        while part := line.recv(65536):
            body += part
    return body.split(b"\r\n\r\n", 1)[1]
