"""Webhooks against a real HTTP server: signed as the standard says, in order for each site, and never lost."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.server
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from connectors.core import JSON
from connectors.outbound import Queue
from connectors.outbound_entries import Entry
from connectors.outbound_worker import Worker
from connectors.outputs import from_table, from_tables
from connectors.table import TableFaults
from connectors.webhook import key_of, verify
from tests.connectors.outbound_process import Sender, wall

OLD, NEW = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
SECRETS = {"env:OLD": OLD, "env:NEW": NEW, "env:SHORT": "whsec_c2hvcnQ="}
NOT_FOUND = "names no secret"


def secret(reference: str) -> bytes:
    if reference not in SECRETS:
        raise ValueError(f"{reference!r} {NOT_FOUND}")
    return SECRETS[reference].encode()


class Receiver:
    """A receiver that answers as told and keeps every request: (headers, body)."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.answer: Callable[[dict[str, str], bytes], tuple[int, dict[str, str]] | None] = lambda headers, body: (204, {})
        own = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                own.requests.append((headers | {"path": self.path}, body))
                answer = own.answer(headers, body)
                if answer is not None:
                    self.send_response(answer[0])
                    for name, value in {"content-length": "0", **answer[1]}.items():
                        self.send_header(name, value)
                    self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a sender that was killed is no fault
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/outbound.sqlite"


@pytest.fixture
def queue(url: str) -> Iterator[Queue]:
    made = Queue(url)
    yield made
    made.close()


def table(receiver: Receiver, **more: Any) -> dict[str, Any]:
    place = f"http://127.0.0.1:{receiver.port}/hook?to=me"
    return {"kind": "webhook", "name": "hook", "url": place, "secrets": ["env:NEW", "env:OLD"]} | more


def entry(n: int, site: str = "S1", kind: str = "alert", **body: Any) -> Entry:
    return Entry(kind, site, n, JSON, json.dumps({"id": f"{site}-{n}", "seq": n, "level": 2} | body).encode(), wall())


def nothing_waits(book: dict[str, Any]) -> bool:
    return not book["waiting"]


async def send(
    queue: Queue, settings: dict[str, Any], until: Callable[[dict[str, Any]], bool] = nothing_waits, *, hasty: bool = False
) -> None:
    """Send until something holds of the books; `hasty`: with a back-off of some milliseconds."""
    output: Any = from_table(settings, "outputs[0]", secret, wall)
    if hasty:
        object.__setattr__(output.common, "backoff", (0.01, 0.05))
    task = asyncio.create_task(Worker(queue, output, wall, owner="me", chance=Random(3)).run())
    async with asyncio.timeout(30):
        while not until(queue.books().get("hook", {"waiting": 1})):
            await asyncio.sleep(0.02)
            assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_signature_by_an_independent_implementation(receiver: Receiver, queue: Queue) -> None:
    queue.put("hook", [entry(1, "城南厂", reason_zh="二氧化硫超标")])
    asyncio.run(send(queue, table(receiver)))
    ((headers, body),) = receiver.requests
    assert headers["path"] == "/hook?to=me"
    assert headers["content-type"] == "application/json"
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    wanted = [b"v1," + base64.b64encode(hmac.digest(base64.b64decode(s[6:]), signed, hashlib.sha256)) for s in (NEW, OLD)]
    assert headers["webhook-signature"].encode().split(b" ") == wanted
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    said = json.loads(body)
    assert said["type"] == "alert.updated"
    assert said["timestamp"].endswith("+00:00")
    assert said["data"]["id"] == "城南厂-1"
    assert set(said) == {"type", "timestamp", "data"}


def test_a_receiver_can_verify(receiver: Receiver, queue: Queue) -> None:
    queue.put("hook", [entry(1)])
    asyncio.run(send(queue, table(receiver)))
    ((headers, body),) = receiver.requests
    now = int(headers["webhook-timestamp"])
    assert verify([key_of(OLD)], headers, body, now)
    assert verify([key_of(NEW)], headers, body, now + 300)
    assert not verify([key_of(NEW)], headers, body, now + 301)
    assert not verify([key_of(NEW)], headers, body + b" ", now)
    assert not verify([key_of("whsec_" + base64.b64encode(bytes(32)).decode())], headers, body, now)
    assert not verify([key_of(NEW)], headers | {"webhook-id": "msg_other"}, body, now)
    assert not verify([key_of(NEW)], {}, body, now)


def test_order_of_a_site_holds_through_failures(receiver: Receiver, queue: Queue) -> None:
    chance = Random(5)
    receiver.answer = lambda headers, body: (503, {}) if chance.random() < 0.4 else (200, {})
    output = [entry(n, site) for n in range(1, 9) for site in ("A", "B", "C")]
    queue.put("hook", output)
    made = table(receiver)
    asyncio.run(send(queue, made, hasty=True))
    ids = [headers["webhook-id"] for headers, _ in receiver.requests]
    seen: dict[str, list[int]] = {}
    for _, body in receiver.requests:
        data = json.loads(body)["data"]
        seen.setdefault(data["id"][0], []).append(data["seq"])
    assert all(order == sorted(order) and set(order) == set(range(1, 9)) for order in seen.values())
    assert len(set(ids)) == 24
    assert len(ids) > 24
    again = {i: [h["webhook-timestamp"] for h, _ in receiver.requests if h["webhook-id"] == i] for i in ids}
    assert any(len(stamps) > 1 for stamps in again.values())


def test_killed_between_sending_and_writing_it_down(receiver: Receiver, queue: Queue, url: str) -> None:
    queue.put("hook", [entry(1), entry(2)])
    with Sender(url, table(receiver), NEW=NEW, OLD=OLD) as sender:
        killed: list[bool] = []

        def answer(_headers: dict[str, str], _body: bytes) -> tuple[int, dict[str, str]] | None:
            if not killed:
                killed.append(True)
                sender.kill()
                return None
            return 200, {}

        receiver.answer = answer
        sender.again()
        assert sender.process.wait(60) == 0
    ids = [headers["webhook-id"] for headers, _ in receiver.requests]
    bodies = [body for _, body in receiver.requests]
    assert ids == [ids[0], ids[0], ids[2]]
    assert bodies[0] == bodies[1]
    assert queue.books()["hook"]["sent"] == 2


def test_gone_stops_the_target_until_a_person_lets_it_go_on(receiver: Receiver, queue: Queue) -> None:
    receiver.answer = lambda headers, body: (410, {})
    queue.put("hook", [entry(1)])
    asyncio.run(send(queue, table(receiver), lambda book: bool(book.get("stopped"))))
    assert "410" in queue.books()["hook"]["stopped"]
    receiver.answer = lambda headers, body: (200, {})
    queue.again("hook")
    asyncio.run(send(queue, table(receiver)))
    assert queue.books()["hook"]["sent"] == 1


@pytest.mark.parametrize("status", [400, 401, 404, 301, 307])
def test_other_answers_are_refused_after_some_tries(receiver: Receiver, queue: Queue, status: int) -> None:
    receiver.answer = lambda headers, body: (status, {"location": f"http://127.0.0.1:{receiver.port}/elsewhere"})
    queue.put("hook", [entry(1)])
    asyncio.run(send(queue, table(receiver, tries=3), hasty=True))
    assert queue.books()["hook"]["refused"] == 1
    assert [headers["path"] for headers, _ in receiver.requests] == ["/hook?to=me"] * 3  # no redirect is followed
    (row,) = queue.log("hook")
    assert str(status) in row["answer"]


def test_a_receiver_may_ask_for_time(receiver: Receiver, queue: Queue) -> None:
    answers = [(429, {"retry-after": "1"}), (200, {})]
    receiver.answer = lambda headers, body: answers.pop(0)
    queue.put("hook", [entry(1)])
    begun = wall()
    asyncio.run(send(queue, table(receiver, tries=1), hasty=True))
    assert queue.books()["hook"]["sent"] == 1
    assert wall() - begun >= 1000


def test_a_receiver_that_never_answers_is_left(receiver: Receiver, queue: Queue) -> None:
    free, calls = threading.Event(), []

    def answer(_headers: dict[str, str], _body: bytes) -> tuple[int, dict[str, str]] | None:
        calls.append(1)
        if len(calls) == 1:
            free.wait(20)
        return 200, {}

    receiver.answer = answer
    queue.put("hook", [entry(1)])
    asyncio.run(send(queue, table(receiver, timeout=0.2), hasty=True))
    free.set()
    (row,) = queue.log("hook")
    assert (row["state"], row["attempts"]) == ("sent", 2)


@pytest.mark.servers
def test_tls_with_a_ca_of_ones_own(certs: Any, queue: Queue) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs.server_cert, certs.server_key)
    receiver = Receiver(context)
    try:
        queue.put("hook", [entry(1)])
        settings = table(receiver, url=f"https://localhost:{receiver.port}/")
        asyncio.run(send(queue, settings, lambda book: bool(book.get("fault"))))
        assert "certificate" in queue.books()["hook"]["fault"]  # nobody signed for it
        queue.again("hook")
        asyncio.run(send(queue, settings | {"ca": str(certs.ca)}))
        assert queue.books()["hook"]["sent"] == 1
    finally:
        receiver.close()


def test_private_addresses_can_be_refused(receiver: Receiver, queue: Queue) -> None:
    queue.put("hook", [entry(1)])
    asyncio.run(send(queue, table(receiver, private_addresses="refuse"), lambda book: bool(book.get("fault"))))
    assert "only private addresses" in queue.books()["hook"]["fault"]
    assert receiver.requests == []


def test_what_a_target_wants(receiver: Receiver) -> None:
    output = from_table(table(receiver, sites=["S1"], level=2, send=["alert"]), "outputs[0]", secret, wall)
    takes = lambda one: output.wants(one.kind, one.key, one.body)
    assert takes(entry(1)) == "S1"
    assert takes(entry(1, "S2")) is None
    assert takes(entry(1, level=3)) is None
    assert takes(entry(1, kind="lead")) is None
    asyncio.run(output.close())


def faults(table: dict[str, Any]) -> list[str]:
    with pytest.raises(TableFaults) as found:
        from_table(table, "outputs[0]", secret, wall)
    return [fault.removeprefix("outputs[0].") for fault in found.value.faults]


def test_every_fault_of_a_table_is_named() -> None:
    wrong = {
        "kind": "webhook",
        "url": "ftp://x",
        "secrets": [],
        "tries": "3",
        "colour": 1,
        "level": 9,
        "send": ["fax"],
        "start": "then",
    }
    assert sorted(fault.split(":")[0] for fault in faults(wrong)) == [
        "colour",
        "level",
        "name",
        "secrets",
        "send",
        "start",
        "tries",
        "url",
    ]
    hook = {"kind": "webhook", "name": "h", "url": "http://x"}
    assert faults(hook | {"secrets": ["env:NONE"]}) == ["secrets: 'env:NONE' names no secret"]
    assert faults(hook | {"secrets": ["env:SHORT"]})[0].startswith("secrets: 'env:SHORT' has to be whsec_")
    assert faults({"kind": "fax", "name": "h"}) == ["kind: 'fax' is no kind of output; known are webhook, kafka, hj212-relay"]
    with pytest.raises(TableFaults, match=r"outputs\[1\].name: 'h' is the name of another"):
        from_tables([hook | {"secrets": ["env:NEW"]}] * 2, secret, wall)


@pytest.mark.parametrize("wrong", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%", base64.b64encode(bytes(32)).decode()])
def test_a_secret_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        key_of(wrong)
