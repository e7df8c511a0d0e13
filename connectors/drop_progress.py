"""How far a dropped file has been taken, kept durably: one small JSON file, replaced whole, and the faults found so far.

Enters: the state after each chunk, once the chunk is durable. Leaves: the same state after a crash. A file counts as the same
one if name, size and time of change agree; otherwise it begins anew.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson


@dataclass(slots=True)
class Taking:
    """One file being taken: `chunks` and `rows` done, what became of them, bytes of faults written, and where it goes."""

    name: str
    size: int
    changed: int
    chunks: int = 0
    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    faults: int = 0
    damaged: bool = False
    target: str = ""


class Progress:
    """The progress of one folder; it takes one file at a time. `path` is the JSON file, its folder is made if needed."""

    def __init__(self, path: Path) -> None:
        self._path, self._faults = path, path.with_suffix(".faults")

    def begin(self, path: Path) -> Taking:
        """Return where `path` was left, or its beginning."""
        stat = path.stat()
        fresh = Taking(path.name, stat.st_size, stat.st_mtime_ns)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        taking = Taking(**orjson.loads(self._path.read_bytes())) if self._path.exists() else fresh
        if (taking.name, taking.size, taking.changed) != (fresh.name, fresh.size, fresh.changed):
            taking = fresh
        if not taking.target:
            with self._faults.open("ab") as file:
                file.truncate(taking.faults)  # what a crash left beyond the last chunk that counts
        return taking

    def keep(self, taking: Taking, faults: Sequence[dict[str, Any]] = ()) -> None:
        """Make the state durable, the faults of the last chunk before it."""
        if faults:
            with self._faults.open("ab") as file:
                file.writelines(orjson.dumps(fault, option=orjson.OPT_APPEND_NEWLINE) for fault in faults)
                file.flush()
                os.fsync(file.fileno())
                taking.faults = file.tell()
        part = self._path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(orjson.dumps(asdict(taking)))
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)

    def finish(self, path: Path, taking: Taking) -> None:
        """Move the file to its target, the list of its faults before it; a crash in between is finished the next time."""
        target = Path(taking.target)
        if taking.faults and self._faults.exists():
            beside = target.with_name(target.name + ".faults.ndjson")
            part = beside.with_name("." + beside.name + ".part")
            part.write_bytes(self._faults.read_bytes())
            part.replace(beside)
        path.replace(target)
        folder = os.open(target.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        self._path.unlink(missing_ok=True)
        self._faults.unlink(missing_ok=True)
