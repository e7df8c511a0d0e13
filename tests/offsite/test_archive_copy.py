"""Copies of an archive: whole, repeatable, between a path and S3, while the product writes and merges."""

from __future__ import annotations

from pathlib import Path

import pytest

from offsite.archive_copy import copy
from streams import history
from streams.archive import Archive
from tests.offsite.conftest import Offsite
from tests.real.s3 import S3
from tests.streams.archived import PARTITIONS, messages, told, truth

DAYS = ("2026-11-22", "2026-11-23", "2026-11-24", "2026-11-25")


def opened(url: str, **options: object) -> Archive:
    return Archive(url, options, topic_id="t1", partitions=PARTITIONS)


def nothing(_name: str, _size: int) -> None:
    """Nobody looks."""


def filled(url: str, **options: object) -> Archive:
    made, rows = opened(url, **options), messages(steps=8)
    for first in range(0, len(rows), 7):
        made.put(0, rows[first : first + 7])
    return made


def test_a_copy_is_whole_and_repeated_brings_what_is_new(tmp_path: Path) -> None:
    source, target = filled(str(tmp_path / "a")), opened(str(tmp_path / "b"))
    assert copy(source.store, target.store, nothing) > 0
    assert told(target) == told(source) == truth(messages(steps=8))
    assert target.covered(0) == source.covered(0)
    assert copy(source.store, target.store, nothing) == 0
    source.put(0, messages(steps=9)[-2:])
    for day in DAYS:
        source.compact(day)
    assert copy(source.store, target.store, nothing) > 0
    assert told(target) == told(source)


@pytest.mark.servers
def test_between_s3_and_a_path(s3: S3, tmp_path: Path) -> None:
    source, target = filled(s3.bucket(), **s3.options), opened(str(tmp_path / "b"))
    copy(source.store, target.store, nothing)
    back = opened(s3.bucket(), **s3.options)
    copy(target.store, back.store, nothing)
    assert told(back) == told(target) == truth(messages(steps=8))


def test_merging_during_a_copy_loses_and_doubles_nothing(tmp_path: Path) -> None:
    source, target = filled(str(tmp_path / "a")), opened(str(tmp_path / "b"))

    def merging(_name: str, _size: int) -> None:
        for day in DAYS:
            source.compact(day)

    copy(source.store, target.store, merging)
    assert told(target) == truth(messages(steps=8))


def test_an_interrupted_copy_claims_nothing_it_lacks(tmp_path: Path) -> None:
    source, target = filled(str(tmp_path / "a")), opened(str(tmp_path / "b"))
    left = iter(range(5))

    def stop(_name: str, _size: int) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(source.store, target.store, stop)
    assert target.covered(0) == 0
    copy(source.store, target.store, nothing)
    assert (told(target), target.covered(0)) == (told(source), source.covered(0))


def test_the_command_copies_both_ways_and_compacts(offsite: Offsite, tmp_path: Path) -> None:
    filled(str(tmp_path / "a"))
    (tmp_path / "o.toml").write_text(f'archive = "{tmp_path / "a"}"\n')
    config = ("--config", tmp_path / "o.toml", "--json")
    first = offsite("archive", "copy", *config, "--to", tmp_path / "b").rows[0]
    assert first["files"] == len(list((tmp_path / "b").rglob("*.parquet"))) > 10
    assert offsite("archive", "copy", *config, "--from", tmp_path / "b").rows == [{"files": 0, "bytes": 0}]
    assert offsite("archive", "compact", *config, "--before", "2026-11-24").rows[0]["days"] == 1
    assert offsite("archive", "compact", *config, "--before", "2026-11-26").rows[0]["removed"] > 0
    assert len(list((tmp_path / "a").rglob("readings/*/*.parquet"))) == len(opened(str(tmp_path / "a")).days(history.READINGS))
    assert told(opened(str(tmp_path / "a"))) == told(opened(str(tmp_path / "b")))
    shown = offsite("show", "readings", *config, "--limit", 3)
    assert len(shown.rows) == 3
    refused = offsite("show", "alerts", "--config", tmp_path / "o.toml")
    assert (refused.code, "--config is for readings" in refused.err) == (1, True)


def test_an_archive_is_not_replayed_into_itself(offsite: Offsite, tmp_path: Path) -> None:
    (tmp_path / "o.toml").write_text(f'archive = "{tmp_path / "a"}"\n')
    refused = offsite("archive", "replay", "--config", tmp_path / "o.toml", "--from", tmp_path / "a")
    assert (refused.code, "another place" in refused.err) == (1, True)
