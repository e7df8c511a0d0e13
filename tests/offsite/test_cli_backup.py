from __future__ import annotations

import io
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import orjson
import pytest
import zstandard

from offsite import backup as backups
from tests.offsite.conftest import Offsite


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())


@pytest.fixture
def saved(offsite: Offsite, adopted: Path, tmp_path: Path) -> Path:
    out = tmp_path / "backups" / "b.tar.zst"
    assert offsite("backup", "--data", adopted, "--out", out).code == 0
    return out


def test_what_is_restored_is_what_was_saved(offsite: Offsite, adopted: Path, saved: Path, tmp_path: Path) -> None:
    told = offsite("restore", saved, "--data", tmp_path / "new", "--json")
    assert told.code == 0
    databases = sorted(p.relative_to(adopted) for p in adopted.rglob("*.sqlite"))
    assert len(databases) == 3
    assert [dump(tmp_path / "new" / name) for name in databases] == [dump(adopted / name) for name in databases]
    for path in [*adopted.rglob("*.parquet"), adopted / "registry.json"]:
        assert (tmp_path / "new" / path.relative_to(adopted)).read_bytes() == path.read_bytes()
    assert told.rows[0]["files"] == len(
        [p for p in (tmp_path / "new").rglob("*") if p.is_file() and p.suffix not in (".sqlite-wal", ".sqlite-shm")]
    )
    assert offsite("doctor", "--data", tmp_path / "new").code == 0
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_nothing_is_overwritten(offsite: Offsite, adopted: Path, saved: Path) -> None:
    before = saved.read_bytes()
    told = offsite("backup", "--data", adopted, "--out", saved)
    assert told.code == 1
    assert "overwrites nothing" in told.err
    assert saved.read_bytes() == before
    told = offsite("restore", saved, "--data", adopted)
    assert told.code == 1
    assert "is not empty" in told.err


def altered(manifest: dict[str, object], files: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, body in {backups.MANIFEST: orjson.dumps(manifest), **files}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return zstandard.compress(raw.getvalue())


ENTRY = {"bytes": 1, "sha256": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"}  # "a"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"no backup at all", "no backup"),
        (b"", "no backup"),
        (altered({}, {}), "has no manifest"),
        (altered({"format": 2, "files": {}}, {}), "has no manifest of format 1"),
        (altered({"format": 1, "files": {"a": ENTRY}}, {"a": b"b"}), "does not fit its SHA-256"),
        (altered({"format": 1, "files": {"a": ENTRY, "b": ENTRY}}, {"a": b"a"}), "b is missing"),
        (altered({"format": 1, "files": {}}, {"a": b"a"}), "not in its manifest"),
        (altered({"format": 1, "files": {"../a": ENTRY}}, {"../a": b"a"}), "would leave the data directory"),
        (altered({"format": 1, "files": {"/tmp/a": ENTRY}}, {"/tmp/a": b"a"}), "would leave the data directory"),
    ],
)
def test_a_bad_backup_is_refused_and_leaves_nothing(offsite: Offsite, tmp_path: Path, body: bytes, words: str) -> None:
    file = tmp_path / "bad.tar.zst"
    file.write_bytes(body)
    told = offsite("restore", file, "--data", tmp_path / "new")
    assert told.code == 1
    assert words in told.err
    assert list(tmp_path.iterdir()) == [file]


def test_any_cut_and_any_flipped_byte_is_found(offsite: Offsite, saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    damaged = [whole[: len(whole) * k // 8] for k in range(1, 8)]
    damaged += [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(100, len(whole), len(whole) // 8)]
    for body in damaged:
        saved.write_bytes(body)
        assert offsite("restore", saved, "--data", tmp_path / "new").code == 1
        assert not (tmp_path / "new").exists()


def test_history_that_moves_during_a_backup_is_copied_again(held: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, moved = backups._copy_database, []

    def moving(source: Path, target: Path) -> None:
        copy(source, target)
        if source.name == "state.sqlite" and len(moved) < 2:
            path = held / "history" / "frames" / "2026-01-01" / f"{len(moved)}.parquet"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"x")
            moved.append(path.relative_to(held).as_posix())

    monkeypatch.setattr(backups, "_copy_database", moving)
    manifest = backups.backup(held, tmp_path / "b", 0)
    assert len(moved) == 2
    assert set(moved) <= set(manifest["files"])


def test_history_that_never_rests_is_told_and_leaves_nothing(
    offsite: Offsite, held: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(backups, "_parquet", lambda data: seen.append(1) or {"never": (len(seen), 0)})
    told = offsite("backup", "--data", held, "--out", tmp_path / "b")
    assert told.code == 1
    assert "repeat the backup" in told.err
    assert [p.name for p in tmp_path.iterdir()] == ["held"]
