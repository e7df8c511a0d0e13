"""What the names in an HJ 212 data area mean: factor codes, suffixes, data flags, periods.

Text enters, words of the product leave. The tables are data: `streams/plan/factors.csv` (HJ 212-2017 Annex B with the codes of
HJ/T 212-2005) and `streams/plan/flags.csv` (HJ 212-2017 table 8 by ST and edition). What no table knows is kept as it is.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib.resources import files
from io import StringIO
from typing import NamedTuple

from streams.model import NO_FLAG, UNKNOWN_FLAG
from streams.registry_model import medium_of

PERIOD: Mapping[str, str] = {
    "2011": "realtime",
    "2021": "realtime",
    "2051": "minute",
    "2111": "minute",
    "2061": "hour",
    "2031": "day",
    "2041": "day",
}
"""Period of the commands that carry readings (HJ 212-2017 table 9; 2111, furnace temperature, HJ 212-2025)."""

HEARTBEATS = frozenset({"9015", "8013"})
"""Heartbeats say nothing but "I live": they are counted, not kept (HJ 212-2025; 8013 is a vendor's)."""

STAT: Mapping[str, str] = {
    "rtd": "rtd",
    "min": "min",
    "avg": "avg",
    "max": "max",
    "cou": "sum",
    "zsrtd": "zs_rtd",
    "zsmin": "zs_min",
    "zsavg": "zs_avg",
    "zsmax": "zs_max",
    "zscou": "zs_sum",
}
"""Suffix in lower case → stat (HJ 212-2017 table 7)."""

TEXT_SUFFIXES = frozenset({"info", "sn", "eflag", "class", "check"})
"""Suffixes whose values may be text: text becomes an event, a number a reading."""

_ABOUT_THE_FRAME = frozenset({"pnum", "pno", "qn", "rf"})
_CODE_MEDIUM = {"e": "w", "g": "a"}
_SOUND = frozenset({"LA", "L5", "L10", "L50", "L90", "L95", "Leq", "Ldn", "Ld", "Ln", "LMx", "LMn"})

SEVERITY = (NO_FLAG, *b"NTSCMFDB", UNKNOWN_FLAG)
"""Canonical flags from best to worst: where a factor is flagged twice in a frame, the worst counts."""


class Kind(IntEnum):
    """What a pair of a data area is. Kinds up to `FLAGLIKE` can be readings."""

    VALUE = 0
    TEXTABLE = 1  # a number is a reading, a text an event
    FLAGLIKE = 2  # ZsFlag: carries numbers in the field, letters by name
    FLAG = 3
    TIME = 4
    FRAME = 5  # about the frame itself
    NOTE = 6  # no factor-suffix pair: kept as an event
    NAMELESS = 7  # a suffix without a factor


class Name(NamedTuple):
    """One name of a data area: its kind, factor (2017 code where one exists) and stat."""

    kind: Kind
    factor: str
    stat: str


@dataclass(frozen=True, slots=True)
class Tables:
    """The loaded tables: `old` maps 2005 codes and other cases of known codes; `flags` (st, version, flag) → canonical flag."""

    old: Mapping[str, str]
    flags: Mapping[tuple[str, str, str], int]

    def factor(self, code: str) -> str:
        """Return the 2017 code of a factor, or the code itself if it has none."""
        return self.old.get(code) or self.old.get(code.lower(), code)

    def flag(self, st: str, version: str, text: str) -> int:
        """Return the canonical flag (ASCII code); `?` for what no table knows, which is never usable."""
        for key in ((st, version, text), (st, "*", text), ("*", version, text), ("*", "*", text)):
            if key in self.flags:
                return self.flags[key]
        return UNKNOWN_FLAG

    def name(self, text: str) -> Name:
        """Read one name, `factor-suffix` (HJ 212-2017 §6.3.3). A doubled suffix (`LA-Rtd-Rtd`) counts once."""
        factor, dash, suffix = text.strip().partition("-")
        word = suffix.lower()
        parts = word.split("-")
        if len(set(parts)) == 1 or parts[-1] == "flag":
            word = parts[-1]
        if not dash:
            plain = factor.lower()
            kind = Kind.TIME if plain == "datatime" else Kind.FRAME if plain in _ABOUT_THE_FRAME else Kind.NOTE
            return Name(kind, factor, "")
        kind = _KINDS.get(word, Kind.TEXTABLE if word in TEXT_SUFFIXES else Kind.VALUE)
        if not factor:
            return Name(Kind.FRAME if kind is Kind.FLAG else Kind.NAMELESS, "", word)
        return Name(kind, self.factor(factor), STAT.get(word, word))


_KINDS = {"flag": Kind.FLAG, "zsflag": Kind.FLAGLIKE}


def medium(factor: str, st: str) -> str:
    """Return the medium of a factor. The prefix of its code decides; a literal name (PM25, LAMPBLACK) has only the ST."""
    if factor in _SOUND or factor[1:2].isdigit():
        return medium_of(_CODE_MEDIUM.get(factor[0], factor[0]), st)
    return medium_of("", st)


def _rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO((files("streams.plan") / name).read_text(encoding="utf-8"))))


@cache
def load_tables() -> Tables:
    """Load the published tables."""
    factors = _rows("factors.csv")
    old = {row["code"].lower(): row["code"] for row in factors}
    old |= {row["code"]: row["code"] for row in factors}
    old |= {row["old_code"]: row["code"] for row in factors if row["old_code"]}
    flags = {(row["st"], row["version"], row["flag"]): ord(row["canonical"]) for row in _rows("flags.csv")}
    return Tables(old, flags)
