"""Intake of a mirrored feed: byte-exact, in order, and not a byte goes back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from connectors import files
from connectors.core import Lost, Retry
from connectors.hj212.frame import split_buffer
from connectors.hj212.mirror import Mirror
from connectors.inputs import from_table
from connectors.table import TableFaults
from offsite.settings import secret
from tests.connectors.doors import Kept, running, until

FRAME = b"##0130QN=20261125034036928;ST=31;CN=2011;PW=123456;MN=LD130124000122;Flag=5;CP=&&DataTime=20261125034036;a21026-Rtd=12.3,a21026-Flag=N&&D081"
ASKS = b"##0077QN=20261125034036928;ST=91;CN=9014;PW=123456;MN=LD130124000122;Flag=4;CP=&&&&4100"


def made(kept: Kept, **more: object) -> Mirror:
    found = from_table({"kind": "hj212-mirror", "name": "old", "host": "127.0.0.1", **more}, "inputs[0]", kept.doors, secret)
    assert isinstance(found, Mirror)
    return found


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_frames_that_ask_for_an_answer_get_none(kept: Kept) -> None:
    mirror = made(kept, mode="listen", port=0)

    async def play() -> None:
        await until(lambda: mirror.counters.state == "listening")
        reader, writer = await asyncio.open_connection("127.0.0.1", mirror.port)
        writer.write(FRAME + b"\r\nrubbish\r\n" + ASKS + b"\r\n" + FRAME[:-1])
        writer.write_eof()
        assert await reader.read() == b""  # the end of the connection, and nothing before it
        writer.close()
        await until(lambda: mirror.counters.messages == 4)

    asyncio.run(running(mirror.run(), play))
    assert [(raw, mn, source.partition(" ")[0]) for raw, mn, source in kept.frames] == [
        (FRAME, "LD130124000122", "mirror:old"),
        (ASKS, "LD130124000122", "mirror:old"),
    ]
    assert [(reason, raw.strip()) for reason, raw, _ in kept.chunks] == [("noise", b"rubbish"), ("bad_crc", FRAME[:-1])]
    assert mirror.counters.rows == {"accepted": 2, "rejected": 2}


def test_a_sender_is_looked_for_again_and_a_full_log_is_waited_for(kept: Kept) -> None:
    heard: list[bytes] = []
    calls = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        writer.write(FRAME * 3)
        await writer.drain()
        if calls == 1:
            writer.close()
            return
        heard.append(await reader.read())
        writer.close()

    async def play() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        mirror = made(kept, port=server.sockets[0].getsockname()[1])
        kept.errors = [Retry("disk full", 0.01)] * 4
        await running(mirror.run(), lambda: until(lambda: len(kept.frames) == 6))
        assert mirror.counters.reconnects == 1
        assert mirror.counters.retries >= 2
        await until(lambda: heard == [b""])
        server.close()

    asyncio.run(play())


def test_real_frames_arrive_byte_for_byte_in_their_order(kept: Kept, shared_data: Path) -> None:
    stream = b"".join(files.chunks(shared_data / "hj212" / "2016-08-24_05.h212.xz"))[:2_000_000]
    mirror = made(kept, mode="listen", port=0)
    split = split_buffer(stream)

    async def play() -> None:
        await until(lambda: mirror.counters.state == "listening")
        _, writer = await asyncio.open_connection("127.0.0.1", mirror.port)
        writer.write(stream)
        await writer.drain()
        writer.close()
        await until(lambda: len(kept.frames) == len(split.starts) and len(kept.chunks) == len(split.bad), 30)

    asyncio.run(running(mirror.run(), play))
    assert [raw for raw, _, _ in kept.frames] == split.frames()


def test_a_port_in_use_ends_the_process_with_the_remedy(kept: Kept) -> None:
    first = made(kept, mode="listen", port=0)

    async def play() -> None:
        await until(lambda: first.counters.state == "listening")
        second = made(kept, mode="listen", port=first.port)
        with pytest.raises(Lost, match="choose another port"):
            await second.run()

    asyncio.run(running(first.run(), play))


def test_every_fault_of_the_settings_is_named(kept: Kept) -> None:
    with pytest.raises(TableFaults) as caught:
        from_table({"kind": "hj212-mirror", "mode": "talk", "silence": 3}, "inputs[0]", kept.doors, secret)
    keys = {fault.partition(":")[0] for fault in caught.value.faults}
    assert keys == {f"inputs[0].{key}" for key in ("mode", "host", "port", "silence")}
