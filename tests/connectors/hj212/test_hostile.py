"""Whatever a peer sends, in whatever pieces: the gateway stays up, the books add up, and good frames come through."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.core import Retry
from connectors.hj212 import commands
from connectors.hj212.device import DeviceSettings, GatewayLimits
from connectors.hj212.frame import BadChunk, Frame
from connectors.hj212.header import Header
from connectors.hj212.server import Gateway
from connectors.hj212.session import Session


class Line:
    """A transport that goes nowhere and may be full."""

    def __init__(self) -> None:
        self.wrote = b""
        self.closed = False
        self.paused = False

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.1", 4711) if name == "peername" else None

    def set_write_buffer_limits(self, high: int) -> None:
        assert high > 0

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.wrote += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False


def upload(number: int) -> bytes:
    area = "DataTime=20160824120000;w01018-Rtd=20.5,w01018-Flag=N"
    return commands.build(qn=f"{number:017d}", st="32", cn="2011", pw="123456", mn="MN1", flag=5, area=area)


async def turns() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


def gateway_of(frames: list[Frame], bad: list[BadChunk], every: int = 0, limits: GatewayLimits | None = None) -> Gateway:
    """A gateway whose every `every`-th store fails."""
    seen = [0]

    async def accept(frame: Frame, _header: Header, _peer: str) -> None:
        seen[0] += 1
        await asyncio.sleep(0)
        if every and seen[0] % every == 0:
            raise Retry("the disk is full")
        frames.append(frame)

    return Gateway(accept, clock=lambda: 0, device=lambda _: DeviceSettings(), reject=lambda c, _: bad.append(c), limits=limits)


junk = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [b"##", b"##9999", b"##0000", b"\r\n", b"\n", b"&&", b"##0008CP=&&&&", b"\x00" * 30, b"QN=1;ST=31;", b"##00"]
    ),
    st.integers(0, 200).map(lambda cut: upload(7)[:cut]),
)


@given(st.lists(junk, max_size=15), st.lists(st.integers(1, 60), max_size=30), st.integers(0, 3))
@settings(deadline=None, max_examples=150)
def test_the_books_add_up_and_nothing_raises(parts: list[bytes], cuts: list[int], every: int) -> None:
    async def play() -> None:
        frames: list[Frame] = []
        bad: list[BadChunk] = []
        gateway, line = gateway_of(frames, bad, every), Line()
        session = Session(gateway)
        session.connection_made(line)  # type: ignore[arg-type]
        stream = b"".join(parts)
        for cut in [*cuts, len(stream)]:
            if line.closed:
                break
            session.data_received(stream[:cut])
            stream = stream[cut:]
            await turns()
        session.connection_lost(None)
        await turns()
        counters = gateway.counters
        assert counters.read == counters.accepted + counters.rejected.total() + counters.unstored.total()
        assert counters.accepted == len(frames)
        assert counters.rejected.total() == len(bad)
        assert line.wrote.count(b"CN=9014") <= counters.accepted
        assert counters.closed.total() == 1
        await gateway.close()

    asyncio.run(play())


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 200)), min_size=1, max_size=20))
@settings(deadline=None, max_examples=60)
def test_every_good_frame_comes_through_noise_that_ends_its_line(steps: list[tuple[int, int]]) -> None:
    noise = (b"", b"$\t?\0\r\n", b"##0123broken\r\n", b"##test13800000000\0\r\n")

    async def play() -> None:
        frames: list[Frame] = []
        gateway, line = gateway_of(frames, []), Line()
        session = Session(gateway)
        session.connection_made(line)  # type: ignore[arg-type]
        stream = b"".join(noise[kind] + upload(i) for i, (kind, _) in enumerate(steps))
        for _, cut in [*steps, (0, len(stream))]:
            session.data_received(stream[:cut])
            stream = stream[cut:]
        await turns()
        assert [frame.raw for frame in frames] == [upload(i)[:-2] for i in range(len(steps))]
        assert line.wrote.count(b"CN=9014") == len(steps)
        await gateway.close()

    asyncio.run(play())


def test_a_peer_that_reads_no_answers_is_not_read_and_in_the_end_cut_off() -> None:
    async def play() -> None:
        gateway, line = gateway_of([], [], limits=GatewayLimits(lagging=10)), Line()
        session = Session(gateway)
        session.connection_made(line)  # type: ignore[arg-type]
        now = asyncio.get_running_loop().time()
        session.pause_writing()
        assert line.paused
        session.resume_writing()
        assert not line.paused
        session.pause_writing()
        session.sweep(now + 5)
        assert not line.closed
        session.sweep(now + 11)
        assert line.closed
        session.connection_lost(None)
        assert gateway.counters.closed == {"lagging": 1}
        await gateway.close()

    asyncio.run(play())


@pytest.mark.parametrize("later", [False, True])
def test_a_chunk_that_cannot_be_put_aside_is_counted_and_ends_nothing(later: bool) -> None:
    async def play() -> None:
        def reject(_chunk: BadChunk, _peer: str) -> asyncio.Future[int]:
            error = Retry("the disk is full")
            if not later:
                raise error
            future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            future.set_exception(error)
            return future

        gateway, line = gateway_of([], []), Line()
        gateway._reject = reject
        session = Session(gateway)
        session.connection_made(line)  # type: ignore[arg-type]
        session.data_received(b"##0123broken\r\n" + upload(1))
        await turns()
        assert (gateway.counters.rejected.total(), gateway.counters.not_kept, gateway.counters.accepted) == (1, 1, 1)
        assert not line.closed
        await gateway.close()

    asyncio.run(play())


def test_a_closed_connection_whose_peer_reads_nothing_is_cut_off() -> None:
    class Stuck(Line):
        aborted = False

        def abort(self) -> None:
            self.aborted = True

    async def play() -> None:
        gateway, line = gateway_of([], [], limits=GatewayLimits(lagging=10)), Stuck()
        session = Session(gateway)
        session.connection_made(line)  # type: ignore[arg-type]
        now = asyncio.get_running_loop().time()
        session.close("idle")
        session.sweep(now + 5)
        assert (line.closed, line.aborted) == (True, False)
        session.sweep(now + 11)
        assert line.aborted
        session.connection_lost(None)
        assert gateway.counters.closed == {"idle": 1}
        await gateway.close()

    asyncio.run(play())


def test_one_socket_may_claim_only_so_many_devices() -> None:
    async def play() -> None:
        frames: list[Frame] = []
        gateway, line = gateway_of(frames, [], limits=GatewayLimits(devices_per_connection=3)), Line()
        session = Session(gateway)
        session.connection_made(line)  # type: ignore[arg-type]
        for i in range(10):
            session.data_received(commands.build(st="31", cn="2011", pw="1", mn=f"M{i}", flag=5, qn=f"{i:017d}", area="a=1"))
        await turns()
        assert gateway.devices() == ["M0", "M1", "M2"]
        assert len(frames) == 10
        await gateway.close()

    asyncio.run(play())
