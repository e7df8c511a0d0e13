"""MQTT against a real broker: acknowledged after durability, redelivered after kill -9, shared without loss, over TLS."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from paho.mqtt import publish
from paho.mqtt.client import MQTTv5
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from connectors.core import Refused, Retry
from connectors.inputs import from_table
from connectors.mqtt import Mqtt, Template
from connectors.table import TableFaults
from offsite.settings import secret
from tests.conftest import ROOT
from tests.connectors.doors import Kept, running, until
from tests.real.certs import Certs
from tests.real.mosquitto import Mosquitto

servers = pytest.mark.servers
TIME = "2026-11-25T03:40:00+08:00"


def reading(value: float, **more: object) -> bytes:
    return orjson.dumps({"point": "P1", "factor": "a34004", "time": TIME, "period": "realtime", "value": value, **more})


def made(kept: Kept, broker: Mosquitto, tree: str, **more: object) -> Mqtt:
    values = {"kind": "mqtt", "host": "127.0.0.1", "port": broker.port, "topics": [f"{tree}/{{site}}/readings"], **more}
    values.setdefault("client_id", f"{tree}-{more.get('name', '')}")
    found = from_table(values, "inputs[0]", kept.doors, secret)
    assert isinstance(found, Mqtt)
    return found


def send(broker: Mosquitto, messages: Sequence[tuple[str, bytes]], content_type: str = "") -> None:
    properties = Properties(PacketTypes.PUBLISH)
    if content_type:
        properties.ContentType = content_type
    batch = [{"topic": topic, "payload": body, "qos": 1, "properties": properties} for topic, body in messages]
    publish.multiple(batch, hostname="127.0.0.1", port=broker.port, protocol=MQTTv5)  # type: ignore[arg-type]


async def sent(broker: Mosquitto, messages: Sequence[tuple[str, bytes]], content_type: str = "") -> None:
    await asyncio.to_thread(send, broker, messages, content_type)


@pytest.fixture
def tree() -> str:
    return f"t{uuid.uuid4().hex[:8]}"


def test_a_template_names_levels() -> None:
    template = Template.of("city/{site}/{point}/#")
    assert template.filter == "city/+/+/#"
    assert template.read("city/S1/P1/air/pm25") == {"site": "S1", "point": "P1"}
    matched = [topic for topic in ("city/S1/P1", "city/S1/P1/x/y", "town/S1/P1", "city/S1") if template.matches(topic)]
    assert matched == ["city/S1/P1", "city/S1/P1/x/y"]
    with pytest.raises(ValueError, match="whole level"):
        Template.of("city/site-{site}")


def test_every_fault_of_the_settings_is_named(tmp_path: Path) -> None:
    values = {"kind": "mqtt", "topics": ["{town}/x"], "port": 0, "cert": "absent.pem", "tsl": True, "password": "hunter2"}
    with pytest.raises(TableFaults) as caught:
        from_table(values, "inputs[3]", Kept(tmp_path).doors, secret)
    keys = {fault.partition(":")[0] for fault in caught.value.faults}
    assert keys == {f"inputs[3].{key}" for key in ("host", "topics", "port", "cert", "tls", "tsl", "password")}
    assert "hunter2" in str(caught.value)


@servers
def test_messages_become_readings_of_the_site_in_their_topic(mosquitto: Mosquitto, tree: str, tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    mqtt = made(kept, mosquitto, tree)
    csv = f"point,factor,time,period,value\nP1,a34004,{TIME},minute,3\nP1,a34004,{TIME},minute,x\n".encode()

    async def play() -> None:
        await until(lambda: mqtt.counters.state == "connected")
        await sent(mosquitto, [(f"{tree}/S1/readings", reading(1)), (f"{tree}/S2/readings", reading(2, site="S2"))])
        await sent(mosquitto, [(f"{tree}/S3/readings", csv)], "text/csv")
        await sent(mosquitto, [(f"{tree}/S4/readings", reading(4, site="S5")), (f"{tree}/S6/readings", b"\xff nothing")])
        await until(lambda: mqtt.counters.messages == 5)

    asyncio.run(running(mqtt.run(), play))
    assert [(batch.site, value) for batch, (_, value) in zip(kept.batches, kept.values(), strict=True)] == [
        ("S1", 1.0),
        ("S2", 2.0),
        ("S3", 3.0),
    ]
    assert {(r.reason, r.row) for r in kept.refused} == {("bad_number", 1), ("wrong_site", 0), ("not_utf8", 0)}
    assert [r.body for r in kept.refused if r.reason == "not_utf8"] == [b"\xff nothing"]
    assert mqtt.counters.rows == {"accepted": 3, "rejected": 3}


@servers
def test_nothing_is_acknowledged_before_it_is_durable(mosquitto: Mosquitto, tree: str, tmp_path: Path) -> None:
    """The process dies between receipt and durability; its successor gets every message again."""
    program = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom tests.connectors.doors import Kept\n"
        "from connectors.inputs import from_table\n"
        "class Stuck(Kept):\n"
        "    async def accept(self, kind, batches, refused):\n"
        "        print('received', flush=True)\n"
        "        await asyncio.Event().wait()\n"
        f"kept = Stuck(Path({str(tmp_path)!r}))\n"
        f"table = {{'kind': 'mqtt', 'host': '127.0.0.1', 'port': {mosquitto.port}, 'client_id': {tree!r},"
        f" 'topics': ['{tree}/{{site}}/readings']}}\n"
        "mqtt = from_table(table, 'x', kept.doors, None)\n"
        "async def main():\n"
        "    task = asyncio.create_task(mqtt.run())\n"
        "    while mqtt.counters.state != 'connected':\n"
        "        await asyncio.sleep(0.01)\n"
        "    print('connected', flush=True)\n"
        "    await task\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "connected\n"
        send(mosquitto, [(f"{tree}/S1/readings", reading(value)) for value in range(50)])
        assert process.stdout.readline() == "received\n"
        os.kill(process.pid, signal.SIGKILL)
    kept = Kept(tmp_path)
    mqtt = made(kept, mosquitto, tree, client_id=tree)
    asyncio.run(running(mqtt.run(), lambda: until(lambda: len(kept.values()) >= 50)))
    assert [value for _, value in kept.values()] == list(range(50))


@servers
def test_a_log_that_says_retry_is_asked_again_in_order_and_one_bad_batch_is_put_aside(
    mosquitto: Mosquitto, tree: str, tmp_path: Path
) -> None:
    kept = Kept(tmp_path)
    kept.hold = asyncio.Event()
    mqtt = made(kept, mosquitto, tree)

    async def play() -> None:
        await until(lambda: mqtt.counters.state == "connected")
        await sent(mosquitto, [(f"{tree}/S1/readings", reading(0))])
        await until(lambda: kept.entered == 1)
        await sent(mosquitto, [(f"{tree}/S1/readings", reading(value)) for value in (1, 2, 3)])
        kept.errors = [Retry("disk full", 0.01), Retry("disk full", 0.01), Refused("too large")]
        assert kept.hold is not None
        kept.hold.set()
        await until(lambda: len(kept.values()) >= 3)

    asyncio.run(running(mqtt.run(), play))
    assert [value for _, value in kept.values()] == [1, 2, 3]
    assert [(r.reason, bool(r.body)) for r in kept.refused] == [("refused", True)]
    assert mqtt.counters.retries == 2


@servers
def test_two_clients_share_the_load_and_a_restarted_broker_loses_nothing(mosquitto: Mosquitto, tree: str, tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    inputs = [made(kept, mosquitto, tree, group=tree, name=name) for name in ("one", "two")]
    wanted = 400

    def all_are(state: str) -> bool:
        return all(one.counters.state == state for one in inputs)

    async def play() -> None:
        await until(lambda: all_are("connected"))
        await sent(mosquitto, [(f"{tree}/S1/readings", reading(value)) for value in range(wanted // 2)])
        await asyncio.to_thread(mosquitto.stop)
        await until(lambda: all_are("away"))
        await asyncio.to_thread(mosquitto.start)
        await until(lambda: all_are("connected"))
        await sent(mosquitto, [(f"{tree}/S1/readings", reading(value)) for value in range(wanted // 2, wanted)])
        await until(lambda: len({value for _, value in kept.values()}) == wanted)

    async def both() -> None:
        await asyncio.gather(*(one.run() for one in inputs))

    asyncio.run(running(both(), play))
    assert all(one.counters.messages > wanted // 10 for one in inputs)
    assert all(one.counters.reconnects for one in inputs)


@servers
@pytest.mark.parametrize("version", [5, 3])
def test_the_broker_keeps_what_came_while_nobody_was_here(mosquitto: Mosquitto, tree: str, tmp_path: Path, version: int) -> None:
    kept = Kept(tmp_path)

    async def first() -> None:
        mqtt = made(kept, mosquitto, tree, version=version)
        await running(mqtt.run(), lambda: until(lambda: mqtt.counters.state == "connected"))

    asyncio.run(first())
    mosquitto.stop()
    mosquitto.start()
    send(mosquitto, [(f"{tree}/S1/readings", reading(value)) for value in range(40)])
    again = made(kept, mosquitto, tree, version=version)
    asyncio.run(running(again.run(), lambda: until(lambda: len(kept.values()) >= 40)))
    assert [value for _, value in kept.values()] == list(range(40))


@servers
@pytest.mark.parametrize("version", [5, 3])
def test_a_broker_that_asks_for_certificates(mosquitto: Mosquitto, certs: Certs, tree: str, tmp_path: Path, version: int) -> None:
    kept = Kept(tmp_path)
    paths = {"tls": True, "port": mosquitto.tls_port, "ca": str(certs.ca), "version": version}
    stranger = made(kept, mosquitto, f"{tree}-s", **paths)
    client = made(kept, mosquitto, tree, cert=str(certs.client_cert), key=str(certs.client_key), **paths)

    async def play() -> None:
        await until(lambda: client.counters.state == "connected" and stranger.counters.state == "away")
        await sent(mosquitto, [(f"{tree}/S1/readings", reading(7))])
        await until(lambda: kept.batches)

    async def both() -> None:
        await asyncio.gather(client.run(), stranger.run())

    asyncio.run(running(both(), play))
    assert kept.values() == [("S1/P1/a34004/realtime/rtd", 7.0)]
    assert "certificate" in stranger.counters.fault
