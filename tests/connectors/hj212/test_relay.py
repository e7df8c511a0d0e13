"""The relay: real frames byte for byte to the project's own gateway as province, and to a stubborn old platform beside it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import ssl
import struct
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest

from connectors.core import HJ212, Retry
from connectors.files import lines
from connectors.hj212 import commands
from connectors.hj212.device import DeviceSettings
from connectors.hj212.frame import Dialect, Frame, Framer, split_buffer
from connectors.hj212.header import Header, parse
from connectors.hj212.server import Gateway
from connectors.outbound import Queue
from connectors.outbound_entries import Entry
from connectors.outbound_worker import UNWRITTEN, Worker
from connectors.outputs import Output, from_table
from connectors.table import TableFaults
from tests.connectors.outbound_process import Sender, wall

MN = "010000A8900016F000169DC0"


def upload(n: int, mn: str = MN, flag: int | None = 5, cn: str = "2011", st: str = "31") -> bytes:
    area = f"DataTime=201608241200{n % 60:02d};a21026-Rtd={n}.5,a21026-Flag=N"
    return commands.build(qn=f"20160824{n:09d}", st=st, cn=cn, pw="123456", mn=mn, flag=flag, area=area)[:-2]


def mn_of(frame: bytes) -> str:
    return parse(frame[6:-4]).mn


def entries(frames: Sequence[bytes], *, kind: str = "frame", at: Callable[[int], int] = lambda n: wall()) -> list[Entry]:
    return [Entry(kind, mn_of(frame), n, HJ212, frame, at(n)) for n, frame in enumerate(frames)]


def by_mn(frames: Sequence[bytes]) -> dict[str, list[bytes]]:
    found = defaultdict(list)
    for frame in frames:
        found[mn_of(frame)].append(frame)
    return dict(found)


def followed(sent: list[bytes], came: list[bytes]) -> bool:
    """Tell whether `came` is `sent` in order, but for stretches that were sent again from an earlier place on."""
    reached, at = 0, {0}
    for frame in came:
        at = {place + 1 for place in range(reached + 1) if place < len(sent) and sent[place] == frame}
        if not at:
            return False
        reached = max(reached, *at)
    return reached == len(sent)


class Province:
    """The project's gateway; `gone` takes it away, `back` brings it back to the same port."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.silent: Callable[[Header], bool] = lambda header: False
        self.port = 0

    async def accept(self, frame: Frame, header: Header, _peer: str) -> None:
        if self.silent(header):
            raise Retry("not stored")
        self.frames.append(frame.raw)

    async def back(self) -> None:
        settings = DeviceSettings(known=True, dialect=Dialect(ack_without_flag=True))
        self.gateway = Gateway(self.accept, clock=wall, device=lambda mn: settings)
        self.port = await self.gateway.listen("127.0.0.1", self.port)

    async def gone(self) -> None:
        await self.gateway.close()


@contextlib.asynccontextmanager
async def province() -> AsyncIterator[Province]:
    made = Province()
    await made.back()
    try:
        yield made
    finally:
        await made.gone()


class OldPlatform:
    """It reads slowly, resets connections in the middle of everything, and acknowledges what `answer` says: nothing at first."""

    def __init__(self, resets: int = 0) -> None:
        self.frames: list[bytes] = []
        self.connections = 0
        self.answer: Callable[[Header], list[bytes]] = lambda header: []
        self.resets = resets

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        framer, read = Framer(), 0
        with contextlib.suppress(OSError):
            while data := await reader.read(4_096):
                read += len(data)
                for item in framer.feed(data):
                    assert isinstance(item, Frame)
                    self.frames.append(item.raw)
                    writer.write(b"".join(self.answer(parse(item.segment))))
                if self.resets and read > 30_000:
                    self.resets -= 1
                    raw = writer.get_extra_info("socket")
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
                await asyncio.sleep(0.002)
        writer.close()


@contextlib.asynccontextmanager
async def old_platform(resets: int = 0) -> AsyncIterator[tuple[OldPlatform, int]]:
    made = OldPlatform(resets)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    try:
        yield made, server.sockets[0].getsockname()[1]
    finally:
        server.close()


def relay(name: str, port: int, **more: Any) -> dict[str, Any]:
    return {"kind": "hj212-relay", "name": name, "host": "127.0.0.1", "port": port, "reconnect": 0.1, "stand": 0.05, **more}


def made(table: dict[str, Any]) -> Output:
    output = from_table(table, "outputs[0]", lambda reference: b"", wall)
    object.__setattr__(output.common, "backoff", (0.01, 0.1))
    return output


@contextlib.asynccontextmanager
async def working(queue: Queue, *outputs: Output) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(Worker(queue, output, wall, owner="me", chance=Random(7)).run()) for output in outputs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(holds: Callable[[], bool], seconds: float = 120) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 — a database is looked at
            await asyncio.sleep(0.02)


def nothing_waits(queue: Queue, *names: str) -> Callable[[], bool]:
    return lambda: all(queue.books()[name]["waiting"] == 0 for name in names)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/outbound.sqlite"


@pytest.fixture
def queue(url: str) -> Iterator[Queue]:
    opened = Queue(url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def real(pytestconfig: pytest.Config) -> list[bytes]:
    from tests.conftest import SHARED, need

    path = SHARED / "data" / "hj212" / "2016-08-24_06.h212.xz"
    need(path.exists(), "real HJ 212 frames")
    return split_buffer(b"".join(islice(lines(path), 800))).frames()


def test_real_frames_to_two_platforms_at_once(queue: Queue, real: list[bytes]) -> None:
    async def scenario() -> None:
        async with province() as center, old_platform(resets=3) as (old, port):
            for name in ("province", "old"):
                queue.put(name, entries(real))
            tables = (
                relay("province", center.port, acks="unflagged-too"),
                relay("old", port, acks="never", connections="one", stand=0.5),
            )
            async with working(queue, *map(made, tables)):
                await until(nothing_waits(queue, "province", "old"))
            assert by_mn(center.frames) == by_mn(real)  # byte for byte, in order for each MN, none twice
            assert center.gateway.counters.opened == len(by_mn(real))
            came = by_mn(old.frames)
            assert came.keys() == by_mn(real).keys()
            for mn, sent in by_mn(real).items():
                assert followed(sent, came[mn]), mn
            assert (old.resets, old.connections) == (0, 4)
        for book in queue.books().values():
            assert book["queued"] == book["sent"] == len(real)

    assert len(real) > 700
    asyncio.run(scenario())


def test_the_dialects_of_the_field_pass_unchanged(queue: Queue, shared_data: Path) -> None:
    rows = [json.loads(line) for line in (shared_data / "hj212" / "frames.jsonl").read_text("utf-8").splitlines()]
    frames = list(dict.fromkeys(frame for row in rows for frame in split_buffer(base64.b64decode(row["b64"])).frames()))

    async def scenario() -> None:
        async with province() as center:
            output = made(relay("province", center.port, acks="unflagged-too"))
            wanted = [(mn, frame) for frame in frames if (mn := output.wants("frame", "S1", frame))]
            queue.put("province", [Entry("frame", mn, n, HJ212, frame, wall()) for n, (mn, frame) in enumerate(wanted)])
            async with working(queue, output):
                await until(nothing_waits(queue, "province"))
            assert len(center.frames) == len(wanted) > 100
            assert by_mn(center.frames) == by_mn([frame for _, frame in wanted])

    asyncio.run(scenario())


def test_an_outage_a_full_disk_and_kill_9_lose_nothing(queue: Queue, url: str) -> None:
    frames = [upload(n, f"{n % 7:014d}") for n in range(280)]
    chance = Random(11)

    async def scenario() -> Province:
        async with province() as center:
            center.silent = lambda header: chance.random() < 0.02
            queue.put("province", entries(frames))
            with Sender(url, relay("province", center.port, timeout=2)) as sender:
                for share in (0.2, 0.5):
                    await until(lambda share=share: len(set(center.frames)) > share * len(frames))
                    sender.kill()
                    await asyncio.to_thread(sender.again)
                await until(lambda: len(set(center.frames)) > 0.7 * len(frames))
                await center.gone()
                await asyncio.sleep(0.3)
                await center.back()
                await until(lambda: sender.process.poll() is not None)
                assert sender.process.returncode == 0
        return center

    center = asyncio.run(scenario())
    for mn, sent in by_mn(frames).items():
        assert followed(sent, by_mn(center.frames)[mn])
    twice = sum(n - 1 for n in Counter(center.frames).values())
    assert twice <= 2 * 7 * (UNWRITTEN + 1) + 2 * 7  # two kills, seven devices; the outage
    book = queue.books()["province"]
    assert (book["queued"], book["sent"]) == (280, 280)


def test_resends_as_table_1_says(queue: Queue) -> None:
    async def scenario() -> None:
        async with old_platform() as (old, port):
            heard: Counter[str] = Counter()

            def answer(header: Header) -> list[bytes]:
                heard[header.qn] += 1
                return [commands.ack_data(header)] if heard[header.qn] == 3 else []

            old.answer = answer
            queue.put("old", entries([upload(1), upload(2)]))
            async with working(queue, made(relay("old", port, timeout=0.1))):
                await until(nothing_waits(queue, "old"))
            assert old.frames == [upload(1)] * 3 + [upload(2)] * 3
            assert old.connections == 1
        assert [row["answer"] for row in queue.log("old")] == ["9014 after 3 sends"] * 2

    asyncio.run(scenario())


def test_a_platform_that_never_acknowledges_is_unreachable_until_it_is_set_so(queue: Queue) -> None:
    async def scenario() -> None:
        async with old_platform() as (old, port):
            queue.put("old", entries([upload(1), upload(2)]))
            async with working(queue, made(relay("old", port, timeout=0.1, resends=1))):
                await until(lambda: bool(queue.books()["old"]["fault"]))
            assert "no acknowledgement after 2 sends" in queue.books()["old"]["fault"]
            assert set(old.frames) == {upload(1)}  # the second waits behind the first
            async with working(queue, made(relay("old", port, acks="never"))):
                await until(nothing_waits(queue, "old"))
            assert old.frames[-2:] == [upload(1), upload(2)]

    asyncio.run(scenario())


def test_a_device_that_the_platform_ignores_holds_up_no_other(queue: Queue) -> None:
    async def scenario() -> None:
        async with old_platform() as (old, port):
            old.answer = lambda header: [] if header.mn == MN else [commands.ack_data(header)]
            queue.put("old", entries([upload(1), *(upload(n, "0" * 14) for n in range(40))]))
            async with working(queue, made(relay("old", port, connections="one", timeout=0.1, resends=1))):
                await until(lambda: queue.books()["old"]["waiting"] == 1)
                await until(lambda: old.frames.count(upload(1)) >= 4)
            assert by_mn(old.frames)["0" * 14] == [upload(n, "0" * 14) for n in range(40)]

    asyncio.run(scenario())


@pytest.mark.parametrize("live", ["first", "last"])
def test_live_data_first_or_last(queue: Queue, live: str) -> None:
    frames = [upload(n, flag=4) for n in range(100)]

    async def scenario() -> list[bytes]:
        async with old_platform() as (old, port):
            queue.put("old", entries(frames, at=lambda n: wall() - 3_600_000 if n < 90 else wall()))
            async with working(queue, made(relay("old", port, live=live))):
                await until(nothing_waits(queue, "old"))
            return old.frames

    assert asyncio.run(scenario()) == (frames[90:] + frames[:90] if live == "first" else frames)


def test_what_the_platform_asks_is_counted_and_goes_nowhere(queue: Queue) -> None:
    async def scenario() -> None:
        async with old_platform() as (old, port):
            request = commands.request("2061", {"BeginTime": 0, "EndTime": 1}, qn_ms=0, st="31", mn=MN)
            old.answer = lambda header: [request, b"hello\r\n", commands.ack_data(header)]
            output: Any = made(relay("old", port))
            queue.put("old", entries([upload(1)]))
            async with working(queue, output):
                await until(nothing_waits(queue, "old"))
            assert output.asked == {"2061": 1, "": 1}
            assert old.frames == [upload(1)]

    asyncio.run(scenario())


def test_notices_are_answered_by_9013_and_2005_replies_carry_qn_inside(queue: Queue) -> None:
    async def scenario() -> None:
        async with old_platform() as (old, port):
            inside = lambda h: commands.build(st="91", cn="9014", pw=h.pw, mn=h.mn, flag=0, area=f"QN={h.qn}")
            old.answer = lambda h: [inside(h) if h.flag == 1 else commands.ack_notice(h)]
            queue.put("old", entries([upload(1, cn="9015"), upload(2, flag=1)]))
            async with working(queue, made(relay("old", port))):
                await until(nothing_waits(queue, "old"))
        assert [row["answer"] for row in queue.log("old")] == ["9013", "9014"]

    asyncio.run(scenario())


@pytest.mark.parametrize("acks", ["flag", "never"])
def test_tls(queue: Queue, certs: Any, acks: str) -> None:
    frames = [upload(n) for n in range(5)]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs.server_cert, certs.server_key)

    async def scenario() -> None:
        async with province() as center:
            port = await center.gateway.listen("127.0.0.1", 0, tls=context)
            queue.put("province", entries(frames))
            table = relay("province", port, host="localhost", tls=True, acks=acks)
            async with working(queue, made(table)):
                await until(lambda: bool(queue.books()["province"]["fault"]))
            assert "certificate" in queue.books()["province"]["fault"]  # nobody signed for it
            queue.again("province")
            async with working(queue, made(table | {"ca": str(certs.ca)})):
                await until(nothing_waits(queue, "province"))
            assert center.frames == frames

    asyncio.run(scenario())


def test_what_a_relay_takes() -> None:
    def takes(frame: bytes, kind: str = "frame", site: str = "S1", **more: Any) -> str | None:
        return from_table(relay("r", 1, **more), "outputs[0]", lambda reference: b"", wall).wants(kind, site, frame)

    one = upload(1)
    assert takes(one) == takes(one, "frame/emission-monitoring/3") == takes(one, "frame.held") == MN
    assert takes(one, "frame.redriven") is None  # it left when it was held
    assert takes(one, "frame.redriven", sites=["S1"]) == MN
    assert takes(one, "frame.held", sites=["S1"]) is None  # nobody knows its site yet
    assert takes(one, sites=["S2"]) is None
    assert takes(one, mn=[MN], st=["31"], cn=["2011"]) == MN
    assert takes(one, mn=["x"]) is takes(one, st=["32"]) is takes(one, cn=["2051"]) is None
    assert takes(upload(1, cn="9011")) is takes(upload(1, cn="1013")) is None
    assert takes(upload(1, cn="9011"), cn=["9011"]) == MN
    assert takes(b'{"level": 1}', "alert") is None


def test_every_fault_of_a_table_is_named() -> None:
    wrong = {"kind": "hj212-relay", "name": "r", "acks": "often", "port": 0, "mn": [1], "timeout": True, "tls": 1}
    with pytest.raises(TableFaults) as found:
        from_table(wrong, "outputs[0]", lambda _: b"", wall)
    names = sorted(fault.split(":")[0].removeprefix("outputs[0].") for fault in found.value.faults)
    assert names == ["acks", "host", "mn", "port", "timeout", "tls"]
