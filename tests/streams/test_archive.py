"""The archive: every row once, whatever crashes, replays and merges, on a path and on a real S3-compatible store."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.archive import ArchiveStore
from connectors.core import HJ212, Lost, Record, Refused, Retry
from streams import history
from streams.archive import Archive
from streams.archive_files import Piece, owned
from tests.conftest import ROOT
from tests.real.s3 import S3
from tests.streams.archived import DAY, HOUR, PARTITIONS, T0, messages, site_of, table, told, truth

Make = Callable[..., Archive]
DAYS = ("2026-11-22", "2026-11-23", "2026-11-24", "2026-11-25")


@pytest.fixture(params=["path", pytest.param("s3", marks=pytest.mark.servers)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict]:
    """Give a fresh place for an archive: its URL and options."""
    if request.param == "path":
        return str(tmp_path / "archive"), {}
    s3: S3 = request.getfixturevalue("s3")
    return s3.bucket(), s3.options


def opened(place: tuple[str, dict]) -> Archive:
    return Archive(*place, topic_id="t1", partitions=PARTITIONS)


class Crash(BaseException):
    """The process ends here."""


def crashing(archive: Archive, after: int) -> Archive:
    """Let the process die at the write or removal after so many."""
    left = iter(range(after))

    def dying(act: Callable[..., None]) -> Callable[..., None]:
        def call(*args: object) -> None:
            if next(left, None) is None:
                raise Crash
            act(*args)

        return call

    archive.store.write = dying(archive.store.write)  # type: ignore[method-assign]
    archive.store.remove = dying(archive.store.remove)  # type: ignore[method-assign]
    return archive


def test_what_is_put_is_told_once_in_order(place: tuple[str, dict]) -> None:
    archive = opened(place)
    assert told(archive) == truth([])
    for partition in range(PARTITIONS):
        rows = messages(partition)
        archive.put(partition, rows[:9])
        archive.put(partition, rows[9:])
        assert archive.covered(partition) == rows[-1][0] + 1
    everything = [m for partition in range(PARTITIONS) for m in messages(partition)]
    assert told(archive) == truth(everything)
    times = [row["time"] for row in Archive(*place).rows(history.READINGS)]
    assert times == sorted(times)
    assert len({row["site"] for row in archive.rows(history.READINGS, site_of(2))}) == 1


def test_a_batch_put_again_in_any_cut_is_there_once(place: tuple[str, dict]) -> None:
    rows = messages(steps=14)
    draw = random.Random(7)
    for _zombie in range(3):
        archive = opened(place)
        at = 0
        while at < len(rows):
            size = draw.randint(4, 20)
            archive.put(0, rows[at : at + size])
            at += size
    assert told(opened(place)) == truth(rows)
    before = opened(place).series(site_of(0), "DA001", "a21026", T0 - 3 * DAY, T0 + 3 * DAY)
    for day in DAYS:
        opened(place).compact(day)
    assert told(opened(place)) == truth(rows)
    assert opened(place).series(site_of(0), "DA001", "a21026", T0 - 3 * DAY, T0 + 3 * DAY).equals(before)
    assert all(len(opened(place).store.names(f"{kind}/day={day}")) <= 1 for kind in history.EMPTY for day in DAYS)
    assert opened(place).compact(DAYS[-1]) == 0


Event = tuple[str, int, int]
EVENTS = st.lists(
    st.tuples(st.sampled_from(["put", "put", "put", "compact", "zombie"]), st.integers(1, 14), st.integers(0, 9)), max_size=14
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS)
def test_any_crashes_replays_and_merges_leave_every_row_once(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event]
) -> None:
    run_events((str(tmp_path_factory.mktemp("archive")), {}), events)


@pytest.mark.servers
@pytest.mark.parametrize("seed", [1, 3])
def test_the_same_on_s3(s3: S3, seed: int) -> None:
    draw = random.Random(seed)
    kinds = ("put", "put", "put", "compact", "zombie")
    run_events((s3.bucket(), s3.options), [(draw.choice(kinds), draw.randint(1, 14), draw.randint(0, 9)) for _ in range(8)])


def run_events(place: tuple[str, dict], events: Sequence[Event]) -> None:
    """Put with crashes from the committed place on; a zombie puts again what was committed before; merges crash too."""
    rows = messages(steps=9)
    committed = 0
    for what, size, crash in events:
        archive = crashing(opened(place), crash)
        start = max(0, committed - size) if what == "zombie" else committed
        try:
            if what == "compact":
                archive.compact(DAYS[size % 4])
                continue
            archive.put(0, rows[start : start + size])
        except Crash:
            continue
        committed = max(committed, min(start + size, len(rows)))
        assert set(truth(rows[:committed])[history.READINGS]) <= set(told(opened(place))[history.READINGS])
    archive = opened(place)
    archive.put(0, rows[committed:])
    assert told(archive) == truth(rows)
    for day in DAYS:
        archive.compact(day)
    assert told(archive) == truth(rows)


WRITER = """
import sys
from pathlib import Path
from streams.archive import Archive
from tests.streams.archived import PARTITIONS, messages
url, options, note, cut = sys.argv[1], eval(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
archive = Archive(url, options, topic_id="t1", partitions=PARTITIONS)
rows = messages(steps=24)
print("up", flush=True)
while (at := int(note.read_text() or 0)) < len(rows):
    archive.put(0, rows[at : at + cut])
    (note.parent / "part").write_text(str(min(at + cut, len(rows))))
    (note.parent / "part").replace(note)
    if at % 3 == 0:
        for day in ("2026-11-22", "2026-11-24", "2026-11-25", "2026-11-26"):
            archive.compact(day)
"""


@pytest.mark.faults
def test_kill_9_at_any_instant_loses_and_doubles_nothing(place: tuple[str, dict], tmp_path: Path) -> None:
    note = tmp_path / "committed"
    note.write_text("0")
    draw = random.Random(3)
    most, longest = (12, 0.3) if "://" in place[0] else (3, 0.1)
    kills = 0
    while int(note.read_text()) < len(messages(steps=24)):
        command = [sys.executable, "-c", WRITER, place[0], repr(place[1]), str(note), str(draw.randint(1, most))]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            try:
                process.wait(draw.uniform(0.01, longest) if kills < 5 else 60)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills += 1
    assert kills >= 3
    archive = opened(place)
    assert told(archive) == truth(messages(steps=24))
    for day in archive.days(history.READINGS):
        archive.compact(day)
        assert archive.store.parts(f"readings/day={day}") == []
    assert told(archive) == truth(messages(steps=24))


def test_readers_see_every_row_once_while_files_are_merged(place: tuple[str, dict]) -> None:
    rows = messages(steps=12)
    archive = opened(place)
    done = threading.Event()

    def write() -> None:
        for k in range(0, len(rows), 5):
            archive.put(0, rows[k : k + 5])
            archive.compact(DAYS[2])
            archive.compact(DAYS[3])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    reader, last = Archive(*place), 0
    while not done.is_set():
        found = [repr(row) for row in reader.rows(history.READINGS)]
        assert len(found) == len(set(found)) >= last
        last = len(found)
    writer.join()
    assert told(archive) == truth(rows)


def test_what_arrived_later_is_not_known_before(place: tuple[str, dict]) -> None:
    archive, site = opened(place), site_of(1)
    rows = [
        reading_at(0, 50.0, 0),
        reading_at(0, 55.0, 2 * HOUR, fate="revised"),
        reading_at(1, 51.0, 3 * HOUR),
    ]
    archive.put(1, [(0, history.READINGS, table(history.READINGS, rows))])

    def known(hours: float) -> list[float]:
        found = archive.series(site, "DA001", "a21026", T0, T0 + DAY, as_of=T0 + int(hours * HOUR))
        assert len(found) == len(list(archive.rows(history.READINGS, site, as_of=T0 + int(hours * HOUR))))
        return found["value"].to_pylist()

    assert [known(h) for h in (-1, 0, 1.9, 2, 3)] == [[], [50.0], [50.0], [50.0, 55.0], [50.0, 55.0, 51.0]]
    with pytest.raises(Refused, match="no log time"):
        list(archive.rows(history.WINDOWS, as_of=T0))


def reading_at(minute: int, value: float, later: int, fate: str = "accepted") -> dict:
    from tests.streams.archived import reading

    return reading(site_of(1), T0 + minute * 60_000, value, late=later - minute * 60_000, fate=fate)


def test_frames_come_back_byte_for_byte(place: tuple[str, dict]) -> None:
    archive, site = opened(place), site_of(0)
    archive.put(0, messages())
    frames = archive.frames(site, T0, T0 + 3 * DAY)
    assert len(frames) == sum(row["site"] == site for _, kind, rows in messages() if kind == "frames" for row in rows.to_pylist())
    assert all(row["body"] == b"##\xff\x00%d" % row["offset"] for row in frames.to_pylist())
    assert {row["topic"] for row in frames.to_pylist()} == {"emission-monitoring"}
    assert frames["arrived"].to_pylist() == sorted(frames["arrived"].to_pylist())


def test_a_chart_of_one_site_and_day_reads_the_files_of_its_partition_and_day(place: tuple[str, dict]) -> None:
    archive = opened(place)
    for partition in range(PARTITIONS):
        archive.put(partition, messages(partition))
    read: list[str] = []
    reads = archive.store.table
    archive.store.table = lambda names, *args: read.extend(names) or reads(names, *args)  # type: ignore[method-assign,func-returns-value]
    found = archive.series(site_of(2), "DA001", "a21026", T0, T0 + DAY)
    assert len(found) > 0
    assert [name.rsplit("/", 1)[0] for name in read] == ["readings/day=2026-11-24"]
    assert f".{PARTITIONS}.2-" in read[0]


def test_a_topic_made_anew_continues_the_archive(place: tuple[str, dict]) -> None:
    rows = messages()
    opened(place).put(0, rows)
    again = Archive(*place, topic_id="t2", partitions=PARTITIONS)
    assert again.covered(0) == 0
    later = [(0, history.READINGS, table(history.READINGS, [reading_at(5, 7.0, 9 * DAY)]))]
    again.put(0, later)
    assert told(opened(place)) == truth([*rows, *later])
    assert (again.covered(0), opened(place).covered(0)) == (1, rows[-1][0] + 1)


def test_what_no_worker_wrote_is_refused(place: tuple[str, dict]) -> None:
    with pytest.raises(Refused, match="without arrived"):
        opened(place).put(0, [(5, history.READINGS, table(history.READINGS, []).drop_columns(["arrived"]))])


def test_a_reader_does_not_write(tmp_path: Path) -> None:
    for archive, partition in ((Archive(str(tmp_path)), 0), (Archive(str(tmp_path), topic_id="t", partitions=2), 2)):
        with pytest.raises(Refused, match="not opened to write"):
            archive.put(partition, messages())


def flipped(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 0x10]) + body[at + 1 :]


@pytest.mark.parametrize("damage", [lambda b: b"no parquet", lambda b: b[: len(b) // 2], lambda b: flipped(b, 60)])
def test_a_damaged_file_is_named_with_the_remedy(place: tuple[str, dict], damage: Callable[[bytes], bytes]) -> None:
    archive = opened(place)
    archive.put(0, messages())
    archive.put(1, messages(1))
    [_first, name] = archive.store.names("readings/day=2026-11-24")
    path = f"readings/day=2026-11-24/{name}"
    archive.store.write(path, damage(archive.store.read(path)))
    with pytest.raises(Lost, match=f"{name}: .*restore the file"):
        archive.table(history.READINGS, None, T0, T0 + DAY)


def test_a_flipped_bit_never_changes_an_answer(tmp_path: Path) -> None:
    archive = opened((str(tmp_path), {}))
    archive.put(0, messages())
    [name] = archive.store.names("readings/day=2026-11-24")
    path = tmp_path / "readings" / "day=2026-11-24" / name
    good, answer = path.read_bytes(), archive.table(history.READINGS, None, T0, T0 + DAY)
    footer = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    found = 0
    for at in range(4, footer, 23):
        path.write_bytes(flipped(good, at))
        try:
            assert archive.table(history.READINGS, None, T0, T0 + DAY).equals(answer)
        except Lost:
            found += 1
    assert found > footer // 23 // 2


@pytest.mark.servers
def test_an_outage_of_the_store_is_waited_out(s3: S3) -> None:
    place, rows = (s3.bucket(), s3.options), messages()
    archive = opened(place)
    archive.put(0, rows[:20])
    s3.stop()
    try:
        for act in (lambda: archive.put(0, rows[20:]), lambda: archive.series(site_of(0), "DA001", "a21026", T0, T0 + DAY)):
            with pytest.raises(Retry, match="not reachable"):
                act()
    finally:
        s3.start()
    archive.put(0, rows[20:])
    assert told(archive) == truth(rows)


@pytest.mark.servers
def test_a_wrong_secret_and_a_missing_bucket_are_told(s3: S3) -> None:
    with pytest.raises(Lost, match="no right"):
        opened((s3.bucket(), s3.options | {"secret": "wrong"})).put(0, messages())
    with pytest.raises(Lost, match="make the bucket"):
        told(Archive("s3://nobody-made-this/x", s3.options))


def test_a_full_or_forbidden_disk_is_waited_out(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(b"a file stands in the way")
    with pytest.raises(Retry, match="tried again"):
        opened((str(tmp_path / "archive"), {})).put(0, messages())


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12), st.booleans()), min_size=1, max_size=12))
def test_every_offset_is_read_from_one_file(ranges: list[tuple[int, int, bool]]) -> None:
    pieces = {Piece("s", first, first + length, merged) for first, length, merged in ranges}
    read = [offset for piece, start in owned(list(pieces)) for offset in range(start, piece.last + 1)]
    assert sorted(read) == sorted({o for p in pieces for o in range(p.first, p.last + 1)})
    assert [Piece.of(p.name) for p in pieces] == list(pieces)


def test_files_that_come_all_day_stay_few(tmp_path: Path) -> None:
    archive, rows = opened((str(tmp_path), {})), messages(steps=260, per_step=1)
    same_day = [(at, kind, t) for at, kind, t in rows if kind == history.FRAMES]
    day = history.frames_table([Record("context", "S", T0, HJ212, b"x", 0)])
    for at, _kind, _table in same_day:
        archive.put(0, [(at, history.FRAMES, day)])
        assert len(archive.store.names("frames/day=2026-11-24")) < 2 * 24
    assert len(archive.frames("S", T0, T0 + 1)) == len(same_day) == 260


def test_the_store_shows_no_unfinished_file(tmp_path: Path) -> None:
    store = ArchiveStore(str(tmp_path))
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / ".x.parquet.0.part").write_bytes(b"half")
    assert (store.names("day"), len(store.parts("day"))) == ([], 1)
