"""A day as a file: the asked number of readings, the same frames in every format."""

from __future__ import annotations

import lzma

import pytest
import zstandard

from connectors.hj212.frame import split_buffer
from offsite.city.days import day_interval_ms, readings_a_step, write_day
from offsite.city.model import City
from offsite.city.tables import DAY_MS


@pytest.fixture(scope="module")
def city():
    return City(enterprises=9)


def test_the_interval_gives_the_asked_number(full_city):
    for readings in (1_000_000, 5_000_000):
        interval = day_interval_ms(full_city, readings)
        assert interval % 1000 == 0
        assert abs(DAY_MS // interval * readings_a_step(full_city) / readings - 1) < 0.05


def test_every_format_holds_the_same_frames(city, tmp_path):
    counts = {end: write_day(city, tmp_path / f"day.h212{end}", 2, 40_000) for end in ("", ".xz", ".zst")}
    assert len(set(counts.values())) == 1
    plain = (tmp_path / "day.h212").read_bytes()
    assert lzma.decompress((tmp_path / "day.h212.xz").read_bytes()) == plain
    with zstandard.open(tmp_path / "day.h212.zst", "rb") as file:
        assert file.read() == plain
    found = split_buffer(plain)
    assert (len(found.frames()), plain.count(b"\r\n")) == (counts[""], counts[""])
    assert abs(plain.count(b"Rtd=") / 40_000 - 1) < 0.05
    times = [line.split(b"DataTime=")[1][:14] for line in plain.splitlines()]
    assert times == sorted(times)
    assert {t[:8] for t in times} == {b"20261118", b"20261119"}  # the third day from 09:00


def test_the_same_day_is_the_same_bytes(city, tmp_path):
    for name in ("a.h212", "b.h212"):
        write_day(City(enterprises=9), tmp_path / name, 0, 10_000)
    assert (tmp_path / "a.h212").read_bytes() == (tmp_path / "b.h212").read_bytes()
