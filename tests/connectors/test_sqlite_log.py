"""The embedded log: contiguous offsets, durability, readers in other processes, and what each fault of the disk demands."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.core import HJ212, Lost, Record, Retry
from connectors.sqlite_log import DAY_MS, SqliteLog, day_of, translate

NOON = 1_472_011_200_000  # 2016-08-24 12:00 +08:00


class Clock:
    def __init__(self, now: int = NOON) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def record(body: bytes = b"##", arrived: int = -1) -> Record:
    return Record("emission-monitoring", "示范一厂", arrived, HJ212, body)


def bodies(log: SqliteLog, start: int = 0, limit: int = 10_000) -> list[bytes]:
    return [r.body for r in log.read(start, limit)]


def test_what_was_appended_is_read_in_order_with_its_offset(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log", Clock())
    assert (log.end(), log.first(), log.read(0, 5)) == (0, 0, [])
    assert log.append([record(b"a"), record(b"b")]) == 0
    assert log.append([record(b"c\x00\xff")]) == 2
    assert log.append([]) == 3
    assert log.end() == 3
    assert log.read(1, 10) == [
        Record("emission-monitoring", "示范一厂", NOON, HJ212, b"b", 1),
        Record("emission-monitoring", "示范一厂", NOON, HJ212, b"c\x00\xff", 2),
    ]
    assert bodies(log, 0, 1) == [b"a"]
    log.close()


@pytest.mark.parametrize("count", [511, 512, 513, 1025])
def test_a_large_batch_is_one_transaction(tmp_path: Path, count: int) -> None:
    log = SqliteLog(tmp_path, Clock())
    with pytest.raises(Lost):
        log.append([record(b"%d" % i) for i in range(count - 1)] + [record(None)])  # type: ignore[arg-type]
    assert (log.end(), bodies(log)) == (0, [])
    assert log.append([record(b"%d" % i) for i in range(count)]) == 0
    assert bodies(log) == [b"%d" % i for i in range(count)]
    log.close()


def test_a_day_is_a_day_of_china_standard_time(tmp_path: Path) -> None:
    clock = Clock(NOON + 12 * 3_600_000 - 1)
    log = SqliteLog(tmp_path, clock)
    log.append([record(b"last")])
    clock.now += 1
    log.append([record(b"first")])
    assert sorted(p.name for p in tmp_path.glob("*.sqlite")) == ["2016-08-24.sqlite", "2016-08-25.sqlite"]
    assert bodies(log) == [b"last", b"first"]
    assert bodies(log, 1) == [b"first"]
    log.close()


def test_a_restart_finds_the_end_and_the_log_time(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path, Clock())
    log.append([record(), record()])
    log.close()
    again = SqliteLog(tmp_path, Clock(NOON - 5_000))
    assert again.append([record()]) == 2
    assert again.held_back == 5_000
    assert [r.arrived for r in again.read(0, 9)] == [NOON] * 3
    again.close()


def test_a_clock_set_back_over_midnight_writes_to_the_newest_file(tmp_path: Path) -> None:
    clock = Clock()
    log = SqliteLog(tmp_path, clock)
    log.append([record(b"a")])
    clock.now -= 2 * DAY_MS
    log.append([record(b"b"), record(b"given", arrived=5)])
    assert bodies(log) == [b"a", b"b", b"given"]
    assert len(list(tmp_path.glob("*.sqlite"))) == 1
    assert log.read(2, 1)[0].arrived == 5
    log.close()


def test_dropping_days_keeps_the_end_and_says_where_the_log_begins(tmp_path: Path) -> None:
    clock = Clock()
    log = SqliteLog(tmp_path, clock)
    for body in (b"a", b"b", b"c"):
        log.append([record(body)])
        clock.now += DAY_MS
    reader = SqliteLog(tmp_path, clock)
    assert bodies(reader) == [b"a", b"b", b"c"]
    assert [p.name for p in log.drop_before(date(2016, 8, 26))] == ["2016-08-24.sqlite", "2016-08-25.sqlite"]
    assert bodies(reader) == bodies(log) == [b"c"]
    assert reader.first() == log.first() == 2
    assert log.drop_before(date(2030, 1, 1)) == []
    log.close()
    assert SqliteLog(tmp_path, clock).end() == 3
    reader.close()


def test_dropping_never_loses_the_end_to_a_file_that_was_only_begun(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path, Clock())
    log.append([record(), record()])
    log.close()
    sqlite3.connect(tmp_path / "2016-08-25.sqlite").close()
    (tmp_path / "2016-08-25.sqlite").touch()
    again = SqliteLog(tmp_path, Clock())
    assert again.drop_before(date(2016, 8, 30)) == [tmp_path / "2016-08-25.sqlite"]
    assert again.append([record()]) == 2
    again.close()


def test_a_second_writer_is_refused_and_told_why(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path, Clock())
    log.append([record()])
    with pytest.raises(Lost, match="another process writes this log"):
        SqliteLog(tmp_path, Clock()).append([record()])
    log.close()


def test_a_read_leaves_no_snapshot_behind(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path, Clock())
    log.append([record(b"x" * 1000)] * 50)
    reader = SqliteLog(tmp_path, Clock())
    assert len(reader.read(0, 10)) == 10  # fewer than there are: the statement is not exhausted by itself
    log.append([record(b"y" * 1000)] * 50)
    other = sqlite3.connect(tmp_path / "2016-08-24.sqlite", isolation_level=None)
    busy, in_wal, moved = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert (busy, in_wal, moved) == (0, 0, 0)
    other.close()
    log.close()
    reader.close()


def test_another_process_reads_while_this_one_writes(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path, Clock())
    log.append([record(b"1")])
    code = textwrap.dedent("""
        import sys; from pathlib import Path; from connectors.sqlite_log import SqliteLog
        log = SqliteLog(Path(sys.argv[1]), lambda: 0)
        seen = 0
        while seen < 200:
            got = log.read(seen, 17)
            assert [r.offset for r in got] == list(range(seen, seen + len(got))), got
            seen += len(got)
        print(seen)
    """)
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as reader:
        clock = log._clock
        for i in range(199):
            clock.now += DAY_MS // 50  # crosses midnight now and then
            log.append([record(str(i).encode())])
        assert reader.communicate(timeout=60)[0].strip() == "200"
    log.close()


def test_what_append_returned_survives_kill_9(tmp_path: Path) -> None:
    code = textwrap.dedent("""
        import sys; from pathlib import Path
        from connectors.core import Record; from connectors.sqlite_log import SqliteLog
        log = SqliteLog(Path(sys.argv[1]), lambda: 1_472_011_200_000)
        n = 0
        while True:
            log.append([Record("t", "k", -1, "x", b"%d" % (n + i)) for i in range(3)])
            n += 3
            print(n, flush=True)
    """)
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acked = [writer.stdout.readline() for _ in range(20)]
        os.kill(writer.pid, signal.SIGKILL)
        acked += writer.stdout.readlines()
    log = SqliteLog(tmp_path, Clock())
    found = bodies(log)
    assert len(found) >= int(acked[-1])
    assert len(found) % 3 == 0  # a batch is there whole or not at all
    assert found == [b"%d" % i for i in range(len(found))]
    assert log.append([record()]) == len(found)
    log.close()


def test_a_damaged_file_is_lost_with_its_name_and_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "2016-08-24.sqlite").write_bytes(b"this is no database" * 100)
    log = SqliteLog(tmp_path, Clock())
    with pytest.raises(Lost, match=r"2016-08-24\.sqlite: the file is not a SQLite database: move it away"):
        log.read(0, 1)
    with pytest.raises(Lost, match="move it away"):
        log.append([record()])
    log.close()


def test_a_locked_file_is_a_retry_and_nothing_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.sqlite_log.BUSY_MS", 20)
    log = SqliteLog(tmp_path, Clock())
    log.append([record(b"a")])
    thief = sqlite3.connect(tmp_path / "2016-08-24.sqlite", isolation_level=None)
    log.close()
    thief.execute("BEGIN IMMEDIATE")
    with pytest.raises(Retry, match=r"2016-08-24\.sqlite: the file is locked"):
        log.append([record(b"b")])
    thief.execute("ROLLBACK")
    thief.close()
    assert log.append([record(b"c")]) == 1
    assert bodies(log) == [b"a", b"c"]
    log.close()


def test_a_full_disk_is_a_retry_and_work_goes_on_once_there_is_space(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path, Clock())
    log.append([record(b"a")])
    assert log._writer is not None
    log._writer.execute("PRAGMA max_page_count=4")
    with pytest.raises(Retry, match="the disk is full"):
        log.append([record(b"x" * 100_000)])
    assert log.end() == 1
    assert log.append([record(b"b")]) == 1
    assert bodies(log) == [b"a", b"b"]
    log.close()


def test_a_full_tmpfs_under_the_real_sqlite(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", small], capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    try:
        log = SqliteLog(small, Clock())
        acked = 0
        for _ in range(1000):
            try:
                acked = log.append([record(os.urandom(3000))]) + 1
            except Retry as error:
                assert "the disk is full" in str(error)  # noqa: PT017 — how many fit before is the point
                break
        assert 20 < acked < 1000
        assert len(log.read(0, 10_000)) == log.end() == acked
        log.close()
        subprocess.run(["mount", "-o", "remount,size=4m", small], check=True)
        again = SqliteLog(small, Clock())
        assert again.append([record(b"after")]) == acked
        assert bodies(again, acked) == [b"after"]
        again.close()
    finally:
        subprocess.run(["umount", small], check=True)


def test_every_error_of_sqlite_is_translated() -> None:
    def reaction(name: str) -> type[Exception]:
        error = sqlite3.OperationalError("x")
        error.sqlite_errorname = name  # type: ignore[misc]
        return type(translate(error, Path("f")))

    assert reaction("SQLITE_FULL") is reaction("SQLITE_BUSY_SNAPSHOT") is Retry
    assert reaction("SQLITE_IOERR_FSYNC") is reaction("SQLITE_CORRUPT_INDEX") is reaction("SQLITE_NEVER_HEARD_OF") is Lost


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 4)), max_size=12), st.integers(1, 7))
@settings(deadline=None, max_examples=40)
def test_offsets_are_contiguous_and_log_time_never_runs_backwards(steps: list[tuple[int, int]], limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clock, log, wrote = Clock(), SqliteLog(Path(folder), Clock()), 0
        log._clock = clock
        for jump, count in steps:
            clock.now += jump * DAY_MS // 3
            assert log.append([record(b"%d" % (wrote + i)) for i in range(count)]) == wrote
            wrote += count
        reader, got = SqliteLog(Path(folder), clock), []
        while batch := reader.read(len(got), limit):
            got += batch
        assert [(r.offset, r.body) for r in got] == [(i, b"%d" % i) for i in range(wrote)]
        assert all(a.arrived <= b.arrived for a, b in pairwise(got))
        log.close()
        reader.close()


def test_day_of_is_the_wall_calendar_of_beijing() -> None:
    assert day_of(NOON) == date(2016, 8, 24)
    assert day_of(-1) == date(1970, 1, 1)
