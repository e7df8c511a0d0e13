from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from connectors.core import ARROW, CSV, HJ212, JSON, NDJSON, Refused
from connectors.files import FileLimits, bodies, chunks, content_type, line_blocks, lines

SMALL = FileLimits(ratio=100, free=1 << 20, line=4096, memory=64 << 20)
PACK = {".xz": lambda data: lzma.compress(data, preset=0), ".gz": gzip.compress, ".zst": zstandard.compress, "": bytes}


@pytest.mark.parametrize("packing", PACK)
def test_every_packing_gives_the_same_lines(tmp_path: Path, packing: str) -> None:
    text = b"".join(b"##%04d&&abcd\r\n" % i for i in range(5000))
    path = tmp_path / f"in.h212{packing}"
    path.write_bytes(PACK[packing](text))
    assert list(lines(path)) == text.split(b"\r\n")[:-1]
    assert b"".join(block for _, block in bodies(path, size=1000)) == text
    assert content_type(path) == HJ212


@pytest.mark.parametrize("packing", [".xz", ".gz", ".zst"])
def test_streams_one_after_the_other_are_one_file(tmp_path: Path, packing: str) -> None:
    path = tmp_path / f"in.csv{packing}"
    path.write_bytes(PACK[packing](b"a\n") + PACK[packing](b"b\n"))
    assert list(lines(path)) == [b"a", b"b"]


@pytest.mark.parametrize("packing", [".xz", ".gz", ".zst"])
def test_a_cut_archive_is_refused_by_name_with_a_remedy(tmp_path: Path, packing: str) -> None:
    path = tmp_path / f"in.h212{packing}"
    whole = PACK[packing](bytes(range(256)) * 4000)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Refused, match=r"in\.h212.*damaged or cut off.*fetch the file again"):
        list(chunks(path))


@pytest.mark.parametrize("packing", [".xz", ".gz", ".zst"])
def test_bytes_that_are_no_archive_are_refused(tmp_path: Path, packing: str) -> None:
    path = tmp_path / f"in.h212{packing}"
    path.write_bytes(b"this is not an archive at all, it is a text" * 10)
    with pytest.raises(Refused, match="damaged"):
        list(chunks(path))


@pytest.mark.parametrize("packing", [".xz", ".gz", ".zst"])
def test_a_zip_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path, packing: str) -> None:
    path = tmp_path / f"bomb.h212{packing}"
    path.write_bytes(PACK[packing](bytes(20 << 20)))
    sizes: list[int] = []
    with pytest.raises(Refused, match=r"bomb\.h212.*zip bomb.*unpack it yourself"):
        sizes.extend(map(len, chunks(path, SMALL)))
    assert sum(sizes) <= 3 << 20


def test_an_xz_that_asks_for_too_much_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.csv.xz"
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 128 << 20}]
    path.write_bytes(lzma.compress(b"a\n", filters=filters))
    with pytest.raises(Refused, match="big"):
        list(chunks(path, SMALL))


def test_a_total_limit_holds_for_plain_files(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(b"x\n" * 1000)
    with pytest.raises(Refused, match="unpacks to more than"):
        list(chunks(path, FileLimits(total=100)))


@pytest.mark.parametrize("packing", ["", ".xz"])
def test_an_endless_line_is_refused(tmp_path: Path, packing: str) -> None:
    path = tmp_path / f"in.csv{packing}"
    path.write_bytes(PACK[packing](b"ok\n" + b"x" * (3 << 20)))
    with pytest.raises(Refused, match=r"line longer than .*not a file of lines"):
        list(lines(path, FileLimits(line=1 << 20)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b"")), max_size=40), st.integers(1, 64))
def test_blocks_are_whole_lines_and_lose_nothing(tmp_path_factory: pytest.TempPathFactory, texts: list[bytes], size: int) -> None:
    path = tmp_path_factory.mktemp("blocks") / "in.ndjson"
    path.write_bytes(b"\n".join(texts))
    blocks = list(line_blocks(path, size=size))
    assert b"".join(blocks) == path.read_bytes()
    assert all(block.endswith(b"\n") for block in blocks[:-1])


def test_each_csv_block_stands_under_the_header(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(b"site,value\n" + b"".join(b"S%d,%d\n" % (i, i) for i in range(200_000)))
    found = list(bodies(path, size=1 << 20))
    assert len(found) > 1
    assert {kind for kind, _ in found} == {CSV}
    assert all(body.startswith(b"site,value\nS") for _, body in found)
    rows = b"".join(body.removeprefix(b"site,value\n") for _, body in found)
    assert b"site,value\n" + rows == path.read_bytes()


def test_columns_come_as_arrow_streams(tmp_path: Path) -> None:
    table = pa.table({"site": ["S1"] * 300_000, "value": list(range(300_000))})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_file(str(tmp_path / "b.arrow"), table.schema) as file:
        file.write_table(table)
    with pa.ipc.new_stream(str(tmp_path / "c.arrows"), table.schema) as stream:
        stream.write_table(table)
    (tmp_path / "d.arrows.xz").write_bytes(lzma.compress((tmp_path / "c.arrows").read_bytes(), preset=0))
    for name in ("a.parquet", "b.arrow", "c.arrows", "d.arrows.xz"):
        found = list(bodies(tmp_path / name))
        assert {kind for kind, _ in found} == {ARROW}, name
        assert pa.concat_tables([pa.ipc.open_stream(body).read_all() for _, body in found]).equals(table), name
        assert len(found) >= 2, name


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.arrows"])
def test_damaged_columns_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"ARROW1 but not really, and no parquet either")
    with pytest.raises(Refused, match=name):
        list(bodies(tmp_path / name))


def test_a_json_document_comes_whole_and_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    path.write_bytes(b"[1,\n2]")
    assert list(bodies(path)) == [(JSON, b"[1,\n2]")]
    with pytest.raises(Refused, match=r"\.ndjson"):
        list(bodies(path, FileLimits(memory=3)))


def test_unknown_kinds_and_missing_files_say_what_to_do(tmp_path: Path) -> None:
    assert content_type(tmp_path / "x.jsonl.gz") == NDJSON
    with pytest.raises(Refused, match=r"\.docx.*known are.*\.h212"):
        content_type(tmp_path / "x.docx")
    with pytest.raises(Refused, match=r"cannot be read.*check the path"):
        list(chunks(tmp_path / "gone.csv"))


def test_the_real_hours_are_read_whole(shared_data: Path) -> None:
    found = list(lines(shared_data / "hj212" / "2016-08-24_00.h212.xz"))
    assert len(found) > 8_000
    assert sum(line.startswith(b"##") for line in found) > 8_000
