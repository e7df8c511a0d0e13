from __future__ import annotations

import os
import socket
from collections import Counter
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from connectors.hj212.header import parse
from connectors.sqlite_log import SqliteLog
from offsite.data_dir import now, running
from streams.store import StateStore
from tests.offsite.conftest import Offsite


def sent_by(hour: list[bytes]) -> Counter[str]:
    return Counter(parse(frame[6:]).mn for frame in hour)


def readings(offsite: Offsite, data: Path) -> dict[str, int]:
    found: dict[str, int] = offsite("doctor", "--books", "--json", "--data", data).rows[0]["readings"]
    return found


def test_held_devices_of_a_stopped_product_are_listed_from_its_log(offsite: Offsite, held: Path, hour: list[bytes]) -> None:
    rows = offsite("device", "list", "--data", held, "--json").rows
    assert {row["mn"]: row["held"] for row in rows} == sent_by(hour)
    assert not any(row["known"] or row["online"] for row in rows)
    assert all(row["last_seen"].endswith("+08:00") for row in rows)


def test_adopting_all_brings_what_was_held_into_the_books(
    offsite: Offsite, held: Path, adopted: Path, hour: list[bytes], data: Path
) -> None:
    assert readings(offsite, held)["received"] == 0
    assert readings(offsite, adopted)["received"] == readings(offsite, data)["received"]
    rows = offsite("device", "list", "--data", adopted, "--json").rows
    assert {row["mn"] for row in rows if row["known"]} == sent_by(hour).keys()
    assert len(rows) == len(sent_by(hour))
    with closing(SqliteLog(adopted / "log", now)) as log, closing(StateStore(adopted / "state.sqlite", readonly=True)) as store:
        assert store.position() == log.end()
    entry = offsite("audit", "list", "--data", adopted, "--json").rows[-1]
    assert (entry["by"], entry["what"], entry["body"]["frames"]) == ("admin", "device.adopt", sent_by(hour))
    assert offsite("device", "adopt", "--all", "--data", adopted, "--json").rows == [{"adopted": {}}]


def test_adopting_one_leaves_the_others_held_and_is_audited(offsite: Offsite, held: Path, hour: list[bytes]) -> None:
    mn, frames = sent_by(hour).most_common(1)[0]
    told = offsite("device", "adopt", mn, "--data", held, "--as", "shift_lead")
    assert told.code == 0
    assert told.out.split()[-2:] == [mn, str(frames)]
    rows = {row["mn"]: row for row in offsite("device", "list", "--data", held, "--json").rows}
    assert rows[mn]["known"]
    assert sum(not row["known"] for row in rows.values()) == len(sent_by(hour)) - 1
    entry = offsite("audit", "list", "--data", held, "--json").rows[-1]
    assert (entry["by"], entry["what"], entry["subject"]) == ("shift_lead", "device.adopt", mn)
    again = offsite("device", "adopt", mn, "--data", held)
    assert again.code == 1
    assert "nothing is held of" in again.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("adopt",), "name the MNs to adopt, or say --all"),
        (("adopt", "X", "--all"), "name the MNs to adopt, or say --all"),
        (("adopt", "NOBODY"), "nothing is held of NOBODY"),
        (("adopt", "--all", "--as", "nobody"), "knows no person 'nobody'"),
        (("send", "X", "2061"), "no product runs"),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(
    offsite: Offsite, held: Path, arguments: tuple[str, ...], words: str
) -> None:
    before = offsite("device", "list", "--data", held, "--json").rows
    told = offsite("device", *arguments, "--data", held)
    assert told.code == 1
    assert words in told.err
    assert offsite("device", "list", "--data", held, "--json").rows == before


def test_a_note_of_a_dead_process_counts_as_stopped(offsite: Offsite, held: Path) -> None:
    child = os.posix_spawn("/bin/true", ["/bin/true"], {})
    os.waitpid(child, 0)
    (held / "run.json").write_bytes(orjson.dumps({"pid": child, "desk": 1}))
    assert running(held) is None
    assert offsite("device", "list", "--data", held).code == 0


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"pid": "x"}', b'{"desk": 1}'])
def test_a_note_that_is_none_counts_as_stopped(tmp_path: Path, note: bytes) -> None:
    (tmp_path / "run.json").write_bytes(note)
    assert running(tmp_path) is None


def test_a_running_product_whose_desk_does_not_answer_is_told(offsite: Offsite, held: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: nobody answers there
        (held / "run.json").write_bytes(orjson.dumps({"pid": os.getpid(), "desk": taken.getsockname()[1]}))
        told = offsite("device", "list", "--data", held)
    assert told.code == 1
    assert "does not answer" in told.err
    (held / "run.json").write_bytes(orjson.dumps({"pid": os.getpid(), "hj212": 1}))
    assert "without its desk" in offsite("device", "list", "--data", held).err


def test_a_stopped_product_that_is_being_started_is_not_touched(offsite: Offsite, held: Path) -> None:
    with closing(SqliteLog(held / "log", now)) as log:
        log.append([])
        told = offsite("device", "adopt", "--all", "--data", held)
    assert told.code == 1
    assert "another process writes this log" in told.err
