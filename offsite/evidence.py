"""Evidence of one site and span: raw frames byte for byte and the rows parsed from them leave as one file that proves itself.

The file is a ZIP: `frames.ndjson` (one frame a line, its bytes in base64 with their SHA-256), `readings.ndjson` (one row a line with
its SHA-256 and the offset of its frame) and `manifest.json` (what was asked, and bytes, lines and SHA-256 of the two). Beside
it stands FILE.sha256 as `sha256sum -c` reads it. `verify` needs nothing but the file. Nothing is signed here.
"""

from __future__ import annotations

import base64
import hashlib
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa

from connectors.core import Refused, Retry
from streams.history import READINGS, shown
from streams.identity import rfc3339

FORMAT = 2
MANIFEST, FRAMES, ROWS = "manifest.json", "frames.ndjson", "readings.ndjson"


class Kept(Protocol):
    """What evidence is taken from: `streams.history.History` or `streams.archive.Archive`."""

    def table(self, kind: str, site: str | None, start: int, end: int, *, as_of: int | None = None) -> pa.Table:
        """Return rows of a kind in [start, end) ms UTC."""

    def frames(self, site: str, start: int, end: int) -> pa.Table:
        """Return frames that arrived in [start, end) ms UTC."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What evidence is of: a site, [start, end) ms UTC of event time, and if given the log time as of which it was known."""

    site: str
    start: int
    end: int
    as_of: int | None = None


def export(kept: Kept, asked: Asked, out: Path, now: int) -> dict[str, Any]:
    """Write the file and FILE.sha256; return the manifest with the file's own SHA-256.

    In it are all rows of the span, whatever their fate; the frames they came from, whenever those arrived; and all frames that
    arrived in the span. Raises Refused (the file is there, nothing is kept of the span) or Retry (disk full).
    """
    if out.exists():
        raise Refused(f"{out} is there already; evidence overwrites nothing: name another file")
    rows = kept.table(READINGS, asked.site, asked.start, asked.end, as_of=asked.as_of)
    frames = _frames(kept, asked, rows)
    if not len(rows) and not len(frames):
        raise Refused(f"nothing is kept of site {asked.site!r} in that span; look with `offsite show readings --site`")
    bodies = {FRAMES: b"".join(_frame_lines(frames)), ROWS: b"".join(_row_lines(rows))}
    manifest = {
        "format": FORMAT,
        "site": asked.site,
        "from": rfc3339(asked.start),
        "to": rfc3339(asked.end),
        "as_of": rfc3339(asked.as_of),
        "made": rfc3339(now),
        "files": {name: _told(body) for name, body in bodies.items()},
    }
    try:
        _pack(bodies | {MANIFEST: orjson.dumps(manifest, option=orjson.OPT_INDENT_2)}, out, now)
    except OSError as error:
        raise Retry(f"{out}: cannot be written ({error}); free some space there or name another place", 10) from error
    return manifest | {"sha256": hashlib.sha256(out.read_bytes()).hexdigest()}


def _frames(kept: Kept, asked: Asked, rows: pa.Table) -> pa.Table:
    """Return the frames that arrived in the span, and those of the rows, which may have arrived much later."""
    arrived, origins = rows["arrived"].to_numpy(), set(_places(rows))
    low, high = (min(asked.start, arrived.min()), max(asked.end, arrived.max() + 1)) if len(rows) else (asked.start, asked.end)
    found = kept.frames(asked.site, int(low), int(high))
    at = found["arrived"].to_numpy()
    of_rows = np.fromiter((place in origins for place in _places(found)), np.bool_, len(found))
    known = of_rows | (at >= asked.start) & (at < asked.end)
    if asked.as_of is not None:
        known &= at <= asked.as_of
    return found.filter(pa.array(known))


def _places(table: pa.Table) -> Iterator[tuple[str, int]]:
    """Yield topic and offset of each row: offsets are of one topic."""
    return zip(table["topic"].to_pylist(), table["offset"].to_pylist(), strict=True)


def _frame_lines(frames: pa.Table) -> Iterator[bytes]:
    for row in frames.to_pylist():
        body = row.pop("body")
        row |= {"arrived": rfc3339(row["arrived"]), "sha256": hashlib.sha256(body).hexdigest()}
        yield orjson.dumps(row | {"body_base64": base64.b64encode(body).decode("ascii")}) + b"\n"


def _row_lines(rows: pa.Table) -> Iterator[bytes]:
    for row in shown(rows):
        yield orjson.dumps(row | {"sha256": _of_row(row)}, option=orjson.OPT_SORT_KEYS) + b"\n"


def _of_row(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(row, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _told(body: bytes) -> dict[str, Any]:
    return {"bytes": len(body), "lines": body.count(b"\n"), "sha256": hashlib.sha256(body).hexdigest()}


def _pack(bodies: Mapping[str, bytes], out: Path, now: int) -> None:
    """Write the ZIP whole or not at all, its times those of `now`."""
    part = out.with_name(out.name + ".part")
    moment = datetime.fromtimestamp(now / 1000, UTC).timetuple()[:6]
    with part.open("wb") as raw:
        with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, body in bodies.items():
                packed.writestr(zipfile.ZipInfo(name, moment), body, zipfile.ZIP_DEFLATED)
        raw.flush()
        os.fsync(raw.fileno())
    part.replace(out)
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    _beside(out).write_text(f"{digest}  {out.name}\n", encoding="utf-8")


def _beside(file: Path) -> Path:
    return file.with_name(file.name + ".sha256")


def verify(file: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the manifest of an evidence file and every fault found in it. Raises Refused if it is none, or cannot be read."""
    faults: list[str] = []
    try:
        whole = file.read_bytes()
        with zipfile.ZipFile(file) as packed:
            bodies = {name: packed.read(name) for name in packed.namelist()}
            manifest = orjson.loads(bodies.pop(MANIFEST))
        listed = manifest["files"]
        if manifest["format"] != FORMAT:
            raise Refused(
                f"{file}: has format {manifest['format']}, this program reads {FORMAT}; verify it with the one that wrote it"
            )
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise Refused(f"{file}: damaged or no evidence file ({error}); fetch it again from where it was sealed") from error
    if (beside := _beside(file)).exists() and beside.read_text("utf-8").split()[:1] != [hashlib.sha256(whole).hexdigest()]:
        faults.append(f"{file.name} does not fit {beside.name}")
    faults += [f"{name} is in the manifest and not in the file" for name in sorted(set(listed) - set(bodies))]
    faults += [f"{name} is in the file and not in the manifest" for name in sorted(set(bodies) - set(listed))]
    faults += [f"{name} does not fit its SHA-256" for name in listed if name in bodies and _told(bodies[name]) != listed[name]]
    if not faults:
        faults += _lines(bodies[FRAMES], bodies[ROWS])
    return manifest, faults


def _lines(frames: bytes, rows: bytes) -> Iterator[str]:
    """Yield what is wrong with single frames and rows."""
    places = set()
    for number, row in enumerate(map(orjson.loads, frames.splitlines()), 1):
        places.add((row["topic"], row["offset"]))
        if hashlib.sha256(base64.b64decode(row["body_base64"])).hexdigest() != row["sha256"]:
            yield f"{FRAMES} line {number}: the bytes do not fit their SHA-256"
    for number, row in enumerate(map(orjson.loads, rows.splitlines()), 1):
        if _of_row({k: v for k, v in row.items() if k != "sha256"}) != row["sha256"]:
            yield f"{ROWS} line {number}: the row does not fit its SHA-256"
        if row["offset"] >= 0 and (row["topic"], row["offset"]) not in places:
            yield f"{ROWS} line {number}: its frame, offset {row['offset']} of {row['topic']}, is not in {FRAMES}"
