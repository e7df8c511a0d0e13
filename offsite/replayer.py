"""Replay: recorded files through decode, pipeline and desk at full speed; the books come back.

There is no log and no clock: log time is each site's own (streams/replay.py), and everything is stored once, at the end of
each stretch of readings, because a replay that dies can simply be run again.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cases.store import Desk
from connectors.core import HJ212, Refused
from connectors.files import bodies, content_type
from connectors.hj212.frame import split_buffer
from offsite import books, registered
from streams import history, silence
from streams import registry as registries
from streams.codecs.hj212_names import medium
from streams.codecs.readings import decode_readings
from streams.codecs.rows import Fault, check_name
from streams.commit import Step
from streams.engine import Engine
from streams.model import Decoded, Readings, Reject
from streams.pipeline import Outputs
from streams.plan import load_plan
from streams.plan.load import MINUTE
from streams.registry_model import INFERRED_POINT, Point, Registry, Site
from streams.replay import LogTime
from streams.store import StateStore

STRETCH = 1_000_000
"""Readings between two stores of state: it bounds memory, and nothing depends on it."""
PROJECT_AT_ONCE = 2_000
_MN = re.compile(rb"MN=([^;,\s]*)")


class Replay:
    """One replay into a data directory."""

    def __init__(self, data: Path, registry: Path | None, plan: Path | None, *, keep: bool) -> None:
        if (data / "log").exists():
            raise Refused(f"{data} belongs to `offsite run`: its registry and books are the product's; name another --data")
        self._data, self._plan = data, load_plan(plan)
        self._known = registries.load(registry) if registry is not None else None
        self._store = StateStore(data / "state.sqlite", durable=False)
        self._engine = Engine(
            self._plan,
            self._known,
            infer=self._known is None,
            restore=self._store.chunks(),
            load_seen=self._store.load_seen,
        )
        self._desk = Desk(f"sqlite:///{(data / 'desk.sqlite').resolve()}", clock=lambda: time.time_ns() // 1_000_000)
        self._history = history.History(data, self._store) if keep else None
        if keep and self._known is not None:
            registered.put_current(data, self._known)
        silence.forgive(self._engine.state, self._plan)
        self._time = LogTime()
        self._waiting: list[Outputs] = []
        self._rejects: list[Reject] = []
        self._rows = 0

    def file(self, path: Path) -> None:
        """Take one file through the pipeline."""
        for kind, body in bodies(path):
            if kind == HJ212:
                self._frames(body)
            else:
                self._advance(decode_readings(kind, body, self._engine.state.table, -1, record=0), kind)

    def _frames(self, body: bytes) -> None:
        split = split_buffer(body)
        frames = split.frames()
        counts = self._engine.state.books
        for _at, chunk in split.bad:
            counts[f"frames.rejected.{chunk.reason}"] += 1
            self._rejects.append(Reject(chunk.reason, "", chunk.raw))
        counts["frames.accepted"] += len(frames)
        if self._known is not None:
            known = [f for f in frames if _mn(f) in self._known.by_mn]
            counts["frames.held"] += len(frames) - len(known)
            frames = known
        self._advance(self._engine.decode_frames(frames, np.zeros(len(frames), np.int64)), HJ212)

    def _advance(self, decoded: Decoded, kind: str) -> None:
        self._engine.state.grow()
        if kind == HJ212 or not (decoded.readings.arrived >= 0).all():
            decoded = self._time.stamp(decoded, self._engine.state.index)
        self._rejects += decoded.rejects
        self._waiting.append(self._engine.advance(decoded))
        self._rows += len(decoded.readings)
        if self._rows >= STRETCH:
            self._commit()

    def finish(self) -> dict[str, Any]:
        """End the replay: the last tick, the last store, the desk; return the books."""
        self._engine.state.grow()
        sites = len(self._engine.state.index.sites.names)
        if sites:
            ends = self._time.ends(sites, self._plan.time.grace_min * MINUTE)
            self._waiting.append(self._engine.advance(Decoded(Readings.empty()), ends))
        self._commit()
        while outputs := self._store.outputs(self._desk.position(), PROJECT_AT_ONCE):
            self._desk.project(outputs, outputs[-1][0])
        if self._history is not None:
            self._history.flush()
            if self._known is None:
                registered.put_current(self._data, self._inferred())
        found = books.of_stores(self._store, self._desk)
        self._desk.close()
        self._store.close()
        return found

    def _inferred(self) -> Registry:
        """Draft the registry of what was replayed: MN = site, point by medium; a point of another name keeps it."""
        keys = self._engine.state.table.keys
        keys = [k for k in keys if _is_name(k.site)]
        base = registries.infer((k.site, m, k.factor) for k in keys if INFERRED_POINT[m := medium(k.factor, "")] == k.point)
        points = {(k.site, k.point): Point(k.site, k.point, medium(k.factor, "")) for k in keys}
        sites = {k.site: Site(k.site, k.site) for k in keys}
        return registered.merged(base, Registry(tuple(sites.values()), tuple(points.values())))

    def _commit(self) -> None:
        bodies = [b for o in self._waiting for b in o.bodies]
        step = Step((), bodies, self._engine.state.changes(), self._rejects)
        if self._history is not None:
            step.history = history.packed((), self._waiting, self._engine.state)
        self._store.commit([step])
        self._engine.clean()
        self._waiting, self._rejects, self._rows = [], [], 0


def _is_name(text: str) -> bool:
    """Say whether a site can be registered under this name."""
    try:
        check_name("site", text)
    except Fault:
        return False
    return True


def _mn(frame: bytes) -> str:
    found = _MN.search(frame)
    return found[1].decode("utf-8", "replace") if found else ""


def replay(
    files: Sequence[Path], *, data: Path | None, registry: Path | None, plan: Path | None, progress: bool
) -> dict[str, Any]:
    """Replay files in order; return the books with seconds, readings per second and the files that were `damaged`.

    Raises Refused naming a file that is none.
    """
    for path in files:
        if not path.is_file():
            raise Refused(f"{path} is no file; give the recorded files to replay")
        content_type(path)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="offsite-replay-") as scratch:
        job = Replay(data or Path(scratch), registry, plan, keep=data is not None)
        damaged = []
        for path in _with_bar(files, show=progress and sys.stderr.isatty()):
            try:
                job.file(path)
            except Refused as fault:  # what came before the damage is judged, and so are the other files
                damaged.append(str(fault))
        found = job.finish()
    seconds = time.perf_counter() - started
    rate = found["readings"]["received"] / seconds
    speed = {"seconds": round(seconds, 3), "readings_per_second": round(rate)}
    return found | speed | ({"damaged": damaged} if damaged else {})


def _with_bar(files: Sequence[Path], *, show: bool) -> Iterator[Path]:
    """Yield the files; on a terminal, draw a bar of their sizes to stderr."""
    total, done = sum(p.stat().st_size for p in files) or 1, 0
    for path in files:
        if show:
            share = done / total
            sys.stderr.write(f"\r[{'#' * round(30 * share):30}] {share:4.0%} {path.name[:40]:40}")
            sys.stderr.flush()
        yield path
        done += path.stat().st_size
    if show:
        sys.stderr.write("\r" + " " * 90 + "\r")
