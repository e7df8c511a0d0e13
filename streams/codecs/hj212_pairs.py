"""What each name of each sender stands for, learned once: from (MN, ST, CN, edition) and `factor-suffix` to a series.

Spans of names enter, pair numbers leave; the columns of `Pairs` say what a pair is. Numbers of pairs are private to one process;
numbers of series are given in row order, on the first accepted reading, and never depend on how a log is cut into calls.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from connectors.hj212.header import HeaderError, Version, parse
from streams.codecs.hj212_keys import ABSENT, Keys, first_of_each
from streams.codecs.hj212_names import HEARTBEATS, PERIOD, SEVERITY, Kind, Tables, medium
from streams.codecs.hj212_numbers import KEEP_FIRST, Int64, Words
from streams.model import SeriesKey, SeriesTable

Resolve = Callable[[str, str], tuple[str, str]]
"""(MN, medium) → (site, point)."""

SERIES_PER_SITE = 8192
"""A sender that makes up names without end stops being numbered here; a real MN has 156 series at most."""

DATA, OTHER, LIFE = 0, 1, 2
_WIDE = 16
_RANK = {flag: rank for rank, flag in enumerate(SEVERITY)}


@dataclass(frozen=True, slots=True)
class Head:
    """One kind of frame of one device. `period` is empty for commands without readings."""

    mn: str
    st: str
    cn: str
    version: Version
    period: str

    @property
    def carries(self) -> int:
        """Return what the frames carry: `DATA`, `OTHER` or nothing (`LIFE`)."""
        return DATA if self.period else LIFE if self.cn in HEARTBEATS else OTHER


class Heads:
    """Headers, read once: the bytes between the QN and the data area repeat from frame to frame (`known`: bytes → number)."""

    __slots__ = ("_by_head", "carries", "items", "known")

    _KNOWN = 100_000

    def __init__(self) -> None:
        self.items = [Head("", "", "", "2005", "")]
        self.carries = [OTHER]
        self._by_head: dict[Head, int] = {}
        self.known: dict[bytes, int] = {}

    def learn(self, raw: bytes, text: bytes) -> int:
        """Read the head of a frame, remember it under `text`, and return its number, 0 if it cannot be read."""
        if len(self.known) >= self._KNOWN:
            self.known.clear()
        try:
            header = parse(raw[6:])
        except HeaderError:
            return 0
        head = Head(header.mn, header.st, header.cn, header.version, PERIOD.get(header.cn, ""))
        found = self.known[text] = self._by_head.setdefault(head, len(self.items))
        if found == len(self.items):
            self.items.append(head)
            self.carries.append(head.carries)
        return found


class Pairs:
    """The pairs seen so far, as columns of length p.

    kind (p,) uint8 `Kind` · local (p,) int64 number of the factor among those of its head · series (p,) int64, -1 until numbered
    · factors (h,) int64 factors per head · dialect (h,) int64 which row of `ranks` (d, 256) holds the severities of its letters.
    """

    def __init__(self, heads: Heads, tables: Tables, resolve: Resolve, table: SeriesTable) -> None:
        self._heads, self._tables, self._resolve, self._table = heads, tables, resolve, table
        self._keys = Keys()
        self._long: dict[tuple[int, bytes], int] = {}
        self._names: list[SeriesKey] = []
        self._locals: dict[tuple[int, str], int] = {}
        self._dialects: dict[tuple[str, Version], int] = {}
        self._sites: defaultdict[str, set[SeriesKey]] = defaultdict(set)
        self._counted = 0
        self._new: list[tuple[Kind, int]] = []
        self.kind = np.empty(0, np.uint8)
        self.local = np.empty(0, np.int64)
        self.series = np.empty(0, np.int64)
        self.factors = np.empty(0, np.int64)
        self.dialect = np.empty(0, np.int64)
        self.ranks = np.empty((0, 256), np.uint8)

    def __len__(self) -> int:
        """Return p."""
        return len(self.kind)

    def rank(self, head: int, text: str) -> int:
        """Return the severity of a flag of any length."""
        owner = self._heads.items[head]
        return _RANK[self._tables.flag(owner.st, owner.version, text)]

    def _know_heads(self) -> None:
        """Make room for heads that came since the last batch."""
        fresh = self._heads.items[len(self.factors) :]
        if not fresh:
            return
        for head in fresh:
            dialect = (head.st, head.version)
            if dialect not in self._dialects:
                self._dialects[dialect] = len(self._dialects)
                flags = [_RANK[self._tables.flag(*dialect, chr(letter))] for letter in range(256)]
                self.ranks = np.vstack([self.ranks, np.array(flags, np.uint8)])
        numbers = [self._dialects[head.st, head.version] for head in fresh]
        self.dialect = np.append(self.dialect, np.array(numbers, np.int64))
        self.factors = np.append(self.factors, np.zeros(len(fresh), np.int64))

    def numbers(self, words: Words, start: Int64, end: Int64, head: Int64) -> Int64:
        """Return the pair numbers (k,) of names [start, end) sent under `head` (k,), learning new ones in row order."""
        self._know_heads()
        length = end - start
        text = words.sixteen(start)
        first = text[:, 0] & KEEP_FIRST[np.minimum(length, 8)]
        second = text[:, 1] & KEEP_FIRST[np.clip(length - 8, 0, 8)]
        owner = ((head + 1) << 16 | np.minimum(length, _WIDE + 1)).astype(np.uint64)
        found = self._keys.find(first, second, owner)
        unknown = np.flatnonzero(found == ABSENT)
        if not len(unknown):
            return found
        wide = length[unknown] > _WIDE
        narrow = unknown[~wide]
        fresh = narrow[first_of_each(first[narrow], second[narrow], owner[narrow])]
        data = words.data
        for row in np.sort(np.concatenate([fresh, unknown[wide]])).tolist():
            name, of = data[start[row] : end[row]].tobytes(), int(head[row])
            if length[row] > _WIDE:
                known = self._long.get((of, name))
                found[row] = self._long[of, name] = self._learn(of, name) if known is None else known
            else:
                self._keys.add(int(first[row]), int(second[row]), int(owner[row]), self._learn(of, name))
        found[narrow] = self._keys.find(first[narrow], second[narrow], owner[narrow])
        self._settle()
        return found

    def number_series(self, rows: Int64) -> None:
        """Give the series of pairs `rows` (k,) their numbers, in row order; a site that has too many stays at -1."""
        distinct, first = np.unique(rows, return_index=True)
        for pair in distinct[np.argsort(first)].tolist():
            key = self._names[pair]
            mine = self._of_site(key.site)
            if len(mine) < SERIES_PER_SITE or key in mine:
                self.series[pair] = self._table.id(key)

    def _of_site(self, site: str) -> set[SeriesKey]:
        """Return the numbered series of a site, those that others have numbered included."""
        for key in self._table.keys[self._counted :]:
            self._sites[key.site].add(key)
        self._counted = len(self._table)
        return self._sites[site]

    def _learn(self, head: int, name: bytes) -> int:
        """Describe one new pair; its columns are settled after the batch."""
        owner = self._heads.items[head]
        kind, factor, stat = self._tables.name(name.decode("utf-8", "replace"))
        local = self._locals.setdefault((head, factor), int(self.factors[head]))
        self.factors[head] = max(self.factors[head], local + 1)
        site, point = self._resolve(owner.mn, medium(factor, owner.st)) if kind <= Kind.FLAGLIKE else ("", "")
        self._names.append(SeriesKey(site, point, factor, owner.period or "", stat))
        self._new.append((kind, local))
        return len(self._names) - 1

    def _settle(self) -> None:
        kinds, locals_ = zip(*self._new, strict=True)
        self.kind = np.concatenate([self.kind, np.array(kinds, np.uint8)])
        self.local = np.concatenate([self.local, np.array(locals_, np.int64)])
        self.series = np.concatenate([self.series, np.full(len(kinds), -1, np.int64)])
        self._new.clear()
