"""The gateway against real sockets: durable before answered, many devices a socket, and nothing a peer sends ends it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.core import Lost, Refused, Retry
from connectors.hj212 import commands
from connectors.hj212.device import DeviceSettings, GatewayLimits
from connectors.hj212.frame import BadChunk, Dialect, Frame
from connectors.hj212.header import Header, parse
from connectors.hj212.server import Gateway

NOW = 1_472_011_200_123
MN = "010000A8900016F000169DC0"


def upload(qn: str = "20160824120000001", mn: str = MN, flag: int | None = 5, cn: str = "2011", area: str | None = None) -> bytes:
    text = "DataTime=20160824120000;a21026-Rtd=1.5,a21026-Flag=N" if area is None else area
    return commands.build(qn=qn, st="31", cn=cn, pw="123456", mn=mn, flag=flag, area=text)


class Store:
    """An accept that can be held, and fails as told."""

    def __init__(self) -> None:
        self.frames: list[tuple[Frame, Header, str]] = []
        self.bad: list[BadChunk] = []
        self.open = asyncio.Event()
        self.open.set()
        self.errors: list[Exception] = []

    async def accept(self, frame: Frame, header: Header, peer: str) -> None:
        await self.open.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.frames.append((frame, header, peer))

    def reject(self, chunk: BadChunk, _peer: str) -> None:
        self.bad.append(chunk)


@contextlib.asynccontextmanager
async def serving(
    store: Store, *, limits: GatewayLimits | None = None, device: Callable[[str], DeviceSettings] | None = None, tls: Any = None
) -> AsyncIterator[tuple[Gateway, int]]:
    settings = device or (lambda mn: DeviceSettings(known=mn == MN))
    gateway = Gateway(store.accept, clock=lambda: NOW, device=settings, reject=store.reject, limits=limits)
    port = await gateway.listen("127.0.0.1", 0, tls=tls)
    try:
        yield gateway, port
    finally:
        await gateway.close()
        assert gateway.counters.open == 0


class Device:
    """A client that reads whole frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def heard(self) -> Header:
        line = await asyncio.wait_for(self.reader.readuntil(b"\r\n"), 30)
        return parse(line[6:-6])

    async def text(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), 30)

    async def silent(self) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.reader.read(1), 0.05)


@contextlib.asynccontextmanager
async def dialled(port: int, **kwargs: Any) -> AsyncIterator[Device]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **kwargs)
    try:
        yield Device(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 — the books have no bell
            await asyncio.sleep(0.002)


def scene(play: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(play())  # type: ignore[arg-type]


def test_the_answer_comes_after_durability_with_the_qn_of_the_request() -> None:
    async def play() -> None:
        store = Store()
        store.open.clear()
        async with serving(store) as (gateway, port), dialled(port) as device:
            device.writer.write(upload())
            await until(lambda: gateway.counters.read == 1)
            await device.silent()
            store.open.set()
            ack = await device.heard()
            assert (ack.qn, ack.cn, ack.st, ack.mn, ack.flag) == ("20160824120000001", "9014", "91", MN, 4)
            assert store.frames[0][0].raw == upload()[:-2]
            assert (gateway.counters.accepted, gateway.counters.acks) == (1, {"9014": 1})

    scene(play)


@pytest.mark.parametrize(
    ("flag", "forced", "answered"), [(5, False, True), (4, False, False), (None, False, False), (None, True, True)]
)
def test_an_answer_is_given_only_where_flag_bit_a_or_the_device_asks(flag: int | None, forced: bool, answered: bool) -> None:
    async def play() -> None:
        store = Store()
        settings = DeviceSettings(known=True, dialect=Dialect(ack_without_flag=forced))
        async with serving(store, device=lambda _: settings) as (gateway, port), dialled(port) as device:
            device.writer.write(upload(flag=flag))
            await until(lambda: gateway.counters.accepted)
            if answered:
                assert (await device.heard()).cn == "9014"
            else:
                await device.silent()

    scene(play)


def test_many_devices_share_a_socket_and_an_unknown_one_is_stored_and_answered_too() -> None:
    async def play() -> None:
        store = Store()
        async with serving(store) as (gateway, port), dialled(port) as device:
            for i in range(300):
                device.writer.write(upload(qn=f"20160824120000{i:03d}", mn=f"UNKNOWN{i:05d}"))
            acks = [await device.heard() for _ in range(300)]
            assert [a.mn for a in acks] == [f"UNKNOWN{i:05d}" for i in range(300)]
            assert [h.mn for _, h, _ in store.frames] == [a.mn for a in acks]
            assert gateway.counters.unknown_device == 300
            assert gateway.connected("UNKNOWN00007")
        assert not gateway.connected("UNKNOWN00007")

    scene(play)


@pytest.mark.parametrize(
    ("error", "fate"),
    [(Retry("full"), "retry"), (Refused("no"), "refused"), (ZeroDivisionError(), "failed"), (Lost("gone"), "lost")],
)
def test_what_is_not_stored_is_not_answered_but_counted_and_its_repetition_is(
    error: Exception, fate: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        store = Store()
        store.errors = [error]
        async with serving(store) as (gateway, port), dialled(port) as device:
            device.writer.write(upload())
            await until(lambda: gateway.counters.unstored[fate])
            await device.silent()
            device.writer.write(upload())
            assert (await device.heard()).cn == "9014"
            assert gateway.counters.read == gateway.counters.accepted + 1 == 2
            assert gateway.lost.done() == (fate == "lost")
            assert bool(caplog.records) == (fate == "failed")

    scene(play)


def test_an_accept_that_raises_at_once_is_no_different() -> None:
    async def play() -> None:
        def accept(_frame: Frame, _header: Header, _peer: str) -> Awaitable[object]:
            raise Retry("the log is behind")

        gateway = Gateway(accept, clock=lambda: NOW, device=lambda _: DeviceSettings())
        port = await gateway.listen("127.0.0.1", 0)
        async with dialled(port) as device:
            device.writer.write(upload())
            await until(lambda: gateway.counters.unstored["retry"])
        await gateway.close()

    scene(play)


def test_1013_is_answered_by_9013_and_then_the_clock_is_set() -> None:
    async def play() -> None:
        async with serving(Store()) as (gateway, port), dialled(port) as device:
            device.writer.write(upload(cn="1013", flag=5, area="PolId=w01018"))
            assert (await device.heard()).cn == "9013"
            line = await device.reader.readuntil(b"\r\n")
            order = parse(line[6:-6])
            assert order.cn == "1012"
            assert order.qn == "20160824120000123"
            assert b"SystemTime=20160824120000" in line
            for cn, area in (("9011", "QnRtn=1"), ("9012", "ExeRtn=1")):
                device.writer.write(commands.build(qn=order.qn, st="91", cn=cn, pw="123456", mn=MN, flag=4, area=area))
            await until(lambda: gateway.counters.outcomes["ok"])

    scene(play)


def test_the_heartbeat_of_2025_is_answered_by_9013() -> None:
    async def play() -> None:
        async with serving(Store()) as (_, port), dialled(port) as device:
            device.writer.write(upload(cn="9015", flag=9, area=""))
            reply = await device.heard()
            assert (reply.cn, reply.flag) == ("9013", 8)

    scene(play)


def test_a_known_device_is_greeted_once_as_its_settings_say() -> None:
    async def play() -> None:
        settings = DeviceSettings(known=True, greeting=("1012", "1000", "1062", "1064", "2011"), rtd_interval=60)
        async with serving(Store(), device=lambda _: settings) as (gateway, port), dialled(port) as device:
            device.writer.write(upload(flag=4))
            heard = []
            for _ in range(5):
                order = await device.heard()
                heard.append(order.cn)
                for cn, area in (("9011", "QnRtn=1"), ("9012", "ExeRtn=1")):
                    device.writer.write(commands.build(qn=order.qn, st="91", cn=cn, pw="123456", mn=MN, flag=4, area=area))
            assert heard == ["1012", "1000", "1062", "1064", "2011"]
            await until(lambda: gateway.counters.outcomes["ok"] == 5)
            device.writer.write(upload(flag=4))
            await device.silent()

    scene(play)


@pytest.mark.parametrize(
    ("sent", "name", "answer"),
    [
        (b"GET /api HTTP/1.1\r\nHost: x\r\n\r\n", "http", b"HTTP/1.1 400 Bad Request\r\n"),
        (b"POST /api/v1/readings HTTP/1.1\r\n\r\n{}", "http", b"HTTP/1.1 400"),
        (b"weather,site=S1 temperature=82 1465839830100400200\n", "influx", b"error: this port speaks HJ 212"),
        (b'{"site": "S1"}', "json", b'{"error": "this port'),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "ssh", b"this port speaks HJ 212"),
        (b"\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x0a", "modbus", b""),
        (b"\x16\x03\x01\x02\x00\x01\x00", "tls", b""),
        (b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", "mqtt", b""),
    ],
)
def test_another_protocol_is_told_where_it_is_and_closed(sent: bytes, name: str, answer: bytes) -> None:
    async def play() -> None:
        store = Store()
        async with serving(store) as (gateway, port), dialled(port) as device:
            device.writer.write(sent)
            said = await device.text()
            assert said.startswith(answer)
            assert bool(said) == bool(answer)
            await until(lambda: gateway.counters.open == 0)
            assert gateway.counters.closed == {f"alien:{name}": 1}
            assert gateway.counters.read == 0

    scene(play)


@pytest.mark.parametrize("first", [b"+8613800000000\r\n", b"##test13800000000\0", b"\x00\x00\xff", b"$\t?\0", b"\r\n"])
def test_a_registration_text_or_noise_before_the_first_frame_is_no_alien(first: bytes) -> None:
    async def play() -> None:
        async with serving(Store()) as (gateway, port), dialled(port) as device:
            device.writer.write(first)
            await asyncio.sleep(0.01)
            device.writer.write(upload())
            assert (await device.heard()).cn == "9014"
            assert gateway.counters.read == gateway.counters.accepted + gateway.counters.rejected.total()

    scene(play)


def test_bad_frames_are_counted_kept_and_disturb_no_neighbour() -> None:
    async def play() -> None:
        store = Store()
        broken = upload().replace(b"1.5", b"9.9")
        headless = commands.build(st="31", cn="", pw="", mn=MN, area="")
        async with serving(store) as (gateway, port), dialled(port) as device:
            stream = upload() + broken + headless + upload(qn="20160824120000002")
            for i in range(0, len(stream), 7):
                device.writer.write(stream[i : i + 7])
                await asyncio.sleep(0)
            assert (await device.heard()).qn == "20160824120000001"
            assert (await device.heard()).qn == "20160824120000002"
            assert gateway.counters.rejected == {"bad_crc": 1, "bad_structure": 1}
            assert [c.reason for c in store.bad] == ["bad_crc", "bad_structure"]
            assert gateway.counters.read == 4

    scene(play)


def test_an_endless_line_costs_bounded_memory_and_the_connection() -> None:
    async def play() -> None:
        store = Store()
        async with serving(store, limits=GatewayLimits(noise=200_000)) as (gateway, port), dialled(port) as device:
            with contextlib.suppress(ConnectionError):
                for _ in range(100):
                    device.writer.write(b"x" * 65_536)
                    await device.writer.drain()
            await until(lambda: gateway.counters.closed["noise"])
            assert max(len(chunk.raw) for chunk in store.bad) <= 16_384 + 10_240
            assert sum(len(chunk.raw) for chunk in store.bad) < 500_000

    scene(play)


def test_a_slow_peer_is_closed_by_time_and_its_half_frame_is_counted() -> None:
    async def play() -> None:
        limits = GatewayLimits(partial=0.01, unproven=0.03)
        store = Store()
        async with serving(store, limits=limits) as (gateway, port), dialled(port) as device:
            device.writer.write(upload()[:50])
            await until(lambda: gateway.counters.read or _sweep_all(gateway))
            assert gateway.counters.rejected.total() == 1
            await until(lambda: gateway.counters.closed["unproven"] or _sweep_all(gateway))
            assert await device.text() == b""

    scene(play)


def _sweep_all(gateway: Gateway) -> None:
    for session in list(gateway._sessions):
        session.sweep(asyncio.get_running_loop().time())


def test_an_idle_device_is_closed_in_the_end() -> None:
    async def play() -> None:
        async with serving(Store(), limits=GatewayLimits(idle=0.02)) as (gateway, port), dialled(port) as device:
            device.writer.write(upload(flag=4))
            await until(lambda: gateway.counters.accepted)
            await until(lambda: gateway.counters.closed["idle"] or _sweep_all(gateway))

    scene(play)


def test_beyond_the_limit_of_connections_the_newest_is_closed_and_counted() -> None:
    async def play() -> None:
        async with (
            serving(Store(), limits=GatewayLimits(connections=1)) as (gateway, port),
            dialled(port) as first,
        ):
            await until(lambda: gateway.counters.open == 1)
            async with dialled(port) as second:
                with contextlib.suppress(ConnectionError):
                    assert await second.text() == b""
            await until(lambda: gateway.counters.closed == {"too_many": 1})
            first.writer.write(upload())
            assert (await first.heard()).cn == "9014"

    scene(play)


def test_a_peer_faster_than_its_rate_is_held_back_not_refused() -> None:
    async def play() -> None:
        async with serving(Store(), limits=GatewayLimits(rate=500, burst=10)) as (gateway, port), dialled(port) as device:
            device.writer.write(b"".join(upload(qn=f"20160824120000{i:03d}") for i in range(60)))
            acks = [await device.heard() for _ in range(60)]
            assert len({a.qn for a in acks}) == 60
            assert gateway.counters.throttled >= 1

    scene(play)


def test_reading_pauses_while_too_much_waits_to_be_durable() -> None:
    async def play() -> None:
        store = Store()
        store.open.clear()
        async with serving(store, limits=GatewayLimits(in_flight=10)) as (gateway, port), dialled(port) as device:
            frames = b"".join(upload(qn=f"20160824{i:09d}") for i in range(5_000))
            device.writer.write(frames)
            await until(lambda: gateway.counters.read >= 10)
            await asyncio.sleep(0.05)
            stuck = gateway.counters.read
            await asyncio.sleep(0.05)
            assert gateway.counters.read == stuck < 5_000
            store.open.set()
            await until(lambda: gateway.counters.accepted == 5_000 or not _drain(device))

    scene(play)


def _drain(device: Device) -> bool:
    device.reader._buffer.clear()  # type: ignore[attr-defined]
    device.reader._maybe_resume_transport()  # type: ignore[attr-defined]
    return True


def test_a_peer_that_half_closes_still_gets_its_answers() -> None:
    async def play() -> None:
        store = Store()
        store.open.clear()
        async with serving(store) as (gateway, port), dialled(port) as device:
            device.writer.write(upload())
            device.writer.write_eof()
            await until(lambda: gateway.counters.read)
            store.open.set()
            assert (await device.heard()).cn == "9014"
            assert await device.text() == b""
            await until(lambda: gateway.counters.closed["peer"])

    scene(play)


def test_a_reset_at_any_moment_is_counted_and_harmless() -> None:
    async def play() -> None:
        store = Store()
        async with serving(store) as (gateway, port):
            for cut in range(0, len(upload()), 11):
                async with dialled(port) as device:
                    device.writer.write(upload() + upload()[:cut])
                    await until(lambda cut=cut: len(store.frames) == cut // 11 + 1)
                    device.writer.transport.abort()
            await until(lambda: gateway.counters.open == 0)
            counters = gateway.counters
            assert counters.read == counters.accepted + counters.rejected.total()

    scene(play)


def test_one_device_on_two_sockets_commands_go_where_it_spoke_last() -> None:
    async def play() -> None:
        async with serving(Store()) as (gateway, port), dialled(port) as old, dialled(port) as new:
            for device in (old, new):
                device.writer.write(upload(flag=5))
                await device.heard()
            sending = asyncio.ensure_future(gateway.send(MN, "3015", "", timeout=0.05, retries=0))
            assert (await new.heard()).cn == "3015"
            assert (await sending).fault == "unreachable"
            await old.silent()
            old.writer.close()
            await until(lambda: gateway.counters.open == 1)
            assert gateway.connected(MN)

    scene(play)


def test_tls_carries_the_same_frames(tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            key,
            "-out",
            cert,
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ],
        check=True,
        capture_output=True,
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    client = ssl.create_default_context(cafile=str(cert))
    client.check_hostname = False

    async def play() -> None:
        async with serving(Store(), tls=server) as (gateway, port):
            async with dialled(port, ssl=client) as device:
                device.writer.write(upload())
                assert (await device.heard()).cn == "9014"
            await until(lambda: gateway.counters.closed["peer"])

    scene(play)


def test_a_port_that_is_taken_is_named() -> None:
    async def play() -> None:
        async with serving(Store()) as (gateway, port):
            with pytest.raises(Lost, match=f"127.0.0.1:{port} cannot be opened"):
                await gateway.listen("127.0.0.1", port)

    scene(play)


def test_the_counters_are_plain_json() -> None:
    async def play() -> None:
        async with serving(Store()) as (gateway, port), dialled(port) as device:
            device.writer.write(upload())
            await device.heard()
            books = gateway.counters.snapshot()
            assert (books["read"], books["accepted"], books["acks"], books["open"]) == (1, 1, {"9014": 1}, 1)
            assert gateway.devices() == [MN]

    scene(play)
