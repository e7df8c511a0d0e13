"""What is a frame and what is not: the rule, its exceptions by device, and the scan of one buffer.

Bytes enter; frames and bad chunks leave, in order, and every byte is in one of them or is a line end between them. The rule
(HJ 212-2017 §6.2 with what real streams add): find `##` and four digits; if that many bytes of a segment and the checksum are
there and agree, it is a frame, and line ends after it are swallowed. Otherwise the bytes up to the next line end or the next
header are one bad chunk, and reading goes on there. A length that points beyond a following header lies and is not waited for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from connectors.hj212 import sm4
from connectors.hj212.crc import crc16, crc16_modbus

LIMIT = 4096
"""The longest data segment accepted, bytes. The standard says 1024; real devices send up to 1,703."""

Reason = Literal["noise", "bad_length", "bad_crc", "bad_structure", "too_long", "truncated"]
CrcMode = Literal["hj212", "modbus", "modbus_swapped", "ignore"]

HEADER = re.compile(rb"##\d{4}")
_END = re.compile(rb"\r?\n|(?=##\d{4})")
_LIE = re.compile(rb"\n##\d{4}")
_SHAPE = re.compile(rb"##\d{4}(.*&&)(.*?)\s*\Z", re.DOTALL)
_HEX = re.compile(rb"[0-9A-Fa-f]{4}")
_MN = re.compile(rb"[;,]MN=([^;,]*)")
LINE_ENDS = b"\r\n"
OVERHEAD = 10  # "##", four digits, four checksum digits


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one device departs from the standard; the default is strict. Every departure is visible as `Frame.audit`.

    `crc` names the checksum it sends (`ignore` accepts any or none); `encoding` its Chinese text; `ack_without_flag` answers
    frames that carry no Flag; `sm4_key` (16 bytes) decrypts its data areas (HJ 212-2025 Annex A.2).
    """

    crc: CrcMode = "hj212"
    encoding: Literal["utf-8", "gbk"] = "utf-8"
    ack_without_flag: bool = False
    sm4_key: bytes | None = None


STRICT = Dialect()


def strict(_mn: str) -> Dialect:
    """Return the strict dialect for every device."""
    return STRICT


@dataclass(frozen=True, slots=True)
class Frame:
    """One accepted frame. `raw` is what was received, without line ends; `segment` its data segment in clear.

    `audit` names the departure from the standard that let it in, empty for a regular frame.
    """

    raw: bytes
    segment: bytes
    crc_ok: bool = True
    audit: str = ""

    @property
    def plain(self) -> bytes:
        """Return the frame in clear, as it is logged: the same bytes, or the decrypted segment in the same envelope."""
        return self.raw[:6] + self.segment + self.raw[6 + len(self.segment) :]


@dataclass(frozen=True, slots=True)
class BadChunk:
    """Bytes that are no frame, and why: one frame read and rejected in the books, line noise included."""

    reason: Reason
    raw: bytes


def confirm(buffer: bytes, at: int, dialects: Callable[[str], Dialect] = strict, *, final: bool = False) -> Frame | None:
    """Return the frame whose header stands at `at`, if length, structure and checksum agree and all of it is there."""
    start, end = at + 6, at + 6 + int(buffer[at + 2 : at + 6])
    segment = buffer[start:end]
    if len(segment) < end - start or not segment.endswith(b"&&") or b"CN=" not in segment:
        return None
    sum_text = buffer[end : end + 4]
    if _HEX.fullmatch(sum_text) is None:
        return _unsummed(buffer, at, end, dialects, final=final)
    expected, raw = int(sum_text, 16), buffer[at : end + 4]
    if crc16(segment) == expected:
        return Frame(raw, segment)
    if dialects is strict:
        return None
    return _deviant(raw, segment, expected, dialects(_mn(segment)))


def _mn(segment: bytes) -> str:
    found = _MN.search(segment)
    return found[1].decode("utf-8", "replace") if found else ""


def _unsummed(buffer: bytes, at: int, end: int, dialects: Callable[[str], Dialect], *, final: bool) -> Frame | None:
    """Accept a frame without a readable checksum from a device whose checksum is ignored: it ends where its line ends."""
    segment = buffer[at + 6 : end]
    if dialects is strict or dialects(_mn(segment)).crc != "ignore":
        return None
    stop = _END.search(buffer, end)
    if stop is None and not final:
        return None
    return Frame(buffer[at : stop.start() if stop else len(buffer)], segment, crc_ok=False, audit="crc:ignore")


def _deviant(raw: bytes, segment: bytes, expected: int, dialect: Dialect) -> Frame | None:
    """Try the ways in which this device may depart from the standard."""
    if dialect.sm4_key and b"CP=&&" in segment:
        clear = _decrypted(segment, dialect.sm4_key)
        if crc16(clear) == expected:
            return Frame(raw, clear, audit="sm4")
    if dialect.crc == "ignore":
        return Frame(raw, segment, crc_ok=False, audit="crc:ignore")
    if dialect.crc != "hj212":
        own = crc16_modbus(segment)
        swapped = own >> 8 | (own & 0xFF) << 8
        if expected == (own if dialect.crc == "modbus" else swapped):
            return Frame(raw, segment, audit=f"crc:{dialect.crc}")
    return None


def _decrypted(segment: bytes, key: bytes) -> bytes:
    area = segment.index(b"CP=&&") + 5
    return segment[:area] + sm4.decrypt(segment[area:-2], key) + segment[-2:]


def classify(chunk: bytes, limit: int = LIMIT) -> Reason:
    """Say why a chunk is no frame."""
    if not chunk.startswith(b"##"):
        return "noise"
    if not HEADER.match(chunk):
        return "bad_length"
    declared, shape = int(chunk[2:6]), _SHAPE.match(chunk)
    if shape is not None and len(shape[1]) != declared:
        return "bad_length"
    if declared > limit:
        return "too_long"
    if shape is None:
        return "truncated" if len(chunk) < declared + OVERHEAD else "bad_structure"
    return "bad_crc" if b"CN=" in shape[1] else "bad_structure"


def _bad_end(buffer: bytes, at: int, *, final: bool) -> int | None:
    """Return where the bad chunk that begins at `at` ends, or None if more bytes are needed to tell.

    A chunk of the declared shape (`&&`, four hex digits) with a wrong sum is one chunk even if it contains line ends: encrypted
    areas do.
    """
    if HEADER.match(buffer, at):
        end = at + 6 + int(buffer[at + 2 : at + 6])
        if buffer[end - 2 : end] == b"&&" and _HEX.match(buffer, end) and not HEADER.search(buffer, at + 1, end):
            return end + 4
    stop = _END.search(buffer, at + 1)
    if stop is not None:
        return stop.end()
    return len(buffer) if final else None


def scan(
    buffer: bytes, *, limit: int = LIMIT, dialects: Callable[[str], Dialect] = strict, final: bool = True
) -> Iterator[tuple[int, int, Frame | BadChunk]]:
    """Yield (start, end, frame or bad chunk), in order, until bytes are missing; with `final` nothing more will come."""
    at, size = 0, len(buffer)
    while True:
        while at < size and buffer[at] in LINE_ENDS:
            at += 1
        if at >= size:
            return
        if HEADER.match(buffer, at) and (declared := int(buffer[at + 2 : at + 6])) <= limit:
            frame = confirm(buffer, at, dialects, final=final)
            if frame is not None:
                yield at, at + len(frame.raw), frame
                at += len(frame.raw)
                continue
            if not final and at + declared + OVERHEAD > size and not _LIE.search(buffer, at):
                return
        end = _bad_end(buffer, at, final=final)
        if end is None:
            return
        chunk = buffer[at:end]
        yield at, end, BadChunk(classify(chunk, limit), chunk)
        at = end
