"""Group commit: durable before the future, many waiters a commit, every waiter gets an answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from connectors.core import Lost, Record, Retry
from connectors.log_writer import LogWriter
from connectors.memory import Fault, FaultyLog, MemoryLog


def record(body: bytes = b"x") -> Record:
    return Record("t", "k", -1, "c", body)


class Slow(MemoryLog):
    """Holds each append until told to go on."""

    def __init__(self) -> None:
        super().__init__(lambda: 7)
        self.gate = threading.Event()
        self.batches: list[int] = []

    def append(self, records: Sequence[Record]) -> int:
        self.gate.wait(5)
        self.batches.append(len(records))
        return super().append(records)


def test_a_future_resolves_only_after_the_log_has_the_record_and_waiters_share_a_commit() -> None:
    async def scene() -> None:
        log = Slow()
        writer = LogWriter(log)
        futures = [writer.append(record(b"%d" % i)) for i in range(100)]
        await asyncio.sleep(0.02)
        assert not any(f.done() for f in futures)
        assert (log.end(), writer.waiting) == (0, 100)
        log.gate.set()
        assert await asyncio.gather(*futures) == list(range(100))
        assert [r.body for r in log.records] == [b"%d" % i for i in range(100)]
        assert len(log.batches) <= 2
        assert await writer.append(record(), record(), record()) == 100
        assert await writer.append(record()) == 103
        await writer.close()
        assert writer.waiting == 0

    asyncio.run(scene())


def test_beyond_its_bound_the_queue_says_retry() -> None:
    async def scene() -> None:
        log = Slow()
        writer = LogWriter(log, max_records=3, max_bytes=1000)
        kept = [writer.append(record()) for _ in range(3)]
        with pytest.raises(Retry, match="the log is behind"):
            writer.append(record())
        log.gate.set()
        await asyncio.gather(*kept)
        with pytest.raises(Retry, match="the log is behind"):
            writer.append(record(b"x" * 1001))
        assert await writer.append(record()) == 3
        await writer.close()

    asyncio.run(scene())


def test_a_full_disk_reaches_the_waiters_and_the_next_append_works() -> None:
    async def scene() -> None:
        writer = LogWriter(FaultyLog(MemoryLog(lambda: 0), {0: Fault.FULL}))
        with pytest.raises(Retry, match="full"):
            await writer.append(record())
        assert await writer.append(record()) == 0
        await writer.close()

    asyncio.run(scene())


def test_a_lost_log_is_lost_for_all_who_wait_and_all_who_come() -> None:
    async def scene() -> None:
        writer = LogWriter(FaultyLog(MemoryLog(lambda: 0), {1: Fault.CRASH_AFTER}))
        assert await writer.append(record()) == 0
        with pytest.raises(Lost):
            await writer.append(record())
        with pytest.raises(Lost):
            writer.append(record())
        await writer.close()

    asyncio.run(scene())


def test_a_bug_in_the_log_leaves_nobody_waiting() -> None:
    class Broken(MemoryLog):
        def append(self, records: Sequence[Record]) -> int:
            raise ZeroDivisionError

    async def scene() -> None:
        writer = LogWriter(Broken(lambda: 0))
        with pytest.raises(Lost, match="ZeroDivisionError"):
            await asyncio.wait_for(asyncio.shield(writer.append(record())), 5)
        await writer.close()

    asyncio.run(scene())


def test_a_waiter_that_went_away_disturbs_nobody() -> None:
    async def scene() -> None:
        log = Slow()
        writer = LogWriter(log)
        gone, stays = writer.append(record()), writer.append(record())
        gone.cancel()
        log.gate.set()
        assert await stays == 1
        await writer.close()
        with pytest.raises(Lost, match="closed"):
            writer.append(record())

    asyncio.run(scene())
