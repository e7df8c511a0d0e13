"""Outputs of the product: what the judge, the desk and the devices give is put into the durable queue, and a worker a target sends it.

Enters, on one machine: the judge's outputs and the log of frames, read by a cursor for each target that moves in the transaction which
queues them; and the desk's `case-events`, which it drops once `take_case_events` has returned. In the distributed runtime the agents
call `offer` and `offer_frame`. So nothing is lost by a crash, nothing is queued twice, and what one target does concerns no other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any, NamedTuple, TypeVar

import orjson

from cases.db import Row
from cases.mail_words import Card
from cases.store import Desk
from connectors.core import HJ212, JSON, Clock, Record, Retry
from connectors.hj212 import sm4
from connectors.hj212.header import Header, HeaderError, parse
from connectors.hj212.relay import FRAME, HELD_FRAME, REDRIVEN_FRAME
from connectors.outbound import Queue
from connectors.outbound_entries import Entry
from connectors.outbound_worker import Worker
from connectors.outputs import Kind, Output, from_tables
from connectors.sqlite_log import SqliteLog
from connectors.table import TableFaults
from offsite import mail
from offsite.patience import patiently
from offsite.settings import Settings, SettingsFaults, secret
from streams.records import HELD, REDRIVEN
from streams.store import StateStore

FILE = "outbound.sqlite"
LOOK = 0.1
"""Seconds between two looks for something new."""
AT_ONCE = 500
KEEP_EVERY_MS = 5_000
"""How often a cursor that passes nothing wanted is written down."""
TRIM_EVERY = 60.0
CASE_EVENT = "case-event"
T = TypeVar("T")
_log = logging.getLogger("offsite")


class Page(NamedTuple):
    """What a source gave: entries, the position behind them, and how many records it no longer had before them."""

    entries: list[Entry]
    position: int
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """A durable sequence: its name, what it holds (`events` or `frames`), how to read on, and its two ends."""

    name: str
    holds: str
    read: Callable[[int], Page]
    now: Callable[[], int]
    beginning: Callable[[], int]


def queue_url(settings: Settings) -> str:
    """Return where the queue is kept: beside the desk where that has a database of its own, else in the data directory."""
    return settings.desk_database() if settings.desk_url else f"sqlite:///{(settings.data / FILE).resolve()}"


def made(settings: Settings, clock: Clock, card: Card = mail.no_card) -> list[Output]:
    """Make the outputs of the settings; `card` gives a site's names and district to letters. Raises SettingsFaults with every fault."""
    try:
        return from_tables(settings.outputs, secret, clock, {"mail": Kind(mail.DEFAULTS, partial(mail.from_table, card))})
    except TableFaults as found:
        raise SettingsFaults(found.faults) from found


def faults(settings: Settings) -> list[str]:
    """Return every fault of the outputs' tables; nothing is started."""
    try:
        made(settings, lambda: 0)
    except SettingsFaults as found:
        return list(found.faults)
    return []


class Outputs:
    """All outputs of the settings and their queue. Raises SettingsFaults naming every fault, Retry or Lost of the database."""

    def __init__(self, settings: Settings, clock: Clock, *, owner: str, chance: Random, card: Card = mail.no_card) -> None:
        self.outputs = made(settings, clock, card)
        self.queue = Queue(queue_url(settings))
        self._clock = clock
        self._keys = {mn: secret(reference) for mn, reference in settings.sm4_keys.items()}
        self._workers = {o.common.name: Worker(self.queue, o, clock, owner=owner, chance=chance) for o in self.outputs}

    def close(self) -> None:
        """Give back the queue's connections."""
        self.queue.close()

    # --- what agents call

    async def offer(self, kind: str, site: str, seq: int | None, body: bytes) -> None:
        """Queue an alert, lead or case-event (JSON) for every target that wants it; returns once that is durable.

        Raises Retry if the database is away or a target that is to wait is full: offer it again, it is queued once.
        """
        await self._offer([Entry(kind, site, seq, JSON, body, self._clock())])

    async def offer_frame(self, topic: str, partition: int, record: Record) -> None:
        """Queue a frame of an input topic for every relay that wants it; returns once that is durable. Raises Retry, as `offer`."""
        entry = self.frame_entry(record, f"/{topic}/{partition}")
        if entry is not None:
            await self._offer([entry])

    async def take_case_events(self, rows: Sequence[Row]) -> None:
        """Queue what the desk carries (`offsite/desk_work.py`); returns once it is durable. Raises Retry, as `offer`."""
        entries = [Entry(CASE_EVENT, row["site"] or "", row["seq"], JSON, orjson.dumps(row), self._clock()) for row in rows]
        await self._offer(entries)

    async def _offer(self, entries: Sequence[Entry]) -> None:
        try:
            await asyncio.to_thread(self._put_all, entries)
        finally:
            for worker in self._workers.values():
                worker.wake.set()

    # --- what a process runs

    async def run(self, sources: Sequence[Source] = ()) -> None:
        """Feed and send until cancelled. Raises Lost if the queue is gone."""
        jobs = [worker.run() for worker in self._workers.values()]
        jobs += [self._feed(output, source) for output in self.outputs for source in sources if source.holds == output.takes]
        jobs.append(self._trim())
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)

    async def _feed(self, output: Output, source: Source) -> None:
        """Queue what a source gives for one target, for ever."""
        common = output.common
        start = await _patiently(source.now if common.start == "now" else source.beginning)
        position = await _patiently(self.queue.cursor, common.name, source.name, start)
        kept_at = self._clock()
        while True:
            page = await _patiently(source.read, position)
            if page.position == position:
                await asyncio.sleep(LOOK)
                continue
            if page.missed:
                _log.warning(
                    "output %s: %d records of the %s were dropped before they were queued", common.name, page.missed, source.name
                )
                await _patiently(self.queue.missed, common.name, source.name, page.missed, position + page.missed)
            wanted = self._wanted(output, page.entries)
            if wanted or self._clock() - kept_at >= KEEP_EVERY_MS:
                await _patiently(self._put, output, wanted, (source.name, page.position))
                kept_at = self._clock()
                self._workers[common.name].wake.set()
            position = page.position

    async def _trim(self) -> None:
        """Forget what was settled longer ago than the sent log is kept."""
        keep = max((output.common.keep for output in self.outputs), default=0)
        while True:
            await _patiently(self.queue.trim, self._clock() - keep)
            await asyncio.sleep(TRIM_EVERY)

    # --- inside

    def frame_entry(self, record: Record, place: str = "") -> Entry | None:
        """Return the entry of a log record that is a frame, as it stood on the wire; None of any other record."""
        if record.content_type not in {HJ212, REDRIVEN}:
            return None
        kind = HELD_FRAME if record.topic == HELD else REDRIVEN_FRAME if record.content_type == REDRIVEN else FRAME
        body = on_the_wire(record.body, self._keys)
        return Entry(kind + place, record.key, record.offset, HJ212, body, record.arrived)

    def _put_all(self, entries: Sequence[Entry]) -> None:
        """Queue entries for every target; the others have theirs before Retry is raised for one that is full."""
        full: list[Retry] = []
        for output in self.outputs:
            try:
                self._put(output, self._wanted(output, entries))
            except Retry as later:
                full.append(later)
        if full:
            raise full[0]

    def _put(self, output: Output, entries: Sequence[Entry], cursor: tuple[str, int] | None = None) -> int:
        common = output.common
        if not entries and cursor is None:
            return 0
        return self.queue.put(common.name, entries, bound=common.bound, cursor=cursor, skip=common.when_full == "refuse")

    @staticmethod
    def _wanted(output: Output, entries: Iterable[Entry]) -> list[Entry]:
        """Return what an output wants, each under its keys; the sequence of what is judged or done grows by site, whatever the key."""
        found: list[Entry] = []
        for entry in entries:
            keys = output.wants(entry.kind, entry.key, entry.body) or ()
            series = entry.key if output.takes == "events" else ""
            found += [replace(entry, key=key, series=series) for key in ((keys,) if isinstance(keys, str) else keys)]
        return found

    def sources(self, store: StateStore, log: SqliteLog, desk: Desk) -> list[Source]:
        """Return the sources of the product on one machine."""

        def judged(after: int) -> Page:
            rows = store.outputs(after, AT_ONCE)
            now = self._clock()
            entries = [Entry(kind, site, seq, JSON, orjson.dumps(body), now) for seq, kind, site, body in rows]
            return Page(entries, rows[-1][0] if rows else after)

        def frames(start: int) -> Page:
            records = log.read(start, AT_ONCE)
            if not records:
                return Page([], start)
            entries = [entry for record in records if (entry := self.frame_entry(record)) is not None]
            return Page(entries, records[-1].offset + 1, records[0].offset - start)

        return [
            Source("judge", "events", judged, desk.position, lambda: 0),
            Source("log", "frames", frames, log.end, log.first),
        ]


async def _patiently(work: Callable[..., T], *args: Any) -> T:
    """Do the work off the loop, again while a database is busy or away, or a target that is to wait is full."""
    return await patiently(partial(asyncio.to_thread, work, *args))


def on_the_wire(frame: bytes, keys: dict[str, bytes]) -> bytes:
    """Return a frame of the log as its device had sent it: the log keeps it in clear, and SM4 of HJ 212-2025 is put back.

    ECB without padding gives the same bytes again. A device with a key encrypts CN 2000-2999, 1014 and 3020 (HJ 212-2025 Annex A).
    """
    if not keys:
        return frame
    try:
        header = parse(frame[6:-4])
    except HeaderError:
        return frame
    key = keys.get(header.mn)
    if key is None or not _encrypts(header):
        return frame
    start, end = header.area[0] + 6, header.area[1] + 6
    return frame[:start] + sm4.encrypt(frame[start:end], key) + frame[end:]


def _encrypts(header: Header) -> bool:
    return header.flag is not None and header.flag >> 2 == 2 and (header.cn in {"1014", "3020"} or header.cn.startswith("2"))
