"""Framing: any cut of a stream gives the same frames, nothing is waited for in vain, every byte is accounted for."""

from __future__ import annotations

import itertools
import lzma
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.hj212.commands import build
from connectors.hj212.crc import crc16, crc16_modbus
from connectors.hj212.frame import BadChunk, Dialect, Frame, Framer, split_buffer

GOOD = build(
    qn="20160801085857223", st="31", cn="2011", pw="123456", mn="M1", flag=5, area="DataTime=20160801085857;a21026-Rtd=1"
)
OTHER = build(st="91", cn="9015", pw="123456", mn="M2", area="DataTime=20160824003817000;CON-RT=0")


def fed(stream: bytes, cuts: list[int] | None = None, **how) -> list[Frame | BadChunk]:
    framer, out = Framer(**how), []
    bounds = [0, *sorted(cuts or []), len(stream)]
    for left, right in itertools.pairwise(bounds):
        out += framer.feed(stream[left:right])
    return out + framer.flush()


def words(items: list[Frame | BadChunk]) -> list[str]:
    return ["frame" if isinstance(item, Frame) else item.reason for item in items]


def resummed(segment: bytes, total: int) -> bytes:
    return b"##%04d%b%04X\r\n" % (len(segment), segment, total)


SEGMENT = GOOD[6:-6]
PIECES = st.sampled_from(
    [
        GOOD,
        OTHER,
        GOOD.rstrip(b"\r\n"),
        GOOD.replace(b"\r\n", b"\n"),
        GOOD[:-3] + b"\r\n",
        GOOD.replace(b"a21026", b"a2102"),
        b"##9999" + GOOD[6:],
        b"##0400" + GOOD[6:],
        b"##101" + GOOD[6:],
        resummed(SEGMENT, crc16(SEGMENT) ^ 0xFF),
        b"$\t?\0",
        b"##test13912345678\0\r\n",
        b"GET / HTTP/1.1\r\n",
        b"\r\n",
        b"#",
    ]
)


@given(st.lists(PIECES, max_size=8), st.lists(st.integers(0, 900), max_size=12))
def test_any_cut_gives_the_same(pieces, cuts):
    stream = b"".join(pieces)
    whole = fed(stream)
    assert fed(stream, [c for c in cuts if c < len(stream)]) == whole
    split = split_buffer(stream)
    assert split.frames() == [item.raw for item in whole if isinstance(item, Frame)]
    assert [chunk for _, chunk in split.bad] == [item for item in whole if isinstance(item, BadChunk)]


@given(st.lists(st.sampled_from([GOOD, OTHER, GOOD.rstrip(b"\r\n")]), max_size=6), st.binary(max_size=40))
def test_no_neighbour_is_lost(frames, noise):
    noise = noise.replace(b"#", b"")
    items = fed(noise + b"\n".join([*frames, b""]))
    assert [item.raw for item in items if isinstance(item, Frame)] == [f.rstrip(b"\r\n") for f in frames]


@given(st.lists(PIECES, max_size=8))
def test_every_byte_is_accounted_for(pieces):
    stream = b"".join(pieces)
    split = split_buffer(stream)
    spans = [(at, at + size) for at, size in zip(split.starts.tolist(), split.lengths.tolist(), strict=True)]
    spans += [(at, at + len(chunk.raw)) for at, chunk in split.bad]
    free = 0
    for left, right in sorted(spans):
        assert not stream[free:left].strip(b"\r\n")
        assert left >= free
        free = right
    assert not stream[free:].strip(b"\r\n")


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (GOOD + OTHER, ["frame", "frame"]),
        (GOOD[:-2] + OTHER, ["frame", "frame"]),
        (GOOD[:-2] + b"\n", ["frame"]),
        (b"$\t?\0" + GOOD, ["noise", "frame"]),
        (b"##test13912345678\0\r\n" + GOOD, ["bad_length", "frame"]),
        (b"##9999" + GOOD[6:] + OTHER, ["bad_length", "frame"]),
        (b"##101" + GOOD[6:] + OTHER, ["bad_length", "frame"]),
        (GOOD.replace(b"MN=M1;", b"") + OTHER, ["bad_length", "frame"]),
        (GOOD.replace(b"&&DataTime", b"&DataTime").replace(b"##0", b"##0") + OTHER, ["bad_length", "frame"]),
        (resummed(SEGMENT.replace(b"CN=", b"XX="), crc16(SEGMENT.replace(b"CN=", b"XX="))) + OTHER, ["bad_structure", "frame"]),
        (resummed(b"x" * 20, crc16(b"x" * 20)) + OTHER, ["bad_structure", "frame"]),
        (GOOD[:-6] + b"\r\n" + OTHER, ["bad_crc", "frame"]),
        (GOOD[:-6] + b"?A**\r\n" + OTHER, ["bad_crc", "frame"]),
        (GOOD[:60], ["truncated"]),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ["noise", "noise"]),
        (GOOD[:-6] + GOOD[-6:-2].lower() + b"\r\n", ["frame"]),
    ],
)
def test_what_becomes_of_it(stream, expected):
    assert words(fed(stream)) == expected
    split = split_buffer(stream)
    assert [chunk.reason for _, chunk in split.bad] == [word for word in expected if word != "frame"]


def test_a_frame_over_the_limit_is_one_chunk():
    long = build(st="31", cn="2011", pw="1", mn="M1", area=b"x" * 2000)
    assert words(fed(long + GOOD, [700, 1500], limit=1024)) == ["too_long", "frame"]
    assert words(fed(long + GOOD)) == ["frame", "frame"]


def test_a_lying_length_is_not_waited_for():
    framer = Framer()
    assert framer.feed(b"##0900" + GOOD[6:]) == []
    assert words(framer.feed(OTHER)) == ["bad_length", "frame"]
    assert framer.pending == 0


def test_a_silent_peer_is_resolved_by_flush():
    framer = Framer()
    assert framer.feed(b"##0900" + GOOD[6:-2] + OTHER[:-2]) == []
    assert words(framer.flush()) == ["bad_length", "frame"]
    assert framer.pending == 0


def test_memory_is_bounded():
    framer = Framer()
    for _ in range(100):
        framer.feed(b"x" * 1000)
        assert framer.pending < 11_100
    framer.feed(GOOD[:30])
    assert "frame" in words(framer.feed(GOOD[30:]))


def test_a_quoted_frame_stays_inside_its_log():
    log = build(st="32", cn="3020", pw="1", mn="M1", flag=4, area=b"i11001-Info=//" + OTHER[:-2] + b"//")
    assert words(fed(log + GOOD)) == ["frame", "frame"]
    assert len(split_buffer(log + GOOD).frames()) == 2


SWAPPED = crc16_modbus(SEGMENT) >> 8 | (crc16_modbus(SEGMENT) & 0xFF) << 8


@pytest.mark.parametrize(
    ("dialect", "wire", "audit"),
    [
        (Dialect(crc="modbus"), resummed(SEGMENT, crc16_modbus(SEGMENT)), "crc:modbus"),
        (Dialect(crc="modbus_swapped"), resummed(SEGMENT, SWAPPED), "crc:modbus_swapped"),
        (Dialect(crc="ignore"), resummed(SEGMENT, 0x1234), "crc:ignore"),
        (Dialect(crc="ignore"), GOOD[:-6] + b"\r\n", "crc:ignore"),
        (Dialect(crc="ignore"), GOOD[:-6] + b"#G10101010&\r\n", "crc:ignore"),
        (Dialect(crc="modbus"), GOOD, ""),
    ],
)
def test_a_dialect_is_a_switch_of_one_device_and_leaves_a_mark(dialect, wire, audit):
    def dialects(mn: str) -> Dialect:
        return dialect if mn == "M1" else Dialect()

    first, second = fed(wire + OTHER, [20, 50], dialects=dialects)
    assert (first.audit, second.audit) == (audit, "")
    assert first.segment == SEGMENT
    assert split_buffer(wire + OTHER, dialects=dialects).frames() == [first.plain, second.plain]
    if audit:
        assert words(fed(wire)) == ["bad_crc"]
        stranger = wire.replace(b"MN=M1", b"MN=M3")
        assert words(fed(stranger, dialects=dialects)) == ["bad_crc"]


@pytest.mark.parametrize("hour", ["00", "10", "14"])
@pytest.mark.parametrize("glued", [False, True])
def test_a_real_hour(shared_data, hour, glued):
    stream = lzma.decompress((shared_data / f"hj212/2016-08-24_{hour}.h212.xz").read_bytes())
    split = split_buffer(stream)
    lines = stream.splitlines()
    good = [line for line in lines if is_good(line)]
    assert split.frames() == good
    assert len(split.bad) == sum(1 for line in lines if line and not is_good(line))
    sample = stream[:300_000] if not glued else b"".join(good[:1500])
    dice, cuts = random.Random(hour), [0]
    while cuts[-1] < len(sample):
        cuts.append(cuts[-1] + dice.choice([1, 7, 64, 512, 1460, 4096]))
    items = fed(sample, [cut for cut in cuts if cut < len(sample)])
    expected = good[:1500] if glued else [line for line in sample.splitlines() if is_good(line)]
    assert [item.raw for item in items if isinstance(item, Frame)] == expected


def is_good(line: bytes) -> bool:
    """Judge a line the obvious way."""
    if not line.startswith(b"##") or not line[2:6].isdigit() or len(line) != 10 + int(line[2:6]):
        return False
    return line[-6:-4] == b"&&" and crc16(line[6:-4]) == int(line[-4:], 16)
