"""The fakes keep the log's contract and fail exactly as told."""

from __future__ import annotations

import pytest

from connectors.core import Lost, Record, Retry
from connectors.memory import Fault, FaultyLog, MemoryLog


def record(body: bytes = b"x", arrived: int = -1) -> Record:
    return Record("t", "k", arrived, "c", body)


def test_the_memory_log_numbers_and_stamps_like_the_real_one() -> None:
    now = [10]
    log = MemoryLog(lambda: now[0])
    assert log.append([record(b"a"), record(b"b", arrived=3)]) == 0
    now[0] = 5
    assert log.append([record(b"c")]) == 2
    assert [(r.offset, r.arrived, r.body) for r in log.read(0, 9)] == [(0, 10, b"a"), (1, 3, b"b"), (2, 10, b"c")]
    assert [r.offset for r in log.read(1, 1)] == [1]
    assert log.read(-5, 1) == log.read(0, 1)
    assert log.end() == 3


@pytest.mark.parametrize(
    ("fault", "raised", "kept"),
    [
        (Fault.FULL, Retry, [b"0", b"2"]),
        (Fault.LOST_ACK, Retry, [b"0", b"1", b"2"]),
        (Fault.DOUBLED, None, [b"0", b"1", b"1", b"2"]),
        (Fault.CRASH_BEFORE, Lost, [b"0", b"2"]),
        (Fault.CRASH_AFTER, Lost, [b"0", b"1", b"2"]),
    ],
)
def test_each_fault_at_the_second_append(fault: Fault, raised: type[Exception] | None, kept: list[bytes]) -> None:
    log = FaultyLog(MemoryLog(lambda: 0), {1: fault})
    log.append([record(b"0")])
    if raised is None:
        log.append([record(b"1")])
    else:
        with pytest.raises(raised):
            log.append([record(b"1")])
    if raised is Lost:
        with pytest.raises(Lost):
            log.append([record(b"1")])
        with pytest.raises(Lost):
            log.read(0, 1)
        log.restart()
    log.append([record(b"2")])
    assert [r.body for r in log.read(0, 9)] == kept
    assert log.end() == len(kept)
