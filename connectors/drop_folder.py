"""Drop folder: files that somebody puts into a folder are taken once, in the order of their names, and moved away.

Enters: CSV, NDJSON, JSON, Parquet, Arrow and HJ 212 files, plain or packed, written elsewhere and renamed into the folder, or
left alone for `stable_s`. Leaves: rows and frames to the log in chunks; the file to `done/`, or to `refused/` if nothing of it
could be used or it is damaged; and `NAME.faults.ndjson` beside it with every row that was refused and why.

Promise 1 and 2: how far a file has been taken is kept durably after each chunk is, so that after `kill -9` nothing accepted is
lost and at most one chunk is offered twice. Its readings are duplicates then, which change nothing downstream.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Any

import orjson
from starlette.routing import BaseRoute

from connectors import files
from connectors.accept import WHOLE, Doors, InputCounters, Message, Refusal, take
from connectors.core import ARROW, CSV, HJ212, NDJSON, Refused, Retry
from connectors.drop_progress import Progress, Taking
from connectors.field_map import FieldMap
from connectors.hj212.frame import Framer
from connectors.hj212.handing import hand_over
from connectors.http import Ingest
from connectors.table import Table

DONE, REFUSED = "done", "refused"
UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload")
"""Suffixes of files that are still being written."""
AGAIN = 5.0
"""Seconds before a folder or file that gave an error is looked at again."""
CHUNK = 1 << 20
"""Bytes of a file of lines that are made durable together."""
EXCERPT = 120

_log = logging.getLogger("offsite.drop_folder")


class DropFolder:
    """The input; made from a table `kind = "drop-folder"`."""

    def __init__(
        self,
        name: str,
        folder: Path,
        doors: Doors,
        *,
        pattern: str = "*",
        kind: str = "readings",
        stable_s: float = 2.0,
        poll_s: float = 1.0,
        fields: FieldMap | None = None,
    ) -> None:
        self.name, self.counters = name, InputCounters()
        self._folder, self._doors, self._pattern, self._kind = folder, doors, pattern, kind
        self._stable, self._poll, self._fields = stable_s, poll_s, fields or FieldMap()
        self._progress = Progress(doors.state / f"{name}.json")
        self._seen: dict[str, tuple[int, int, float]] = {}

    @staticmethod
    def from_table(table: Table, name: str, doors: Doors) -> DropFolder:
        """Make it from its settings. Raises TableFaults."""
        folder = table.path("folder")
        if folder is None:
            table.fault("folder", "is missing; give the path of the folder")
        pattern = table.text("pattern", "*")
        kind = table.choice("payload", ("readings", "events"), "readings")
        stable = table.number("stable_s", 2.0, 0.0, 3_600.0)
        poll = table.number("poll_s", 1.0, 0.05, 3_600.0)
        fields = FieldMap.from_table(table)
        table.done()
        assert folder is not None
        return DropFolder(name, folder, doors, pattern=pattern, kind=kind, stable_s=stable, poll_s=poll, fields=fields)

    def routes(self, _ingest: Ingest) -> Sequence[BaseRoute]:
        """Return none: it looks at a folder."""
        return []

    async def run(self) -> None:
        """Take files until cancelled; trouble with the folder is shown in the counters and tried again."""
        while True:
            try:
                with _alone(self._folder):
                    self.counters.state = "watching"
                    while True:
                        await self.once()
                        await asyncio.sleep(self._poll)
            except (Retry, OSError) as error:
                self.counters.state, self.counters.fault = "away", str(error)
                _log.warning("drop folder %s: %s", self._folder, error)
                await asyncio.sleep(AGAIN)

    async def once(self) -> int:
        """Take the files that are ready now, in the order of their names; return how many."""
        ready = await asyncio.to_thread(self._ready, asyncio.get_running_loop().time())
        for path in ready:
            await self._file(path)
        return len(ready)

    def _ready(self, now: float) -> list[Path]:
        """Return the files that have been as they are for long enough; `now` in s of the loop's clock."""
        for place in (DONE, REFUSED):
            (self._folder / place).mkdir(exist_ok=True)
        found: dict[str, tuple[int, int, float]] = {}
        for path in self._folder.glob(self._pattern):
            if path.name.startswith(".") or path.suffix.lower() in UNFINISHED or not path.is_file():
                continue
            stat = path.stat()
            size, changed, since = self._seen.get(path.name, (-1, -1, now))
            same = (size, changed) == (stat.st_size, stat.st_mtime_ns)
            found[path.name] = (stat.st_size, stat.st_mtime_ns, since if same else now)
        self._seen = found
        return [self._folder / name for name in sorted(found) if now - found[name][2] >= self._stable]

    async def _file(self, path: Path) -> None:
        """Take one file from where it was left, and move it away."""
        taking = await asyncio.to_thread(self._progress.begin, path)
        if not taking.target:
            await self._chunks(path, taking)
            usable = not taking.damaged and (taking.accepted or not taking.rejected)
            taking.target = str(_free(self._folder / (DONE if usable else REFUSED) / path.name))
            await asyncio.to_thread(self._progress.keep, taking)
        await asyncio.to_thread(self._progress.finish, path, taking)
        _log.info("%s: %d rows taken, %d refused; now %s", path.name, taking.accepted, taking.rejected, taking.target)

    async def _chunks(self, path: Path, taking: Taking) -> None:
        try:
            bodies = files.bodies(path, size=CHUNK)
            number = 0
            while (found := await asyncio.to_thread(next, bodies, None)) is not None:
                if number >= taking.chunks:
                    faults = await self._take(path, taking, *found)
                    taking.chunks, taking.rejected = number + 1, taking.rejected + len(faults)
                    await asyncio.to_thread(self._progress.keep, taking, faults)
                number += 1
        except Refused as error:
            taking.damaged = True
            await asyncio.to_thread(self._progress.keep, taking, [{"row": None, "reason": "damaged", "detail": str(error)}])

    async def _take(self, path: Path, taking: Taking, content_type: str, body: bytes) -> list[dict[str, Any]]:
        """Make one chunk durable; return its faults by the row of the file."""
        before = self.counters.rows["accepted"]
        base, faults = taking.rows, list[dict[str, Any]]()
        if content_type == HJ212:
            framer = Framer(dialects=self._doors.dialect)
            items = [*framer.feed(body), *framer.flush()]
            aside = await hand_over(self._doors, self.counters, items, f"file:{path.name}")
            faults = [{"row": None, "reason": reason, "detail": _excerpt(raw)} for reason, raw in aside]
            taking.rows += len(items)
        else:
            mapped, made, rows = self._fields.apply(content_type, body)
            refused = await take(self._doors, self.counters, self._kind, [Message(mapped, made, "", rows, body)])
            faults = [_fault(refusal, base) for refusal in refused]
            taking.rows += await asyncio.to_thread(_count, content_type, body)
        taking.accepted += self.counters.rows["accepted"] - before
        return faults


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder for this process alone. Raises Retry while another one has it, OSError if it is not there."""
    with (folder / ".offsite.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Retry(f"{folder} is taken by another process; give each its own folder", AGAIN) from error
        yield


def _free(path: Path) -> Path:
    """Return `path`, numbered if there is a file of that name already."""
    numbered = (path.with_name(f"{path.name}.{number}") for number in count(1))
    return next(name for name in chain([path], numbered) if not os.path.lexists(name))


def _fault(refusal: Refusal, base: int) -> dict[str, Any]:
    row = None if refusal.row == WHOLE else base + refusal.row
    return {"row": row, "reason": refusal.reason, "detail": refusal.detail}


def _count(content_type: str, body: bytes) -> int:
    """Return the rows of a chunk, counted as in its faults: without blank lines and without a CSV header."""
    if content_type == ARROW:
        import pyarrow as pa

        return sum(len(batch) for batch in pa.ipc.open_stream(body))
    if content_type not in {CSV, NDJSON}:
        return len(orjson.loads(body)) if body.lstrip()[:1] == b"[" else 1
    return sum(1 for line in body.split(b"\n") if line.strip()) - (content_type == CSV)


def _excerpt(raw: bytes) -> str:
    return raw[:EXCERPT].decode("utf-8", "backslashreplace")
