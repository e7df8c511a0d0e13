"""Full disks, damaged files, taken ports: what cannot be done is said with the file and the remedy, and nothing is acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors.core import HJ212, Lost, Record, Retry
from connectors.log_writer import LogWriter
from connectors.sqlite_log import SqliteLog
from offsite.city.clock import SharedClock
from streams import registry as registries
from streams.codecs.hj212_encode import encode_frame
from streams.commit import Step
from streams.embedded import open_embedded
from streams.plan import load_plan
from streams.records import registry_record
from streams.registry_model import Point, Registry, Site
from streams.state import Chunk
from streams.store import StateStore
from tests.conftest import ROOT
from tests.faults.world.product import COMMAND, Product, deliver, until
from tests.faults.world.traffic import Sent
from tests.streams.driven import span

pytestmark = pytest.mark.faults

MN = "0" * 24
NOW = 1_471_982_400_000
BIG = bytes(range(256)) * 256
"""64 KB that do not compress away."""


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: a disk that is full."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def record(body: bytes = b"x") -> Record:
    return Record("emission-monitoring", "S", -1, HJ212, body)


def fill(log: SqliteLog) -> None:
    for _ in range(40):
        log.append([record(BIG)])


def test_a_full_disk_under_the_log_refuses_and_recovers(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log", lambda: NOW)
    assert log.append([record(b"first")]) == 0
    with limited(512 << 10), pytest.raises((Retry, Lost)) as full:
        fill(log)
    assert ".sqlite" in str(full.value)
    kept = log.end()
    assert len(log.read(0, 1000)) == kept < 40
    if isinstance(full.value, Lost):  # a write beyond RLIMIT_FSIZE is an I/O error: the process ends, a new one goes on
        log.close()
        log = SqliteLog(tmp_path / "log", lambda: NOW)
    assert log.append([record(b"after")]) == kept
    assert [r.offset for r in log.read(0, 1000)] == list(range(kept + 1))
    log.close()


def test_nothing_is_acknowledged_while_the_disk_is_full(tmp_path: Path) -> None:
    async def scene() -> None:
        log = SqliteLog(tmp_path / "log", lambda: NOW)
        writer = LogWriter(log)
        assert await writer.append(record(b"first")) == 0
        with limited(256 << 10):
            answers = await asyncio.gather(*(writer.append(record(BIG)) for _ in range(20)), return_exceptions=True)
        assert all(isinstance(a, Retry | Lost) for a in answers)  # one group, one transaction: nothing of it is there
        await writer.close()
        log.close()

    asyncio.run(scene())
    log = SqliteLog(tmp_path / "log", lambda: NOW)
    assert [r.body for r in log.read(0, 100)] == [b"first"]
    log.close()


def test_a_full_disk_under_the_state_changes_nothing(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "state.sqlite")
    store.commit([Step(span(0, 5), [("alert", "S", {"id": "a"})], [Chunk("slab", "grid", 0, b"before")])])
    with limited(256 << 10), pytest.raises((Retry, Lost)) as full:
        store.commit([Step(span(5, 9), [("alert", "S", {"id": "b"})], [Chunk("slab", "grid", n, BIG) for n in range(20)])])
    assert "state.sqlite" in str(full.value)
    store.close()
    store = StateStore(tmp_path / "state.sqlite")
    assert store.position() == 5
    assert [o[3]["id"] for o in store.outputs(0, 10)] == ["a"]
    assert [c.body for c in store.chunks()] == [b"before"]
    store.commit([Step(span(5, 9), [("alert", "S", {"id": "b"})])])
    assert store.position() == 9
    store.close()


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Path]:
    """Mount a small file system of its own, or skip."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "offsite-test", str(folder)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_running_product_outlives_a_full_disk(tmp_path: Path) -> None:
    """On a full file system, its own messages' included, a frame gets silence; once there is space it is taken, without a restart."""
    registries.save(Registry((Site("S", "S"),), (Point("S", "DA001", "gas", mn=MN),)), tmp_path / "registry")
    with tmpfs(tmp_path / "disk", "24m") as disk, SharedClock(tmp_path / "clock") as clock:
        clock.set(NOW)
        options = ("--registry", str(tmp_path / "registry"), "--clock", str(tmp_path / "clock"))
        product = Product(disk / "data", disk / "stderr.txt", *options)
        try:
            port = product.ready()
            assert deliver(port, [frame(0)]) == []
            fill = disk / "fill"
            with contextlib.suppress(OSError), fill.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            many = [frame(n) for n in range(1, 400)]
            left = deliver(port, many, patience=2.0)
            assert left, "frames were acknowledged that no disk had room for"
            clock.set(NOW + 120_000)
            time.sleep(1.0)
            assert product.process.poll() is None, "the product gave up"
            fill.unlink()
            until("all frames", lambda: not deliver(port, left, patience=2.0))
            assert product.stop() == 0
        finally:
            product.end()
        log = SqliteLog(disk / "data" / "log", lambda: NOW)
        bodies = {r.body for r in log.read(0, 10_000)}
        log.close()
        assert {sent.frame.rstrip() for sent in [frame(0), *many]} <= bodies


def frame(number: int) -> Sent:
    time_ms = NOW - 3_000_000 + number * 5_000
    items: dict[str, dict[str, float | str]] = {"a21026": {"Rtd": 30.0 + number / 10, "Flag": "N"}}
    body = encode_frame(MN, "2011", time_ms, items, qn_ms=time_ms)
    return Sent(time_ms, body.partition(b"QN=")[2][:17].decode(), MN, body)


def test_a_damaged_log_is_named_with_its_remedy(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log", lambda: NOW)
    log.append([record(BIG) for _ in range(20)])
    log.close()
    file = next((tmp_path / "log").glob("*.sqlite"))
    damage(file, header=True)
    log = SqliteLog(tmp_path / "log", lambda: NOW)
    with pytest.raises(Lost, match=f"{file.name}.*restore it"):
        log.append([record()])
    log.close()


@pytest.mark.parametrize("header", [True, False])
def test_a_damaged_state_is_named_with_its_remedy(tmp_path: Path, header: bool) -> None:
    store = StateStore(tmp_path / "state.sqlite")
    store.commit([Step(span(0, 5), [], [Chunk("slab", "grid", n, BIG) for n in range(20)])])
    store.close()
    damage(tmp_path / "state.sqlite", header=header)
    log = SqliteLog(tmp_path / "log", lambda: NOW)
    with pytest.raises(Lost, match=r"state\.sqlite.*(damaged|not a SQLite database).*restore it"):
        open_embedded(tmp_path, log, load_plan())
    log.close()


def damage(file: Path, *, header: bool) -> None:
    """Overwrite the beginning of a file, or everything behind its first page."""
    size = file.stat().st_size
    with file.open("r+b") as raw:
        raw.seek(0 if header else 4096)
        raw.write(b"\x5a" * (4096 if header else size - 4096))


def test_a_judge_that_was_replaced_can_write_nothing(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log", lambda: NOW)
    log.append([registry_record(Registry((Site("S", "S"),), (Point("S", "DA001", "gas", mn=MN),)), NOW)])
    first = open_embedded(tmp_path, log, load_plan())
    first.run_once()
    log.append([record(frame(0).frame.rstrip())])
    second = open_embedded(tmp_path, log, load_plan())
    with pytest.raises(Lost, match="another judge has taken over"):
        first.run_once()
    second.run_once()
    assert second.store.books()["readings.accepted"] == 1
    assert second.store.position() == 2
    for part in (first.store, second.store, log):
        part.close()


def test_history_that_was_moved_is_never_overwritten(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log", lambda: NOW)
    log.append([registry_record(Registry((Site("S", "S"),), (Point("S", "DA001", "gas", mn=MN),)), NOW)])
    judge = open_embedded(tmp_path, log, load_plan())
    for number in range(3):  # each time the same number of steps between two moves
        log.append([record(frame(number).frame.rstrip())])
        judge.run_once()
        judge.kept.flush()
    assert len(list(judge.kept.rows("readings"))) == 3
    judge.store.close()
    log.close()


@pytest.mark.parametrize("service", ["--hj212", "--http", "--desk"])
def test_a_port_in_use_is_named_with_its_remedy(tmp_path: Path, service: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        options = {"--hj212": "0", "--http": "-1", "--desk": "-1"} | {service: port}
        arguments = [*COMMAND, "--data", str(tmp_path / "data"), *(text for pair in options.items() for text in pair)]
        done = subprocess.run(arguments, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert port in done.stderr
    assert "choose another port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_file_ends_the_product_with_one_sentence(tmp_path: Path) -> None:
    data = tmp_path / "data"
    StateStore(data / "state.sqlite").close()
    damage(data / "state.sqlite", header=True)
    arguments = [*COMMAND, "--data", str(data), "--hj212", "0", "--http", "-1", "--desk", "-1"]
    done = subprocess.run(arguments, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "state.sqlite" in done.stderr
    assert "restore" in done.stderr
    assert "Traceback" not in done.stderr
