"""Evidence files: raw frames byte for byte beside what was parsed from them, and any change is found without the product's data."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import orjson
import pytest

from offsite.evidence import FRAMES, MANIFEST, ROWS, Asked, export, verify
from streams import history
from streams.archive import Archive
from tests.offsite.conftest import Offsite
from tests.streams.archived import DAY, HOUR, PARTITIONS, T0, messages, site_of, table

SITE = site_of(0)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(str(tmp_path / "archive"), topic_id="t1", partitions=PARTITIONS)
    made.put(0, messages())
    return made


@pytest.fixture
def sealed(archive: Archive, tmp_path: Path) -> Path:
    export(archive, Asked(SITE, T0, T0 + DAY), tmp_path / "e.zip", T0)
    return tmp_path / "e.zip"


def lines(file: Path, name: str) -> list[dict[str, Any]]:
    with zipfile.ZipFile(file) as packed:
        return [orjson.loads(line) for line in packed.read(name).splitlines()]


def test_it_holds_rows_of_the_span_and_the_frames_they_came_from(archive: Archive, sealed: Path) -> None:
    rows, frames = lines(sealed, ROWS), lines(sealed, FRAMES)
    assert len(rows) == len(archive.table(history.READINGS, SITE, T0, T0 + DAY)) > 20
    assert {row["site"] for row in [*rows, *frames]} == {SITE}
    assert {row["offset"] for row in rows} <= {frame["offset"] for frame in frames}
    for frame in frames:
        body = base64.b64decode(frame["body_base64"])
        assert body == b"##\xff\x00%d" % frame["offset"]
        assert frame["sha256"] == hashlib.sha256(body).hexdigest()
    late = [frame for frame in frames if frame["arrived"] >= "2026-11-25"]
    assert late == [], "no row of that day arrived on a later one"
    assert verify(sealed)[1] == []


def test_a_late_row_brings_its_frame_along(archive: Archive, tmp_path: Path) -> None:
    export(archive, Asked(SITE, T0 - 2 * DAY, T0), tmp_path / "late.zip", T0)
    rows, frames = lines(tmp_path / "late.zip", ROWS), lines(tmp_path / "late.zip", FRAMES)
    assert len(rows) == 5
    assert {row["offset"] for row in rows} == {frame["offset"] for frame in frames}
    assert all(frame["arrived"] >= "2026-11-24" for frame in frames)


def test_an_offset_of_another_topic_is_no_frame_of_a_row(tmp_path: Path) -> None:
    archive = Archive(str(tmp_path / "archive"), topic_id="t1", partitions=PARTITIONS)
    step = {kind: rows for _, kind, rows in messages(steps=1)}
    frames = step[history.FRAMES].to_pylist()
    moved = table(history.FRAMES, [{**frame, "topic": "power-usage"} for frame in frames])
    archive.put(0, [(0, history.READINGS, step[history.READINGS]), (1, history.FRAMES, moved)])
    export(archive, Asked(SITE, T0, T0 + DAY), tmp_path / "e.zip", T0)
    faults = verify(tmp_path / "e.zip")[1]
    assert len(faults) == len(lines(tmp_path / "e.zip", ROWS)) > 0
    assert all("of emission-monitoring, is not in" in fault for fault in faults)


def test_as_of_leaves_out_what_arrived_later(archive: Archive, tmp_path: Path) -> None:
    export(archive, Asked(SITE, T0, T0 + DAY, T0 + 4 * HOUR), tmp_path / "then.zip", T0)
    rows, frames = lines(tmp_path / "then.zip", ROWS), lines(tmp_path / "then.zip", FRAMES)
    assert {row["arrived"] <= "2026-11-24T04:00:00+08:00" for row in [*rows, *frames]} == {True}
    assert verify(tmp_path / "then.zip")[1] == []


def test_sha256sum_checks_it_too(sealed: Path) -> None:
    checked = subprocess.run(["sha256sum", "-c", f"{sealed.name}.sha256"], cwd=sealed.parent, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr


def altered(file: Path, name: str, change: Any) -> Path:
    """Write the file anew with one member changed, its manifest made to fit if the change is in a line."""
    with zipfile.ZipFile(file) as packed:
        bodies = {n: packed.read(n) for n in packed.namelist()}
    bodies[name] = change(bodies[name])
    out = file.with_name("altered.zip")
    with zipfile.ZipFile(out, "w") as packed:
        for n, body in bodies.items():
            packed.writestr(n, body)
    return out


def fitted(file: Path, name: str, change: Any) -> Path:
    """Change a line, and the manifest to fit: what a forger would do."""
    out = altered(file, name, change)
    with zipfile.ZipFile(out) as packed:
        body = packed.read(name)
    told = {"bytes": len(body), "lines": body.count(b"\n"), "sha256": hashlib.sha256(body).hexdigest()}

    def manifest(old: bytes) -> bytes:
        found = orjson.loads(old)
        return orjson.dumps(found | {"files": found["files"] | {name: told}})

    out.rename(out.with_name("step.zip"))
    return altered(out.with_name("step.zip"), MANIFEST, manifest)


@pytest.mark.parametrize(
    ("make", "name", "change", "words"),
    [
        (altered, ROWS, lambda b: b.replace(b'"value":0.0', b'"value":9.0', 1), "does not fit its SHA-256"),
        (altered, FRAMES, lambda b: b[:-1], "does not fit its SHA-256"),
        (fitted, ROWS, lambda b: b.replace(b'"value":0.0', b'"value":9.0', 1), "row does not fit"),
        (fitted, FRAMES, lambda b: b.replace(b"IyP/AD", b"IyP/AT", 1), "bytes do not fit"),
        (
            fitted,
            FRAMES,
            lambda b: b"".join(b.splitlines(keepends=True)[1:]),
            "its frame, offset 0 of emission-monitoring, is not in",
        ),
    ],
)
def test_any_change_is_found(offsite: Offsite, sealed: Path, make: Any, name: str, change: Any, words: str) -> None:
    out = make(sealed, name, change)
    told = offsite("evidence", "verify", out)
    assert told.code == 1
    assert words in told.out
    assert "ALTERED" in told.out


def test_a_missing_or_further_member_is_found(sealed: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(sealed) as packed, zipfile.ZipFile(tmp_path / "x.zip", "w") as out:
        for name in (MANIFEST, ROWS):
            out.writestr(name, packed.read(name))
        out.writestr("more", b"")
    assert [fault.split(" is ")[0] for fault in verify(tmp_path / "x.zip")[1]] == [FRAMES, "more"]


def test_a_changed_file_does_not_fit_what_stands_beside_it(sealed: Path) -> None:
    with zipfile.ZipFile(sealed, "a") as packed:
        packed.comment = b"x"
    assert verify(sealed)[1] == ["e.zip does not fit e.zip.sha256"]


@pytest.mark.parametrize("body", [b"", b"no zip", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_evidence_is_refused(offsite: Offsite, tmp_path: Path, body: bytes) -> None:
    (tmp_path / "no.zip").write_bytes(body)
    told = offsite("evidence", "verify", tmp_path / "no.zip")
    assert told.code == 1
    assert "no evidence file" in told.err


def test_nothing_is_overwritten_and_nothing_is_told_of_nothing(
    offsite: Offsite, data: Path, sealed: Path, tmp_path: Path
) -> None:
    span = ("--from", "2016-01-01", "--to", "2036-01-01")
    told = offsite("evidence", "frames", "--data", data, "--site", "S1", *span, "--out", sealed)
    assert (told.code, "overwrites nothing" in told.err) == (1, True)
    told = offsite("evidence", "frames", "--data", data, "--site", "nobody", *span, "--out", tmp_path / "n.zip")
    assert (told.code, "nothing is kept of site 'nobody'" in told.err) == (1, True)


def test_a_data_directory_gives_evidence_of_real_frames(
    offsite: Offsite, adopted: Path, hour: list[bytes], tmp_path: Path
) -> None:
    shown = offsite("show", "readings", "--data", adopted, "--json").rows
    site = shown[len(shown) // 2]["site"]
    span = ("--from", "2016-08-24", "--to", "2016-08-25")
    told = offsite("evidence", "frames", "--data", adopted, "--site", site, *span, "--out", tmp_path / "d.zip", "--json")
    assert told.code == 0
    rows, frames = lines(tmp_path / "d.zip", ROWS), lines(tmp_path / "d.zip", FRAMES)
    own = [row for row in shown if row["site"] == site and "2016-08-24" <= row["time"] < "2016-08-25"]
    assert sorted(row["offset"] for row in rows) == sorted(row["offset"] for row in own)
    assert {frame["offset"] for frame in frames} == {row["offset"] for row in own}
    assert {base64.b64decode(frame["body_base64"]) for frame in frames} <= set(hour)
    assert offsite("evidence", "verify", tmp_path / "d.zip").code == 0
    assert offsite("evidence", "verify", tmp_path / "d.zip", "--json").rows[0]["faults"] == []


def test_as_of_is_shown(offsite: Offsite, data: Path) -> None:
    rows = offsite("show", "readings", "--data", data, "--json").rows
    arrived = sorted({row["arrived"] for row in rows})
    middle = arrived[len(arrived) // 2]
    told = offsite("show", "readings", "--data", data, "--json", "--as-of", middle).rows
    assert told == [row for row in rows if row["arrived"] <= middle]
    assert 0 < len(told) < len(rows) or len(arrived) == 1
    for what in ("windows", "alerts"):
        refused = offsite("show", what, "--data", data, "--as-of", middle)
        assert (refused.code, "readings" in refused.err) == (1, True)
