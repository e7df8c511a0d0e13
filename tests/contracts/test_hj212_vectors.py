"""Real and official HJ 212 bytes: what the standard prints and what 341 real devices sent, whole and cut at random."""

from __future__ import annotations

import base64
import csv
import json
import random

import numpy as np
import pytest

from connectors.hj212.crc import crc16
from connectors.hj212.frame import BadChunk, Dialect, Frame, Framer, split_buffer
from connectors.hj212.header import parse
from streams.codecs.hj212 import Hj212Decoder
from streams.model import SeriesTable
from tests.conftest import SHARED

FOLDER = SHARED / "data/hj212"
AFTER = b"##0091ST=91;CN=9015;PW=123456;MN=LD130133000015;Flag=0;CP=&&DataTime=20160824003817000;CON-RT=0&&"
AFTER += b"%04X\r\n" % crc16(AFTER[6:])
SM4_KEY = b"0" * 16
FOUR_DIGITS = frozenset(b"0123456789")  # of the length: a device that sends three is not framed


def lines(name: str) -> list[dict]:
    path = FOLDER / name
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


REAL, DERIVED = lines("frames.jsonl"), lines("derived.jsonl")


@pytest.fixture(autouse=True)
def _data(shared_data):
    """Skip with a reason where the real data is absent."""


def cut(stream: bytes, seed: object, **how) -> list[Frame | BadChunk]:
    dice, framer, out, at = random.Random(str(seed)), Framer(**how), [], 0
    while at < len(stream):
        size = dice.choice([1, 2, 7, 64, 512])
        out += framer.feed(stream[at : at + size])
        at += size
    return out + framer.flush()


def whole(stream: bytes, **how) -> list[Frame | BadChunk]:
    framer = Framer(**how)
    return framer.feed(stream) + framer.flush()


def place(mn: str, what: str) -> tuple[str, str]:
    return mn, what


def decode(segment: bytes) -> tuple[int, int, int]:
    raw = b"##%04d%b%04X" % (len(segment), segment, crc16(segment))
    decoder = Hj212Decoder(place, SeriesTable())
    decoded = decoder.decode([raw], np.zeros(1, np.int64))
    return len(decoded.readings), sum(r.rows for r in decoded.rejects), len(decoded.events) + decoder.commands["9015"]


@pytest.mark.parametrize("vector", REAL, ids=lambda v: f"line{v['line']}")
def test_a_real_frame_and_its_neighbour(vector):
    wire = base64.b64decode(vector["b64"])
    stream = wire + b"\r\n" + AFTER
    items = whole(stream)
    good = vector["crc"].startswith("ok") and vector["length"] == "ok" and not FOUR_DIGITS.isdisjoint(wire[5:6])
    assert any(isinstance(item, Frame) and item.raw == wire.rstrip(b"\r\n") for item in items) == good
    assert isinstance(items[-1], Frame)
    assert items[-1].raw == AFTER[:-2]
    if good:
        assert len(items) == 2
    assert cut(stream, vector["line"]) == items
    assert split_buffer(stream).frames() == [item.raw for item in items if isinstance(item, Frame)]


@pytest.mark.parametrize("mode", ["modbus", "modbus_swapped"])
def test_other_checksums_are_a_switch(mode):
    name = mode.replace("_", "-byte-")
    chosen = [v for v in REAL if v["crc"].split(",")[0] == name and "length-6-digits" not in v["tags"]]
    assert chosen
    for vector in chosen:
        (frame,) = whole(base64.b64decode(vector["b64"]), dialects=lambda _mn: Dialect(crc=mode))
        assert frame.audit == f"crc:{mode}"


@pytest.mark.parametrize("vector", REAL, ids=lambda v: f"line{v['line']}")
def test_every_accepted_real_frame_leaves_a_trace(vector):
    for raw in split_buffer(base64.b64decode(vector["b64"])).frames():
        decoder = Hj212Decoder(place, SeriesTable())
        decoded = decoder.decode([raw], np.zeros(1, np.int64))
        traces = len(decoded.readings) + len(decoded.rejects) + len(decoded.events)
        assert traces > 0 or parse(raw[6:]).cn in {"9015", "8013"}


NOT_FRAMES = {"half 1", "half 2", "HTTP probe", "Modbus CRC"}


@pytest.mark.parametrize("vector", [v for v in DERIVED if v["name"] not in NOT_FRAMES], ids=lambda v: v["name"])
def test_a_derived_vector_does_what_it_must(vector):
    wire, expect = base64.b64decode(vector["b64"]), vector["expect"]
    items = whole(wire, dialects=lambda _mn: Dialect(sm4_key=SM4_KEY))
    assert cut(wire, vector["name"], dialects=lambda _mn: Dialect(sm4_key=SM4_KEY)) == items
    frames = [item for item in items if isinstance(item, Frame)]
    bad = [item for item in items if isinstance(item, BadChunk)]
    assert len(frames) == (2 if expect == "2 frames" else 1)
    if expect.startswith(("accept", "tolerate", "2 frames")) or expect == "1 frame":
        assert bad == []
    elif "discarded" in expect:
        assert [(chunk.reason, len(chunk.raw)) for chunk in bad] == [("noise", 4)]
    else:
        assert [chunk.reason for chunk in bad] == ["bad_length"]
    for frame in frames:
        assert parse(frame.segment).mn


def test_halves_meet_and_probes_are_noise():
    by_name = {v["name"]: base64.b64decode(v["b64"]) for v in DERIVED}
    framer = Framer()
    assert framer.feed(by_name["half 1"]) == []
    assert framer.pending == len(by_name["half 1"])
    assert len(framer.feed(by_name["half 2"])) == 1
    assert {item.reason for item in whole(by_name["HTTP probe"])} == {"noise"}
    assert [item.reason for item in whole(by_name["Modbus CRC"])] == ["bad_crc"]
    (frame,) = whole(by_name["Modbus CRC"], dialects=lambda _mn: Dialect(crc="modbus"))
    assert frame.audit == "crc:modbus"


def annex_c() -> list[dict]:
    path = FOLDER / "segments_2017_annexC.tsv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.parametrize("row", annex_c(), ids=lambda row: f"{row['n']}-{row['CN']}")
def test_every_segment_of_annex_c_is_read(row):
    segment = row["segment"].replace("…", "").encode()  # printed, never sent
    head = parse(segment)
    assert head.cn == row["CN"]
    assert head.version == "2017"
    assert head.mn == "010000A8900016F000169DC0"
    assert len(head.qn) == 17
    readings, refused, events = decode(segment)
    assert readings + refused + events > 0
    if "DataTime=" in row["segment"] and head.cn.startswith("20") and head.cn != "2081":
        assert readings > 0
        assert refused == 0
    else:
        assert (readings, refused) == (0, 0)


def test_the_corpus_is_all_there():
    assert (len(REAL), len(DERIVED), len(annex_c())) == (341, 95, 155)
