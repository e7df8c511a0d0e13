"""All that the pipeline remembers, and nothing else: slabs, the seen keys, open episodes and lead windows.

Kept in memory, changed in place by the pipeline; `changes()` says what a step must store, in the same transaction as its
outputs and offsets. Everything that can be derived (the index) is derived.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from detectors.catalog import CATALOG
from streams import seen
from streams.costs import Costs
from streams.index import Facts, Index
from streams.judge import Episode, Episodes
from streams.leads import Window
from streams.model import SeriesKey, SeriesTable
from streams.plan.load import Plan
from streams.slab import CHUNK_BYTES, Slab
from streams.windows import channel, grid

SITE = np.dtype([("clock", "<i8"), ("epoch", "<i8"), ("seq", "<i8")])
RAW_KINDS = ("slab", "seen")
"""Kinds of chunks whose body is bytes; the others are JSON."""
ORDER = np.dtype([("newest", "<i8"), ("interval", "<i8"), ("impatient", "u1"), ("regular", "u1")])


class Chunk(NamedTuple):
    """A piece of state to store under (kind, name, number); `body` None means remove."""

    kind: str
    name: str
    number: int
    body: bytes | dict[str, Any] | list[Any] | None


class State:
    """The pipeline's memory. `facts` answers what the registry says; `load_seen` reads a stored day of seen keys; `costs` counts what rules cost."""

    def __init__(
        self,
        plan: Plan,
        facts: Facts | None = None,
        *,
        keys: list[SeriesKey] | None = None,
        load_seen: Callable[[int], dict[int, seen.Run]] | None = None,
        next_run: int = 1,
        costs: Costs | None = None,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self.costs = costs or Costs()
        self.table = SeriesTable(keys or ())
        self.index = Index(self.table, facts)
        self.slabs = {
            "sites": Slab("sites", SITE, chunk_bytes),
            "newest": Slab("newest", seen.NEWEST, chunk_bytes),
            "grid:even": Slab("grid:even", grid.RECORD, chunk_bytes),
            "grid:odd": Slab("grid:odd", grid.RECORD, chunk_bytes),
            "channel": Slab("channel", channel.RECORD, chunk_bytes),
            "order": Slab("order", ORDER, chunk_bytes),
        }
        for rule in plan.rules:
            record = CATALOG[rule.detector].record
            if record.itemsize:
                self.slabs[f"rule:{rule.id}"] = Slab(f"rule:{rule.id}", record, chunk_bytes)
        self.grid: grid.Halves = self.slabs["grid:even"], self.slabs["grid:odd"]
        self.seen = seen.Seen(self.slabs["newest"], load_seen, next_run)
        self.episodes: dict[str, Episodes] = {rule.id: {} for rule in plan.rules}
        self.windows: dict[str, list[Window]] = {}
        self.suspects: dict[int, int] = {}
        self.excused: dict[int, str] = {}
        self.held: dict[int, list[list[float]]] = {}
        self.books: Counter[str] = Counter()
        self.tick = 0
        self.stored_keys = len(self.table)
        self._dirty: set[tuple[str, str, int]] = set()
        self._chunk_bytes = chunk_bytes

    def grow(self) -> None:
        """Take in the series that the decoders have added to the table."""
        self.index.extend()
        self.slabs["sites"].rows(len(self.index.sites.names))
        self.slabs["order"].rows(len(self.index.cells))
        for half in self.grid:
            half.rows(len(self.index.cells))
        self.slabs["channel"].rows(len(self.index.channels.names))

    def refresh(self, facts: Facts) -> None:
        """Ask a changed registry again; every number stays what it was."""
        self.index = Index(self.table, facts)

    def excuse(self, answers: Mapping[tuple[str, str], str]) -> None:
        """Take the cross-site stage's answer: these points are silent for a common cause, in these words."""
        ids = self.index.points.ids
        self.excused |= {ids[point]: words for point, words in answers.items() if point in ids}

    def dirty_episode(self, rule: str, member: int) -> None:
        """Note that a member's episode changed."""
        self._dirty.add(("episode", rule, member))

    def dirty_windows(self, site: str) -> None:
        """Note that a site's lead windows changed."""
        self._dirty.add(("windows", site, 0))

    def next_seq(self, site: str) -> int:
        """Return the site's next output sequence."""
        slab, number = self.slabs["sites"], self.index.sites.of(site)
        slab.rows(number + 1)
        slab.data["seq"][number] += 1
        slab.touch(np.array([number]))
        return int(slab.data["seq"][number])

    def changes(self) -> Iterator[Chunk]:
        """Yield what has changed since `clean`."""
        if self.stored_keys < len(self.table):
            yield Chunk("keys", "", self.stored_keys, [list(key) for key in self.table.keys[self.stored_keys :]])
        for name, slab in self.slabs.items():
            yield from (Chunk("slab", name, number, raw) for number, raw in slab.dirty_chunks())
        for day, number, run in self.seen.changes():
            yield Chunk("seen", str(day), number, None if run is None else run[0].tobytes() + run[1].tobytes())
        for kind, name, number in sorted(self._dirty):
            yield Chunk(kind, name, number, self._small(kind, name, number))
        yield Chunk("misc", "", 0, self._misc())

    def _small(self, kind: str, name: str, number: int) -> dict[str, Any] | list[Any] | None:
        if kind == "slab":
            return None  # stored anew under another name
        if kind == "episode":
            episode = self.episodes[name].get(number)
            return None if episode is None else episode.to_json()
        return [w.to_json() for w in self.windows.get(name, [])] or None

    def _misc(self) -> dict[str, Any]:
        return {
            "books": dict(self.books),
            "tick": self.tick,
            "next_run": self.seen.next_run,
            "suspects": list(self.suspects.items()),
            "excused": list(self.excused.items()),
            "held": list(self.held.items()),
        }

    def clean(self) -> None:
        """Forget what was dirty: the step is durable."""
        self.stored_keys = len(self.table)
        for slab in self.slabs.values():
            slab.clean()
        self.seen.clean()
        self._dirty.clear()

    def restore(self, chunk: Chunk) -> None:
        """Take one stored chunk back (keys and seen runs are handed to the constructor)."""
        body = chunk.body
        if chunk[:2] == ("slab", "grid") and isinstance(body, bytes):
            grid.load_whole(self.grid, chunk.number, body, self._chunk_bytes)
            self._dirty.add(chunk[:3])
        elif chunk.kind == "slab" and isinstance(body, bytes) and chunk.name in self.slabs:
            self.slabs[chunk.name].load(chunk.number, body)
        elif chunk.kind == "episode" and isinstance(body, dict) and chunk.name in self.episodes:
            figures: dict[str, Any] = {
                name: math.nan if value is None else value for name, value in body.items()
            }  # JSON has no NaN
            self.episodes[chunk.name][chunk.number] = Episode(**figures)
        elif chunk.kind == "windows" and isinstance(body, list):
            self.windows[chunk.name] = [Window.from_json(w) for w in body]
        elif chunk.kind == "misc" and isinstance(body, dict):
            self.books = Counter(body["books"])
            self.tick = body["tick"]
            self.suspects = {int(k): v for k, v in body["suspects"]}
            self.excused = {int(k): v for k, v in body["excused"]}
            self.held = {int(k): v for k, v in body["held"]}
