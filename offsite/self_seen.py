"""What a process sees of itself at one moment, and what is wrong about it: the finders of the platform's alarms about itself.

A `Snapshot` enters each finder, with what is remembered and the bounds; the subjects it finds leave, with figures for the words.
What a process does not know it leaves out of the snapshot, and nothing is found in it. No clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

SECOND, MINUTE, DAY = 1_000, 60_000, 86_400_000


@dataclass(frozen=True, slots=True)
class Partition:
    """How far one partition has come: the log's end, the judge's position (offsets), and the log time judged (ms UTC; None: none)."""

    name: str
    end: int
    position: int
    reached: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """An outbound target: what waits, since when it fails (ms UTC; None: it does not), and why."""

    waiting: int = 0
    failing_since: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a process sees of itself at `now` (ms UTC).

    `heard` when the judge last gave a sign (None: there is none here) · `failed` rule → when it last raised · `free` place → bytes
    of disk · `newest` log time of the newest record · `spool` bytes used and allowed · `expires`
    certificate → end of its validity, ms UTC; the others store → error.
    """

    now: int
    started: int = 0
    partitions: tuple[Partition, ...] = ()
    heard: int | None = None
    failed: Mapping[str, int] = field(default_factory=dict)
    free: Mapping[str, int] = field(default_factory=dict)
    newest: int | None = None
    targets: Mapping[str, Target] = field(default_factory=dict)
    spool: tuple[int, int] = (0, 0)
    databases_away: Mapping[str, str] = field(default_factory=dict)
    history_away: Mapping[str, str] = field(default_factory=dict)
    expires: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bounds:
    """From where on something is a condition: bytes and ms. A city's day of frames is about 1 GB."""

    disk_low: int = 2 << 30
    disk_full: int = 200 << 20
    dead: int = MINUTE
    tick: int = 3 * MINUTE
    behind: int = 5 * MINUTE
    silent: int = MINUTE
    failure: int = 15 * MINUTE
    target: int = 5 * MINUTE
    skew: int = MINUTE
    certificate: int = 30 * DAY

    def at_speed(self, speed: float) -> Bounds:
        """Return the bounds for a virtual clock that runs `speed` times as fast as the machine: its minutes are shorter."""
        spans = ("dead", "tick", "behind", "silent", "failure", "target", "skew")
        return replace(self, **{name: round(getattr(self, name) * max(1.0, speed)) for name in spans})


@dataclass(frozen=True, slots=True)
class Memory:
    """What has to be remembered from look to look: partition → (position, since when it has stood there), condition → since when."""

    moved: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    since: Mapping[tuple[str, str], int] = field(default_factory=dict)


Found = Iterator[tuple[str, dict[str, Any]]]
"""(subject, the figures for the words) of each one found."""


def dead(seen: Snapshot, memory: Memory, bounds: Bounds) -> Found:
    """Find partitions with unread records in which no step has been committed for `bounds.dead`."""
    for part in seen.partitions:
        _, since = memory.moved[part.name]
        if part.end > part.position and seen.now - since >= bounds.dead:
            yield part.name, {"lag": part.end - part.position, "seconds": (seen.now - since) // SECOND}


def _delay(seen: Snapshot, part: Partition) -> int:
    """Return how far judging is behind the clock, ms; a judge that has reached nothing yet is not behind before it had time."""
    return seen.now - max(part.reached or 0, seen.started)


def behind(seen: Snapshot, memory: Memory, bounds: Bounds) -> Found:
    """Find partitions that move, but far behind the clock."""
    still = {subject for subject, _ in dead(seen, memory, bounds)}
    for part in seen.partitions:
        if part.end > part.position and _delay(seen, part) > bounds.behind and part.name not in still:
            yield part.name, {"lag": part.end - part.position, "seconds": _delay(seen, part) // SECOND}


def tick(seen: Snapshot, _memory: Memory, bounds: Bounds) -> Found:
    """Find partitions that are read to the end and whose log time stands still: no tick is written."""
    for part in seen.partitions:
        if part.end == part.position and _delay(seen, part) > bounds.tick:
            yield part.name, {"seconds": _delay(seen, part) // SECOND}


def silent(seen: Snapshot, _memory: Memory, bounds: Bounds) -> Found:
    """Find a judge that gives no sign."""
    if seen.heard is not None and seen.now - max(seen.heard, seen.started) > bounds.silent:
        yield "", {"seconds": (seen.now - max(seen.heard, seen.started)) // SECOND}


def failing(seen: Snapshot, _memory: Memory, bounds: Bounds) -> Found:
    """Find rules that raised not long ago."""
    yield from ((rule, {}) for rule, at in seen.failed.items() if seen.now - at < bounds.failure)


def full(seen: Snapshot, _memory: Memory, bounds: Bounds) -> Found:
    """Find places without the disk that a write needs."""
    yield from ((place, {"mb": free >> 20}) for place, free in seen.free.items() if free < bounds.disk_full)


def low(seen: Snapshot, _memory: Memory, bounds: Bounds) -> Found:
    """Find places where the disk gets short."""
    low = {place: free for place, free in seen.free.items() if bounds.disk_full <= free < bounds.disk_low}
    yield from ((place, {"mb": free >> 20}) for place, free in low.items())


def skew(seen: Snapshot, _memory: Memory, bounds: Bounds) -> Found:
    """Find a log that is ahead of this machine's clock."""
    if seen.newest is not None and seen.newest - seen.now > bounds.skew:
        yield "", {"seconds": (seen.newest - seen.now) // SECOND}


def target(seen: Snapshot, _memory: Memory, bounds: Bounds) -> Found:
    """Find outbound targets that have failed for long."""
    for name, target in seen.targets.items():
        if target.failing_since is not None and seen.now - target.failing_since > bounds.target:
            yield name, {"waiting": target.waiting, "reason": target.reason}


def spool(seen: Snapshot, _memory: Memory, _bounds: Bounds) -> Found:
    """Find a spool that is more than half full."""
    used, allowed = seen.spool
    if allowed and 0.5 * allowed < used < 0.95 * allowed:
        yield "", {"share": round(100 * used / allowed)}


def spool_full(seen: Snapshot, _memory: Memory, _bounds: Bounds) -> Found:
    """Find a spool that will soon take nothing more."""
    used, allowed = seen.spool
    if allowed and used >= 0.95 * allowed:
        yield "", {"share": round(100 * used / allowed)}


def database(seen: Snapshot, _memory: Memory, _bounds: Bounds) -> Found:
    """Find databases that do not answer."""
    yield from ((store, {"error": error}) for store, error in seen.databases_away.items())


def history(seen: Snapshot, _memory: Memory, _bounds: Bounds) -> Found:
    """Find history stores that do not answer."""
    yield from ((store, {"error": error}) for store, error in seen.history_away.items())


def expiring(seen: Snapshot, _memory: Memory, bounds: Bounds) -> Found:
    """Find certificates that end soon."""
    soon = {name: end - seen.now for name, end in seen.expires.items() if 0 < end - seen.now < bounds.certificate}
    yield from ((name, {"days": left // DAY}) for name, left in soon.items())


def expired(seen: Snapshot, _memory: Memory, _bounds: Bounds) -> Found:
    """Find certificates that have ended."""
    yield from ((name, {}) for name, end in seen.expires.items() if end <= seen.now)
