"""Frames in bulk: a block's numbers become HJ 212 frames, one `%` a frame and one checksum pass for all.

Layouts: HJ 212-2017 §6 (2051, 2061, 2031, 2011), the 2005 dialect (old factor codes, Flag bits V = 0) and 2025 (V = 2, RF=1 on
re-uploaded data). Every frame asks for an acknowledgement (bit A). Times on the wire are China Standard Time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from connectors.hj212.crc import crc16_many
from offsite.city.emissions import NORMAL, Block, base_o2, converted
from offsite.city.noise import Float, Int
from offsite.city.plants import Outlet
from offsite.city.tables import CST_MS, FACTORS

REALTIME, MINUTE, HOUR, DAY = "2011", "2051", "2061", "2031"
PASSWORD = "123456"  # noqa: S105 - the clear-text password that nearly every real device uses; it protects nothing
_VERSION_BITS = {"2005": 0, "2017": 4, "2025": 8}
_QN_SLOT = {REALTIME: 1, MINUTE: 2, HOUR: 3, DAY: 4}
BACKFILL_SLOT = 5


class WireFrame(NamedTuple):
    """A frame ready to send: the outlet's index, its event time, the key an acknowledgement carries (QN + MN), the bytes with CRLF."""

    outlet: int
    time: int
    key: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Template:
    """A frame's text with `%` places: `plain` takes (QN stamp, DataTime, values…), `flagged` takes values and flags in turn."""

    plain: str
    flagged: str
    key: str


def stamps(time: Int) -> list[str]:
    """Return YYYYMMDDhhmmss in China Standard Time for int64 ms UTC."""
    text = np.datetime_as_string((time + CST_MS).astype("datetime64[ms]").astype("datetime64[s]"))
    return [t.translate(_STRIP) for t in text.tolist()]


_STRIP = str.maketrans("", "", "-:T")


def template(outlet: Outlet, cn: str, slot: int, *, refill: bool = False) -> Template:
    """Return the frame text of one outlet for one command; `slot` keeps the QN of one MN apart within a second."""
    version = outlet.version
    point = int(outlet.point[-3:]) + (50 if outlet.profile.medium == "water" else 0)
    qn_ms = f"{slot * 100 + point:03d}"
    flag = _VERSION_BITS[version] | 1
    mark = "RF=1;" if refill and version == "2025" else ""
    head = f"QN=%s{qn_ms};ST={outlet.profile.st};CN={cn};PW={PASSWORD};MN={outlet.mn};Flag={flag};{mark}CP=&&DataTime=%s;"
    suffix = "Rtd" if cn == REALTIME else "Avg"
    plain, flagged = [], []
    for code in outlet.profile.factors:
        kind = FACTORS[code]
        name = kind.old if version == "2005" and kind.old else code
        item = f"{name}-{suffix}=%.{kind.decimals}f"
        if code in outlet.profile.converted:
            item += f",{name}-Zs{suffix}=%.{kind.decimals}f"
        plain.append(f"{item},{name}-Flag=N")
        flagged.append(f"{item},{name}-Flag=%s")
    return Template(head + ";".join(plain) + "&&", head + ";".join(flagged) + "&&", f"%s{qn_ms}{outlet.mn}")


def columns(block: Block) -> tuple[Float, NDArray[np.uint8]]:
    """Return the values in wire order with converted ones behind their measured ones (c, n, k), and the flags (f, n, k)."""
    profile, parts = block.profile, []
    base = base_o2(block.outlets)
    o2 = block.values[block.plane("a19001")] if "a19001" in profile.factors else None
    for f, code in enumerate(profile.factors):
        value = np.maximum(block.values[f], 0.0)
        parts.append(value)
        if code in profile.converted and o2 is not None:
            parts.append(converted(value, o2, base))
    return np.stack(parts), block.flags


class Renderer:
    """Turns blocks into frames; keeps the templates of the outlets it has met."""

    def __init__(self) -> None:
        self._templates: dict[tuple[int, str, int, bool], Template] = {}

    def render(self, block: Block, cn: str, sent_at: Int, *, refill: bool = False, slot: int | None = None) -> list[WireFrame]:
        """Return the block's frames, outlet by outlet; `sent_at` (k,) gives each column's sending time (QN), ms UTC.

        Columns that are not sent are left out (with `refill`: only those are rendered, marked RF=1 where 2025 allows).
        """
        values, flags = columns(block)
        normal = (flags == NORMAL).all(axis=0)
        wanted = block.sent != refill
        qn, when, times = stamps(sent_at), stamps(block.time), block.time.tolist()
        slot = _QN_SLOT[cn] if slot is None else slot
        heads: list[tuple[int, int, bytes]] = []
        segments: list[bytes] = []
        for n, outlet in enumerate(block.outlets):
            text = self._template(outlet, cn, slot, refill=refill)
            rows = values[:, n, :].T.tolist()
            for k in np.flatnonzero(wanted[n]).tolist():
                if normal[n, k]:
                    segment = text.plain % (qn[k], when[k], *rows[k])
                else:
                    segment = text.flagged % (qn[k], when[k], *_with_flags(block, rows[k], flags[:, n, k]))
                heads.append((outlet.index, times[k], (text.key % qn[k]).encode()))
                segments.append(segment.encode())
        return [WireFrame(*head, data) for head, data in zip(heads, enclose(segments), strict=True)]

    def _template(self, outlet: Outlet, cn: str, slot: int, *, refill: bool) -> Template:
        key = (outlet.index, cn, slot, refill)
        found = self._templates.get(key)
        if found is None:
            found = self._templates[key] = template(outlet, cn, slot, refill=refill)
        return found


def _with_flags(block: Block, row: Sequence[float], flags: NDArray[np.uint8]) -> list[float | str]:
    """Return the values with each factor's flag after them, as the flagged template wants them."""
    out: list[float | str] = []
    place = iter(row)
    for code, flag in zip(block.profile.factors, flags.tolist(), strict=True):
        out.append(next(place))
        if code in block.profile.converted:
            out.append(next(place))
        out.append(chr(flag))
    return out


def enclose(segments: Iterable[bytes]) -> list[bytes]:
    """Return whole frames: `##`, length, segment, checksum, CRLF (HJ 212-2017 §6.2)."""
    parts = list(segments)
    if not parts:
        return []
    lengths = np.fromiter(map(len, parts), np.int64, len(parts))
    ends = np.cumsum(lengths)
    sums = crc16_many(np.frombuffer(b"".join(parts), np.uint8), ends - lengths, ends).tolist()
    return [b"##%04d%b%04X\r\n" % (len(p), p, s) for p, s in zip(parts, sums, strict=True)]
