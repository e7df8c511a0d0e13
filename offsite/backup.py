"""Backup and restore: a data directory enters, running or stopped, and one `.tar.zst` leaves; and back.

Each SQLite file is copied by SQLite's own backup, as of one instant. The order makes the copies fit: the desk before the state whose
outputs it has projected, the registry before the log that lets it hold, the log last of all. So a restored desk has never seen more than the judge
put out, and the restored log never ends before the state's position: the judge reads on from there and nothing acknowledged before
the backup is lost. A manifest with SHA-256 of every file comes first, and a restore that does not fit it leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any

import orjson
import zstandard

from cases.reference_store import FILE as REFERENCE
from cases.views import FILE as VIEWS
from connectors.core import Refused, Retry
from connectors.sqlite_log import translate
from offsite.data_dir import ANSWERS, DESK, LOG, STATE
from offsite.registered import FILE as REGISTRY
from streams.identity import rfc3339

FORMAT = 1
MANIFEST = "manifest.json"
HISTORY = "history"
TRIES = 20
BLOCK = 1 << 20
Told = Callable[[int, int], object]
"""(bytes done, bytes in all): progress."""


def backup(data: Path, out: Path, now: int, told: Told | None = None) -> dict[str, Any]:
    """Write `out`, whole or not at all; return the manifest. Raises Refused (the file is there), Retry (disk full, busy) or Lost."""
    if out.exists():
        raise Refused(f"{out} is there already; a backup overwrites nothing: name another file")
    part = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".offsite-backup-", dir=out.parent) as scratch:
            staged = Path(scratch)
            _stage(data, staged)
            manifest = {
                "format": FORMAT,
                "made": rfc3339(now),
                "files": {name: _fingerprint(staged / name) for name in _names(staged)},
            }
            _pack(staged, manifest, part, told)
        part.replace(out)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise Retry(f"{out}: cannot be written ({error}); free some space there or name another place", 10) from error
    return manifest


def _stage(data: Path, staged: Path) -> None:
    """Copy everything, in the order that makes the copies fit."""
    _copy_database(data / DESK, staged / DESK)
    _copy_judged(data, staged)
    _copy_database(data / ANSWERS, staged / ANSWERS)
    _copy_database(data / REFERENCE, staged / REFERENCE)  # before the registry that was composed of it
    for name in (REGISTRY, VIEWS):
        if (data / name).exists():
            shutil.copyfile(data / name, staged / name)
    for path in sorted((data / LOG).glob("????-??-??.sqlite")):
        _copy_database(path, staged / LOG / path.name)


def _copy_judged(data: Path, staged: Path) -> None:
    """Copy state and history as of one instant: history moves from one to the other, so its files must not change meanwhile."""
    for _ in range(TRIES):
        shutil.rmtree(staged / HISTORY, ignore_errors=True)
        (staged / STATE).unlink(missing_ok=True)
        before = _parquet(data)
        try:
            for name in before:
                (staged / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(data / name, staged / name)
        except FileNotFoundError:  # merged away meanwhile: look again
            continue
        _copy_database(data / STATE, staged / STATE)
        if _parquet(data) == before:
            return
    raise Retry(f"{data / HISTORY}: its files changed during each of {TRIES} tries; repeat the backup", 1)


def _parquet(data: Path) -> dict[str, tuple[int, int]]:
    """Return the history files with what shows a change; each is written once and replaced whole."""
    found = {}
    for path in sorted((data / HISTORY).rglob("*.parquet")):
        try:
            seen = path.stat()
        except FileNotFoundError:  # merged away meanwhile: the comparison will show it
            continue
        found[path.relative_to(data).as_posix()] = (seen.st_size, seen.st_mtime_ns)
    return found


def _copy_database(source: Path, target: Path) -> None:
    if not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        uri = f"{source.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10)) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new)
    except sqlite3.Error as error:
        raise translate(error, source) from error


def _names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _pack(staged: Path, manifest: dict[str, Any], part: Path, told: Told | None) -> None:
    total, done = sum(entry["bytes"] for entry in manifest["files"].values()), 0
    text = orjson.dumps(manifest, option=orjson.OPT_INDENT_2)
    with part.open("wb") as raw:
        with (
            zstandard.ZstdCompressor(level=3, write_checksum=True).stream_writer(raw, closefd=False) as packed,
            tarfile.open(fileobj=packed, mode="w|") as tar,
        ):
            head = tarfile.TarInfo(MANIFEST)
            head.size = len(text)
            tar.addfile(head, BytesIO(text))
            for name, entry in manifest["files"].items():
                tar.add(staged / name, name)
                done += entry["bytes"]
                if told is not None:
                    told(done, total)
        raw.flush()
        os.fsync(raw.fileno())


def restore(source: Path, data: Path) -> dict[str, Any]:
    """Put a backup into `data`, which must be empty or absent; return the manifest.

    Raises Refused if `data` holds anything, or if the backup is damaged or not one: then `data` is as before.
    """
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise Refused(f"{data} is not empty; restore into a new directory and keep the old one until you have looked at the new")
    try:
        data.resolve().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".offsite-restore-", dir=data.resolve().parent) as scratch:
            staged = Path(scratch) / "data"
            staged.mkdir()
            manifest = _unpack(source, staged)
            if data.exists():
                data.rmdir()
            staged.replace(data.resolve())
    except (tarfile.TarError, zstandard.ZstdError, EOFError) as error:
        raise Refused(f"{source}: damaged or no backup ({error}); fetch it again or take an older one") from error
    except OSError as error:
        raise Retry(f"{data}: cannot restore {source} ({error}); check the path, the rights and the space", 10) from error
    return manifest


def _unpack(source: Path, staged: Path) -> dict[str, Any]:
    with (
        source.open("rb") as raw,
        zstandard.ZstdDecompressor().stream_reader(raw) as packed,
        tarfile.open(fileobj=packed, mode="r|") as tar,
    ):
        members = _files(tar)
        name, file = next(members, ("", BytesIO()))
        manifest = _manifest(source, name, file)
        expected = dict(manifest["files"])
        for name, file in members:
            entry = expected.pop(name, None)
            if entry is None:
                raise Refused(f"{source}: {name!r} is not in its manifest; the backup was altered: take another one")
            _write(staged / name, file)
            if _fingerprint(staged / name) != entry:
                raise Refused(f"{source}: {name} does not fit its SHA-256; the backup is damaged: take another one")
    if expected:
        raise Refused(f"{source}: {', '.join(sorted(expected))} is missing; the backup is cut off: fetch it again")
    return manifest


def _files(tar: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for member in tar:
        file = tar.extractfile(member) if member.isreg() else None
        if file is not None:
            yield member.name, file


def _manifest(source: Path, name: str, file: IO[bytes]) -> dict[str, Any]:
    """Read the manifest; its names may only lead to places inside a data directory."""
    try:
        found: dict[str, Any] = orjson.loads(file.read()) if name == MANIFEST else {}
    except orjson.JSONDecodeError:
        found = {}
    names = found.get("files")
    if found.get("format") != FORMAT or not isinstance(names, dict):
        raise Refused(f"{source}: has no manifest of format {FORMAT}; give a file that `offsite backup` of this version wrote")
    bad = [n for n in names if PurePosixPath(n).is_absolute() or ".." in PurePosixPath(n).parts]
    if bad:
        raise Refused(f"{source}: {', '.join(bad)} would leave the data directory; the backup was altered: take another one")
    return found


def _write(path: Path, file: IO[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        shutil.copyfileobj(file, out, BLOCK)
        out.flush()
        os.fsync(out.fileno())
