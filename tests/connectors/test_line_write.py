"""Line protocol over HTTP: what InfluxDB clients send is answered as InfluxDB would, and becomes readings."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from influxdb_client import InfluxDBClient, Point, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from connectors.core import Retry
from connectors.http import Scope, ingest_app
from connectors.http_keys import AnswerBook
from connectors.inputs import from_table
from connectors.table import TableFaults
from offsite.intake import decode
from offsite.settings import secret
from tests.connectors.doors import NOW, Kept

TABLE = {
    "kind": "influx",
    "site_tag": "host",
    "sites": {"plc-07": "S1"},
    "point": "DA001",
    "factors": {"modbus.so2": "a21026", "nox": "a21002"},
}
LINES = b'modbus,host=plc-07 so2=12.5,nox=80i,note="x" 1795575600\ncpu,host=S2,point=P9,period=hour,stat=zs_avg nox=1 1795575600'
SENT = [
    ("S1/DA001/a21026/realtime/rtd", 12.5),
    ("S1/DA001/a21002/realtime/rtd", 80.0),
    ("S2/P9/a21002/hour/zs_avg", 1.0),
]


def app_of(kept: Kept, table: dict[str, Any] = TABLE) -> Any:
    found = from_table(table, "inputs[0]", kept.doors, secret)
    keys = {"KEY": Scope("all"), "S1KEY": Scope("s1", frozenset({"S1"}))}
    return ingest_app(kept.accept, keys.get, decode=decode, answers=AnswerBook(":memory:", lambda: 0), more=[found.routes])


def scene(kept: Kept, play: Callable[[httpx2.AsyncClient], Awaitable[None]], table: dict[str, Any] = TABLE) -> None:
    async def run() -> None:
        app = app_of(kept, table)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://offsite") as client:
            await play(client)

    asyncio.run(run())


TOKEN = {"Authorization": "Token KEY"}
V2 = "/api/v2/write?org=o&bucket=b&precision=s"


def test_lines_become_readings_by_the_table(tmp_path: Path) -> None:
    kept = Kept(tmp_path)

    async def play(client: httpx2.AsyncClient) -> None:
        headers = {**TOKEN, "Content-Encoding": "gzip", "Content-Type": "text/plain; charset=utf-8"}
        response = await client.post(V2, content=gzip.compress(LINES), headers=headers)
        assert (response.status_code, response.content) == (204, b"")

    scene(kept, play)
    assert kept.values() == SENT


def test_the_older_api_and_its_ways_to_show_a_key(tmp_path: Path) -> None:
    kept = Kept(tmp_path)

    async def play(client: httpx2.AsyncClient) -> None:
        basic = {"Authorization": "Basic " + base64.b64encode(b"user:KEY").decode()}
        assert (await client.post("/write?db=b&precision=s", content=LINES, headers=basic)).status_code == 204
        assert (await client.post("/write?db=b&precision=s&u=user&p=KEY", content=LINES)).status_code == 204
        refused = await client.post("/write?db=b&u=user&p=WRONG", content=LINES)
        assert (refused.status_code, "key" in refused.json()["error"]) == (401, True)
        assert (await client.get("/ping")).status_code == 204

    scene(kept, play)
    assert kept.values() == SENT * 2


def test_a_factor_tag_takes_the_value_from_one_field_and_a_line_without_time_is_now(tmp_path: Path) -> None:
    kept = Kept(tmp_path)

    async def play(client: httpx2.AsyncClient) -> None:
        line = b"air,site=S1,point=P1,factor=a34004,flag=D value=35,quality=1"
        assert (await client.post("/api/v2/write", content=line, headers=TOKEN)).status_code == 204

    scene(kept, play, {"kind": "influx"})
    assert kept.values() == [("S1/P1/a34004/realtime/rtd", 35.0)]
    [batch] = kept.batches
    [row] = [json.loads(line) for line in batch.body.splitlines()]
    assert (datetime.fromisoformat(row["time"]).timestamp() * 1000, row["flag"]) == (NOW, "D")


def test_bad_lines_are_named_and_the_others_kept(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    body = b'# a comment\nmodbus,host=plc-07 so2=1 1795575600\nbroken\n\nmodbus so2=1\nmodbus,host=S1 so2="text"\nmodbus,host=a/b so2=1'

    async def play(client: httpx2.AsyncClient) -> None:
        response = await client.post(V2, content=body, headers=TOKEN)
        assert (response.status_code, response.json()["code"]) == (400, "invalid")
        message = response.json()["message"]
        assert "1 readings taken" in message
        assert all(f"line {line}:" in message for line in (3, 5, 6, 7))

    scene(kept, play)
    assert kept.values() == [("S1/DA001/a21026/realtime/rtd", 1.0)]
    assert sorted((r.row, r.reason) for r in kept.refused) == [
        (3, "bad_line"),
        (5, "missing_field"),
        (6, "missing_field"),
        (7, "bad_name"),
    ]


def test_what_a_client_must_do_stands_in_the_answer(tmp_path: Path) -> None:
    kept = Kept(tmp_path)

    async def play(client: httpx2.AsyncClient) -> None:
        unknown = await client.post(V2, content=LINES, headers={"Authorization": "Token NO"})
        assert (unknown.status_code, unknown.json()["code"]) == (401, "unauthorized")
        wrong = await client.post("/api/v2/write?precision=days", content=LINES, headers=TOKEN)
        assert (wrong.status_code, "precision" in wrong.json()["message"]) == (400, True)
        foreign = await client.post(V2, content=b"m,host=S2 a=1 1", headers={"Authorization": "Token S1KEY"})
        assert (foreign.status_code, foreign.json()["code"]) == (403, "forbidden")
        kept.errors = [Retry("disk full", after=7)]
        full = await client.post(V2, content=LINES, headers=TOKEN)
        assert (full.status_code, full.headers["retry-after"], full.json()["code"]) == (503, "7", "unavailable")
        damaged = await client.post(V2, content=b"no gzip", headers={**TOKEN, "Content-Encoding": "gzip"})
        assert damaged.status_code == 422

    scene(kept, play)
    assert kept.values() == []


def test_every_fault_of_the_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(TableFaults) as caught:
        from_table({"kind": "influx", "site_tag": 3, "factors": {"a": 1}, "tags": 1}, "inputs[0]", Kept(tmp_path).doors, secret)
    assert {f.partition(":")[0] for f in caught.value.faults} == {f"inputs[0].{k}" for k in ("site_tag", "factors", "tags")}


@contextmanager
def served(app: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def test_the_client_library_of_influxdb_writes_here(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    with served(app_of(kept)) as url, InfluxDBClient(url, "KEY", org="o", enable_gzip=True) as client:
        writer = client.write_api(write_options=SYNCHRONOUS)
        points = [
            Point("modbus").tag("host", "plc-07").field("so2", float(n)).time(NOW + n, WritePrecision.MS) for n in range(500)
        ]
        writer.write("b", record=points, write_precision=WritePrecision.MS)
        with pytest.raises(ApiException) as refused:
            writer.write("b", record="modbus so2=1")
        assert refused.value.status == 400
    assert [value for _, value in kept.values()] == [float(n) for n in range(500)]
