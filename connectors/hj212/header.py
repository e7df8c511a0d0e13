"""The header of a data segment: who speaks, of what, and where the data area lies.

A data segment enters, a `Header` leaves, or `HeaderError` with a word of a closed list. Reading is tolerant of everything that
real devices and the standard's own examples do: fields in any order and any case, `,` for `;`, a missing QN, Flag or `;`,
PNUM inside the data area, QN inside the data area of a 2005 reply (HJ 212-2017 §6.3, errata of Annex C, HJ/T 212-2005).

>>> head = parse(b"QN=20160801085857223;ST=32;CN=2061;PW=123456;MN=010000A8900016F000169DC0;Flag=5;CP=&&DataTime=20160801080000&&")
>>> head.cn, head.version, head.answer_required
('2061', '2017', True)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Version = Literal["2005", "2017", "2025"]
REASONS = ("no_data_area", "no_command", "bad_flag")

_FIELD = re.compile(rb"(?:^|[;,\s])(QN|ST|CN|PW|MN|FLAG|PNUM|PNO|RF)\s*=\s*([^;,\s]*)", re.IGNORECASE)
_INNER = re.compile(rb"(?:^|[;,\s])(QN|PNUM|PNO)=(\d+)(?=[;,\s]|$)")
_DIGITS = re.compile(r"\d+")
_QN_INSIDE = frozenset({"9011", "9012", "9013", "9014", "1013"})
_VERSIONS: dict[int, Version] = {0: "2005", 1: "2017", 2: "2025"}


class HeaderError(ValueError):
    """A data segment without a readable header; `reason` is one of `REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Header:
    """The fields before the data area (HJ 212-2017 table 2). Text is empty, numbers are None, where a field is absent.

    `area` is the span of the data area inside the segment, without the `&&` on both sides.
    """

    qn: str
    st: str
    cn: str
    pw: str
    mn: str
    flag: int | None
    pnum: int | None
    pno: int | None
    rf: bool
    version: Version
    area: tuple[int, int]

    @property
    def answer_required(self) -> bool:
        """Tell whether bit A is set (HJ 212-2017 table 3); a frame without Flag asks for nothing."""
        return self.flag is not None and bool(self.flag & 1)

    @property
    def reply_flag(self) -> int:
        """Return the Flag of a reply: the version bits of the request, no answer asked, not split."""
        return 0 if self.flag is None else self.flag & 0xFC


def version_of(flag: int | None, st: str, mn: str) -> Version:
    """Return the edition a frame speaks, from its Flag, ST and MN together.

    The version bits alone do not tell: the surface-water protocol (ST=21, MN with `_`) has used V=2 since about 2018 over the
    grammar of 2017, and frames without a Flag are of 2005.
    """
    if flag is None:
        return "2005"
    version = _VERSIONS.get(flag >> 2, "2017")
    return "2017" if version == "2025" and (st == "21" or "_" in mn) else version


def _number(text: str) -> int | None:
    found = _DIGITS.match(text)
    return int(found[0]) if found else None


def _take_inner(fields: dict[str, str], area: bytes) -> None:
    """Fill in what some senders write inside the data area; a log text (`//…//`) may quote whole frames and is not searched."""
    for name, value in _INNER.findall(area.split(b"//", 1)[0]):
        if name != b"QN" or fields["CN"] in _QN_INSIDE:
            fields.setdefault(name.decode("ascii"), value.decode("ascii"))


def parse(segment: bytes) -> Header:
    """Read the header of one data segment. Raises HeaderError: no `CP=&&`, no CN, or a Flag beyond one byte."""
    mark = segment.find(b"CP=&&")
    if mark < 0:
        raise HeaderError("no_data_area")
    start = mark + 5
    end = segment.rfind(b"&&", start)
    end = len(segment) if end < 0 else end
    fields: dict[str, str] = {}
    for name, value in _FIELD.findall(segment[:mark]):
        fields.setdefault(name.upper().decode("ascii"), value.decode("utf-8", "replace"))
    if not fields.get("CN"):
        raise HeaderError("no_command")
    if "QN" not in fields or ("PNUM" not in fields and b"PNUM=" in segment):
        _take_inner(fields, segment[start:end])
    flag = _number(fields.get("FLAG", ""))
    if flag is not None and flag > 0xFF:
        raise HeaderError("bad_flag")
    st, mn = fields.get("ST", ""), fields.get("MN", "")
    return Header(
        qn=fields.get("QN", ""),
        st=st,
        cn=fields["CN"],
        pw=fields.get("PW", ""),
        mn=mn,
        flag=flag,
        pnum=_number(fields.get("PNUM", "")),
        pno=_number(fields.get("PNO", "")),
        rf=fields.get("RF") == "1",
        version=version_of(flag, st, mn),
        area=(start, end),
    )
