"""The distributed runtime from a device's frame to a case on the desk, with every process a real one; and dead letters."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from confluent_kafka import Producer

from connectors.kafka import partition_of
from connectors.kafka_tail import newest
from streams import registry as registries
from streams.codecs.hj212_encode import encode_frame
from streams.identity import rfc3339
from streams.registry_model import Bounds, Limit, Person, Point, Registry, Site
from streams.topics import DEVICE_REPLIES
from tests.distributed.product import Process, Product, ask, send_frames, until
from tests.offsite.test_gap_repair import MN as DEVICE_MN
from tests.offsite.test_gap_repair import Device
from tests.real.kafka import Kafka
from tests.real.postgres import Postgres

pytestmark = pytest.mark.servers
MN = "88888880000001"
REGISTRY = Registry(
    (Site("S1", "示范企业"), Site("S2", "邻居")),
    (Point("S1", "DA001", "gas", mn=MN), Point("S2", "DA001", "gas", mn=DEVICE_MN)),
    limits=(Limit("S1", "DA001", "a21026", "hour", Bounds(None, 50.0), "mg/m3", "permit"),),
    people=(Person("li", "李值班", "operator"),),
)
HOUR = 3_600_000


@pytest.fixture(scope="module")
def product(kafka: Kafka, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("product")
    registries.save(REGISTRY, folder / "registry")
    with Product(folder, kafka.cluster(), postgres.url()) as made:
        for words in (
            ("topics", "create", "--partitions", "2", "--replication", "1", "--min-isr", "1"),
            ("db", "upgrade"),
            ("registry", "publish", "--registry", str(folder / "registry")),
        ):
            done = made.command(*words)
            assert done.returncode == 0, done.stderr
        for name in ("worker-1", "agents-1", "gateway-1", "gateway-2", "desk-1"):
            made.process(name[:-2], name).launch()
        for process in made.processes:
            process.ready()
        yield made


def named(product: Product, name: str) -> Process:
    return next(process for process in product.processes if process.name == name)


def over_the_limit() -> bytes:
    """Make data of the hour that has begun, over the limit: it can't be late."""
    now = int(time.time() * 1000)
    return encode_frame(MN, "2061", now // HOUR * HOUR, {"a21026": {"Avg": 90.0, "Flag": "N"}}, qn_ms=now)


def test_from_a_frame_to_an_alert_on_the_desk(product: Product) -> None:
    port, desk = named(product, "gateway-1").told["ready"]["hj212"], named(product, "desk-1").told["desk"]
    answers = send_frames(port, [over_the_limit()])
    assert all(b"CN=9014" in answer for answer in answers), "answered once durable in Kafka"
    found = until(
        lambda: [a for a in ask(desk, "/api/v1/alerts")["alerts"] if a["rule"] == "exceed-hour"], what="an alert on the desk"
    )
    assert found[0]["site"] == "S1"


def device_row(desk: int, mn: str) -> dict[str, object]:
    return next(row for row in ask(desk, "/api/v1/devices")["devices"] if row["mn"] == mn)


@pytest.mark.parametrize(("gateway", "given"), [("gateway-1", 1), ("gateway-2", 2)])
def test_a_command_from_the_desk_reaches_the_gateway_that_holds_the_device(product: Product, gateway: str, given: int) -> None:
    """Both gateways read every command; the one that holds the device gives it, and it is replied to once."""
    port, desk = named(product, gateway).told["ready"]["hj212"], named(product, "desk-1").told["desk"]
    with closing(Device(port)) as device:
        device.send("2011", int(time.time() * 1000) // 60_000 * 60_000)
        until(lambda: device.acked, what="the device's acknowledgement")
        until(lambda: device_row(desk, DEVICE_MN)["online"], what="the device's connection on the desk")
        begin = int(time.time() * 1000) // HOUR * HOUR - 2 * HOUR
        times = f"BeginTime={rfc3339(begin)}", f"EndTime={rfc3339(begin + HOUR)}"
        sent = product.command("device", "send", DEVICE_MN, "2061", *times, "--as", "li", "--json", OFFSITE_DESK_PORT=str(desk))
        assert sent.returncode == 0, sent.stderr
        device._line.shutdown(socket.SHUT_RDWR)  # its thread reads on: closing alone would leave the connection standing
    assert json.loads(sent.stdout) == {"qn_rtn": 1, "exe_rtn": 1, "fault": None}
    assert device.asked == [("2061", begin, begin + HOUR)]
    replies = [json.loads(seen.record.body) for seen in newest(product.cluster, DEVICE_REPLIES, 9, 2, clock=time.monotonic)]
    assert len({reply["id"] for reply in replies}) == len(replies) == given
    assert {(reply["mn"], reply["cn"], reply["exe_rtn"], reply["fault"]) for reply in replies} == {(DEVICE_MN, "2061", 1, "")}


def test_letters_come_back_after_a_fix_and_nothing_behind_them_waits(product: Product) -> None:
    cluster = product.cluster
    producer = Producer(cluster.librdkafka(acks="all", partitioner="murmur2", message_max_bytes=8 << 20))
    good = {
        "site": "S2",
        "point": "DA001",
        "factor": "a21026",
        "time": rfc3339(int(time.time() * 1000) // 60_000 * 60_000),
        "period": "minute",
        "stat": "avg",
        "value": 1.0,
    }
    right = partition_of("S2", 2)
    bad = [
        ("schema", b'{"site":"S2","value":"x"}', b"S2", right),
        ("oversized", b" " * (2 << 20), b"S2", right),
        ("not UTF-8", b"\xff\xfe{}", b"S2", right),
        ("wrong key", json.dumps(good | {"site": "S1"}).encode(), b"S2", right),
        ("wrong partition", json.dumps(good).encode(), b"S2", 1 - right),
        ("future", json.dumps(good | {"time": "2036-11-24T08:00:00+08:00"}).encode(), b"S2", right),
        ("key not UTF-8", json.dumps(good).encode(), b"\xff", right),
        ("unregistered", json.dumps(good | {"site": "NEW"}).encode(), b"NEW", partition_of("NEW", 2)),
    ]
    for _, body, key, partition in bad:
        producer.produce(cluster.named("emission-monitoring"), body, key, partition, headers={"content-type": "application/json"})
    producer.produce(cluster.named("emission-monitoring"), json.dumps(good).encode(), b"S2", right)
    assert producer.flush(20) == 0

    def letters() -> list[dict[str, object]]:
        done = product.command("dead-letters", "list", "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    wanted = ["bad_key", "future_time", "oversized", "unregistered", "wrong_key", "wrong_partition"]
    found = until(lambda: found if len(found := letters()) >= len(bad) else None, what="every letter")
    reasons = sorted(str(each["reason"]) for each in found)
    assert [r for r in reasons if r in wanted] == wanted
    assert len(reasons) == len(bad), reasons
    assert all(each["detail"] for each in found)

    grown = Registry(
        (*REGISTRY.sites, Site("NEW", "新企业")), (*REGISTRY.points, Point("NEW", "DA001", "gas")), limits=REGISTRY.limits
    )
    registries.save(grown, product.folder / "grown")
    assert product.command("registry", "publish", "--registry", str(product.folder / "grown")).returncode == 0
    done = product.command("dead-letters", "redrive", "--reason", "unregistered")
    assert json.loads(done.stdout) == {"redriven": 1}, done.stderr
    desk = named(product, "desk-1").told["desk"]
    until(lambda: ask(desk, "/api/v1/books")["readings"]["accepted"] >= 3, 100, "the letter's reading in the books")
    assert not [each for each in letters() if each["reason"] == "unregistered"], "driven again, and not refused again"


def test_devices_that_nobody_registered_are_shown_while_they_are_connected(product: Product) -> None:
    port, desk = named(product, "gateway-2").told["ready"]["hj212"], named(product, "desk-1").told["desk"]
    stranger = "77777770000001"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as link:
        link.sendall(
            encode_frame(stranger, "2061", int(time.time() * 1000) // HOUR * HOUR, {"a21026": {"Avg": 1.0, "Flag": "N"}})
        )
        assert b"CN=9014" in link.recv(4096)
        row = until(
            lambda: next((r for r in ask(desk, "/api/v1/devices")["devices"] if r["mn"] == stranger), None), what="the stranger"
        )
        assert (row["known"], row["online"], row["site"]) == (False, True, "")
        assert row["last_seen"]
        listed = product.command("device", "list", "--json", OFFSITE_DESK_PORT=str(desk))
        assert stranger in {json.loads(line)["mn"] for line in listed.stdout.splitlines()}, listed.stderr
    until(lambda: all(r["mn"] != stranger for r in ask(desk, "/api/v1/devices")["devices"]), what="its end")
    assert device_row(desk, MN)["online"] is False, "it said something before, and is gone"


def test_a_stop_gives_way_at_once_and_leaves_no_process(product: Product) -> None:
    for process in product.processes:
        assert process.end() == 0, process.log()
