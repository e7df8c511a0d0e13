"""Outputs of the product: stores in, real receivers out; each entry once, through restarts, and the command line that shows it."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import re
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cases.store import Desk
from connectors.core import HJ212, JSON, Record, Retry
from connectors.hj212.commands import build
from connectors.hj212.frame import Dialect, Framer
from connectors.outputs import CATALOGUE, from_tables
from connectors.sqlite_log import SqliteLog, day_of
from connectors.table import TableFaults
from offsite.cli import outputs as verb
from offsite.data_dir import now
from offsite.outputs import Outputs, faults, on_the_wire, queue_url
from offsite.settings import Settings, SettingsFaults, load_settings, secret
from streams.commit import Step
from streams.records import HELD, REDRIVEN
from streams.store import StateStore
from tests.cases.made import Hand, alert, lead, outputs, ready
from tests.conftest import ROOT
from tests.connectors.hj212.test_relay import by_mn, province, until, upload
from tests.connectors.test_webhook import NEW, Receiver


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOOK", "OFFSITE_HOOK_SECRET", "OFFSITE_PROVINCE_PASSWORD"):
        monkeypatch.setenv(name, NEW)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


class Stores:
    """The stores of a product on one machine."""

    def __init__(self, data: Path) -> None:
        self.store = StateStore(data / "state.sqlite", durable=False)
        self.log = SqliteLog(data / "log", now)
        self.desk: Desk = ready(data, Hand(now()))

    def judge(self, *bodies: dict[str, Any]) -> None:
        self.store.commit([Step((), [(kind, site, body) for _, kind, site, body in outputs(*bodies)])])

    def close(self) -> None:
        self.store.close()
        self.log.close()
        self.desk.close()


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    with closing(Stores(tmp_path)) as made:
        yield made


def settings(data: Path, *tables: dict[str, Any], **more: Any) -> Settings:
    return Settings(data=data, outputs=tables, **more)


def hook(receiver: Receiver, **more: Any) -> dict[str, Any]:
    return {"kind": "webhook", "name": "hook", "url": f"http://127.0.0.1:{receiver.port}/", "secrets": ["env:HOOK"], **more}


def relay(port: int, **more: Any) -> dict[str, Any]:
    return {"kind": "hj212-relay", "name": "province", "host": "127.0.0.1", "port": port, "reconnect": 0.1, **more}


@asynccontextmanager
async def running(given: Settings, stores: Stores) -> AsyncIterator[Outputs]:
    made = Outputs(given, now, owner="here", chance=Random(1))
    task = asyncio.create_task(made.run(made.sources(stores.store, stores.log, stores.desk)))
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        made.close()


def sent(made: Outputs, name: str, count: int) -> Callable[[], bool]:
    return lambda: made.queue.books().get(name, {"sent": 0})["sent"] >= count


def types(receiver: Receiver) -> list[tuple[str, str]]:
    return [(said["type"], said["data"]["id"]) for _, body in receiver.requests for said in [json.loads(body)]]


def test_what_the_judge_and_the_desk_say_arrives_once(tmp_path: Path, stores: Stores, receiver: Receiver) -> None:
    event = {
        "id": "e1",
        "seq": 7,
        "kind": "alert",
        "site": "S1",
        "at": "2026-03-04T10:00:00+08:00",
        "subject": "a1",
        "action": "ack",
    }

    async def scenario() -> None:
        given = settings(tmp_path, hook(receiver, start="beginning"))
        stores.judge(alert("a1", 1), lead("l1", 2))
        for count, more in ((3, []), (4, [alert("a2", 3)])):
            stores.judge(*more)
            async with running(given, stores) as made:
                await made.take_case_events([event])  # carried again after a restart: the desk had not dropped it yet
                await until(sent(made, "hook", count))
        assert made.queue.books()["hook"]["queued"] == 4

    asyncio.run(scenario())
    assert sorted(types(receiver)) == [
        ("alert.updated", "a1"),
        ("alert.updated", "a2"),
        ("case.event", "e1"),
        ("lead.updated", "l1"),
    ]
    (said,) = [json.loads(body)["data"] for _, body in receiver.requests if b"case.event" in body]
    assert said == event


def test_a_new_target_begins_now_unless_it_is_told_otherwise(tmp_path: Path, stores: Stores, receiver: Receiver) -> None:
    async def scenario() -> None:
        stores.judge(alert("a1", 1))
        stores.desk.project(stores.store.outputs(0, 10), 1)
        async with running(settings(tmp_path, hook(receiver)), stores) as made:
            await until(lambda: "hook" in made.queue.books())
            await asyncio.sleep(0.3)
            stores.judge(alert("a2", 2))
            await until(sent(made, "hook", 1))

    asyncio.run(scenario())
    assert types(receiver) == [("alert.updated", "a2")]


def test_frames_of_the_log_reach_a_platform_once_through_restarts(tmp_path: Path, stores: Stores) -> None:
    frames = [upload(n, f"{n % 5:014d}") for n in range(60)]

    async def scenario() -> list[bytes]:
        async with province() as center:
            given = settings(tmp_path, relay(center.port, start="beginning"))
            for part in (frames[:20], frames[20:45], frames[45:]):
                stores.log.append([Record("emission-monitoring", "S1", -1, HJ212, frame) for frame in part])
                stores.log.append([Record("context", "S1", -1, JSON, b"{}")])
                async with running(given, stores) as made:
                    await until(sent(made, "province", frames.index(part[-1]) + 1))
        return center.frames

    assert by_mn(asyncio.run(scenario())) == by_mn(frames)


def test_held_frames_leave_once(tmp_path: Path, stores: Stores) -> None:
    """Without `sites` a frame leaves when it comes, registered or not; with `sites` once its site is known."""
    one, two = upload(1), upload(2, "A" * 14)
    records = [(HELD, one, HJ212), ("emission-monitoring", two, HJ212), ("emission-monitoring", one, REDRIVEN)]

    async def scenario(**more: Any) -> list[bytes]:
        async with province() as center:
            given = settings(tmp_path, relay(center.port, start="beginning", name=f"p{len(more)}", **more))
            async with running(given, stores) as made:
                await until(sent(made, f"p{len(more)}", 2))
                await asyncio.sleep(0.3)
            return center.frames

    stores.log.append([Record(topic, "S1" if topic != HELD else "x", -1, kind, body) for topic, body, kind in records])
    assert sorted(asyncio.run(scenario())) == sorted([one, two])
    assert sorted(asyncio.run(scenario(sites=["S1"]))) == sorted([one, two])


def test_what_the_log_had_dropped_is_counted(tmp_path: Path, stores: Stores) -> None:
    day = 86_400_000
    for n in range(3):
        stores.log.append([Record("emission-monitoring", "S1", n * day, HJ212, upload(n))])

    async def scenario() -> None:
        async with province() as center:
            given = settings(tmp_path, relay(center.port, start="beginning", expire_hours=8760, name="p"), clock=None)
            made = Outputs(given, lambda: 3 * day, owner="here", chance=Random(1))
            assert made.queue.cursor("p", "log", 0) == 0
            stores.log.drop_before(day_of(2 * day))
            task = asyncio.create_task(made.run(made.sources(stores.store, stores.log, stores.desk)))
            await until(sent(made, "p", 1))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            book = made.queue.books()["p"]
            assert (book["queued"], book["missed"]) == (1, 2)
            made.close()
            assert center.frames == [upload(2)]

    asyncio.run(scenario())


def test_what_agents_offer_is_queued_once_for_whom_it_concerns(tmp_path: Path, receiver: Receiver) -> None:
    async def scenario() -> None:
        made = Outputs(settings(tmp_path, hook(receiver, level=2, bound=2), relay(1)), now, owner="agent", chance=Random(1))
        for _ in range(2):
            await made.offer("alert", "S1", 1, json.dumps(alert("a1", 1, level=2)).encode())
            await made.offer("alert", "S1", 2, json.dumps(alert("a2", 2, level=3)).encode())
            await made.offer("lead", "S1", 1, json.dumps(lead("l1", 1, level=1)).encode())
            await made.offer_frame("emission-monitoring", 3, Record("emission-monitoring", "S1", 5, HJ212, upload(1), 17, 3))
        books = made.queue.books()
        assert (books["hook"]["queued"], books["province"]["queued"]) == (2, 1)  # a full target takes what it has for done
        await made.offer_frame("emission-monitoring", 3, Record("emission-monitoring", "S1", 5, HJ212, upload(2), 18, 3))
        with pytest.raises(Retry, match="2 wait"):
            await made.offer("alert", "S2", 3, json.dumps(alert("a3", 3, level=1)).encode())
        made.close()

    asyncio.run(scenario())


def test_an_encrypted_frame_leaves_as_it_came(shared_data: Path) -> None:
    rows = [json.loads(line) for line in (shared_data / "hj212" / "derived.jsonl").read_text("utf-8").splitlines()]
    vectors = [base64.b64decode(row["b64"]) for row in rows if "SM4" in row.get("note", "") and "A.2" in row["name"]]
    key = b"0" * 16
    assert len(vectors) >= 2
    for wire in vectors:
        (frame,) = Framer(dialects=lambda mn: Dialect(sm4_key=key)).feed(wire)
        assert frame.plain != frame.raw
        keys = {"010000A8900016F000169DC0": key}
        assert on_the_wire(frame.plain, keys) == frame.raw == wire.rstrip(b"\r\n")
        assert on_the_wire(frame.plain, {}) == frame.plain
    plain = build(st="31", cn="9015", pw="123456", mn="010000A8900016F000169DC0", flag=8)[:-2]
    assert on_the_wire(plain, keys) == plain


def test_faults_of_the_settings_are_all_named(tmp_path: Path, receiver: Receiver) -> None:
    bad = settings(tmp_path, hook(receiver, tries=0), {"kind": "fax", "name": "f"}, hook(receiver))
    assert [fault.split(":")[0] for fault in faults(bad)] == ["outputs[0].tries", "outputs[1].kind", "outputs[2].name"]
    with pytest.raises(SettingsFaults, match=r"outputs\[1\].kind"):
        Outputs(bad, now, owner="x", chance=Random(1))
    assert faults(settings(tmp_path, hook(receiver))) == []


@pytest.mark.parametrize("name", ["webhook.toml", "kafka-out.toml", "hj212-relay.toml"])
def test_examples_load(name: str) -> None:
    given = load_settings(ROOT / "deploy" / "examples" / name, {})
    made = from_tables(given.outputs, secret, now)
    assert [output.common.name for output in made]


def test_the_queue_lies_with_the_desk_where_that_has_a_database(tmp_path: Path) -> None:
    assert queue_url(Settings(data=tmp_path)) == f"sqlite:///{tmp_path}/outbound.sqlite"
    assert queue_url(Settings(data=tmp_path, desk_url="postgresql+psycopg://desk@db/offsite")).startswith("postgresql")


def told(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    parser = argparse.ArgumentParser()
    verb.add(parser)
    capsys.readouterr()
    code = verb.run(parser.parse_args([str(word) for word in words]))
    return code, *capsys.readouterr()


def test_the_command_line(tmp_path: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = told(capsys, "books", "--data", tmp_path)
    assert (code, "has no outputs yet" in err) == (1, True)
    assert not (tmp_path / "outbound.sqlite").exists()
    code, out, _ = told(capsys, "list", "--config", ROOT / "deploy" / "examples" / "hj212-relay.toml")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [["province", "hj212-relay"], ["old-platform", "hj212-relay"]]

    async def scenario() -> None:
        receiver.answer = lambda headers, body: (400, {})
        made = Outputs(settings(tmp_path, hook(receiver, tries=1)), now, owner="x", chance=Random(1))
        await made.offer("alert", "S1", 1, json.dumps(alert("a1", 1)).encode())
        task = asyncio.create_task(made.run())
        await until(lambda: made.queue.books()["hook"]["refused"] == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        made.close()

    asyncio.run(scenario())
    code, out, _ = told(capsys, "books", "--data", tmp_path, "--json")
    book = json.loads(out)
    assert (code, book["target"], book["queued"], book["refused"], book["waiting"]) == (0, "hook", 1, 1, 0)
    _, out, _ = told(capsys, "books", "--data", tmp_path)
    assert "refused 1 times: 400" in out
    _, out, _ = told(capsys, "sent", "hook", "--state", "refused", "--data", tmp_path, "--json")
    row = json.loads(out)
    assert (row["key"], row["kind"], row["ident"], row["attempts"]) == ("S1", "alert", "1", 1)
    assert row["done"].endswith("+08:00")
    _, out, _ = told(capsys, "sent", "--state", "sent", "--data", tmp_path, "--json")
    assert out == ""
    assert told(capsys, "retry", "nobody", "--data", tmp_path)[0] == 1
    code, out, _ = told(capsys, "retry", "hook", "--data", tmp_path)
    assert (code, out) == (0, "hook goes on; 1 refused entries are sent again\n")
    _, out, _ = told(capsys, "books", "--data", tmp_path, "--json")
    assert json.loads(out)["waiting"] == 1


GUIDE = ROOT / "docs" / "outputs.md"


@pytest.mark.parametrize("kind", CATALOGUE)
def test_the_guide_has_every_key_and_every_example_key_is_known(kind: str) -> None:
    with pytest.raises(TableFaults) as found:
        from_tables([{"kind": kind, "name": "n", "no such key": 1}], secret, now)
    (known,) = [fault.partition("known are ")[2].split(", ") for fault in found.value.faults if "no such key" in fault]
    shown = GUIDE.read_text("utf-8")
    assert [key for key in known if not re.search(rf"^\|[^|]*`{key}`", shown, re.MULTILINE)] == []


def test_the_receiver_of_the_guide_knows_what_is_genuine(receiver: Receiver, tmp_path: Path) -> None:
    block = re.search(r"^    import base64.*?(?=^\S)", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert block is not None
    names: dict[str, Any] = {}
    exec(textwrap.dedent(block[0]), names)

    async def scenario() -> None:
        made = Outputs(settings(tmp_path, hook(receiver)), now, owner="x", chance=Random(1))
        await made.offer("alert", "S1", 1, json.dumps(alert("a1", 1)).encode())
        task = asyncio.create_task(made.run())
        await until(sent(made, "hook", 1))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        made.close()

    asyncio.run(scenario())
    ((headers, body),) = receiver.requests
    assert names["genuine"](NEW, headers, body)
    assert not names["genuine"](NEW, headers, body + b" ")
    assert not names["genuine"](NEW, headers | {"webhook-timestamp": "1"}, body)
