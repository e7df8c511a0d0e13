"""What has to be true after a run: an undisturbed judging of the same log, and the comparison with all that was put out and kept."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import sqlalchemy as sa

from cases.models import alerts, cases, leads
from connectors.core import JSON, Record
from connectors.influx import Influx
from connectors.kafka import Cluster, record_of
from connectors.kafka_changelog import read_back
from streams import history
from streams.archive import Archive
from streams.changelog import restored
from streams.engine import Engine
from streams.gate import Gate
from streams.history import FRAMES, READINGS, WINDOWS
from streams.history_influx import KEPT, InfluxHistory
from streams.plan import load_plan
from streams.records import CONTEXT, is_answer, tick_of
from streams.topics import ALERTS, INPUTS, LEADS, LIVE_STATE
from tests.distributed.chaos import BUCKET, Outcome
from tests.distributed.chaos_progress import PARTITIONS
from tests.streams.kafka_world import everything

OF = {"alert": ALERTS, "lead": LEADS}
Output = tuple[str, dict[str, Any]]
"""Topic and body."""


@dataclass(slots=True)
class Judged:
    """What an undisturbed judging of the log gave, all partitions together; rows of history as counts."""

    outputs: list[Output] = field(default_factory=list)
    books: Counter[str] = field(default_factory=Counter)
    history: dict[str, Counter[Any]] = field(default_factory=lambda: {kind: Counter() for kind in (READINGS, WINDOWS, FRAMES)})


class Log:
    """The committed input log, read once."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.records: dict[tuple[str, int], list[Record]] = defaultdict(list)
        for topic in INPUTS:
            for message in everything(cluster, topic):
                self.records[topic, message.partition()].append(record_of(message, cluster))
        for found in self.records.values():
            found.sort(key=lambda record: record.offset)

    def inputs(self) -> Iterator[Record]:
        """Yield all that devices and producers sent."""
        for (topic, _), records in self.records.items():
            if topic != CONTEXT:
                yield from records

    def pieces(self, partition: int) -> Iterator[list[Record]]:
        """Yield the log in pieces that end with a tick: what it says was judged before it, then the tick."""
        start = dict.fromkeys(INPUTS, 0)
        for record in self.records[CONTEXT, partition]:
            if tick_of(record) is not None:
                ends = orjson.loads(record.body)["ends"]
                yield [*self._between(partition, start, ends), Record(CONTEXT, "", -1, JSON, record.body)]
                start = ends
        yield self._between(partition, start, {})

    def _between(self, partition: int, start: dict[str, int], ends: dict[str, int]) -> list[Record]:
        """Return what lies between two ticks by log time; each site has all of its records in one topic, so that is their order."""
        found = [
            record
            for topic in (CONTEXT, *INPUTS[:-1])
            for record in self.records[topic, partition]
            if start[topic] <= record.offset < ends.get(topic, record.offset + 1)
        ]
        return [record for record in found if tick_of(record) is None and not is_answer(record)]


def undisturbed(log: Log) -> Judged:
    """Judge the log, partition by partition, in one engine each that nothing happens to."""
    plan, out = load_plan(), Judged()
    for partition in range(PARTITIONS):
        engine = Engine(plan, gate=Gate(partition, PARTITIONS), asks=True)
        for piece in log.pieces(partition):
            left = piece
            while left:
                step, judged = engine.step(left)
                left = left[len(step.records) :]
                out.outputs += [(OF[kind], orjson.loads(orjson.dumps(body))) for kind, _, body in step.outputs]
                packed = history.packed(step.records, judged.outputs, engine.state)
                for kind, body in packed.items():
                    out.history[kind] += rows_of(history.unpack(body))
        out.books.update(engine.state.books)
    return out


def rows_of(table: pa.Table) -> Counter[Any]:
    """Count the rows of a table; without the column of the archive's own."""
    plain = history.plain(table)
    names = sorted(set(plain.schema.names) - {"at"})
    columns = [[_comparable(value) for value in plain[name].to_pylist()] for name in names]
    return Counter(zip(*columns, strict=True))


def _comparable(value: Any) -> Any:
    return "nan" if isinstance(value, float) and np.isnan(value) else value


# --- what the product left


def put_out(cluster: Cluster) -> list[Output]:
    """Return the committed alerts and leads."""
    return [(topic, orjson.loads(message.value())) for topic in (ALERTS, LEADS) for message in everything(cluster, topic)]


def books_of(cluster: Cluster) -> Counter[str]:
    """Return the books in the changelog, all partitions together."""
    books: Counter[str] = Counter()
    for partition in range(PARTITIONS):
        found = restored(read_back(cluster, LIVE_STATE, partition))
        engine = Engine(load_plan(), restore=found.chunks, load_seen=found.load_seen)
        books.update(engine.state.books)
    return books


def archived(outcome: Outcome) -> dict[str, Counter[Any]]:
    """Return the rows of the archive."""
    archive = Archive(outcome.archive)
    return {kind: rows_of(archive.table(kind)) for kind in (READINGS, WINDOWS, FRAMES)}


SHOWN = ("site", "point", "factor", "period", "stat", "time", "value", "flag", "fate")


def in_influx(outcome: Outcome) -> Counter[Any]:
    """Return the readings that charts may show."""
    with Influx(outcome.influx.url, outcome.influx.org, outcome.influx.token) as server:
        kept = InfluxHistory(server, BUCKET, lambda: 0)
        return Counter(tuple(row[name] for name in SHOWN) for row in kept.rows(READINGS))


def chartable(outcome: Outcome) -> Counter[Any]:
    """Return the readings of the archive that charts may show, as `in_influx` does."""
    rows = history.shown(Archive(outcome.archive).table(READINGS))
    return Counter(tuple(row[name] for name in SHOWN) for row in rows if row["fate"] in KEPT)


@dataclass(slots=True)
class Tables:
    """The desk's tables: alerts and leads by id as (seq, body), the case numbers by lead."""

    alerts: dict[str, tuple[int, Any]]
    leads: dict[str, tuple[int, Any]]
    cases: list[tuple[str, str]]


def tables(url: str) -> Tables:
    """Read the desk's database."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        held, gathered = (
            {row.id: (row.seq, orjson.loads(row.body)) for row in connection.execute(sa.select(table))}
            for table in (alerts, leads)
        )
        opened = [(row.lead, row.number) for row in connection.execute(sa.select(cases))]
    engine.dispose()
    return Tables(held, gathered, opened)


def last_versions(outputs: Sequence[Output], topic: str) -> dict[str, tuple[int, Any]]:
    """Return the last version of each id by its sequence."""
    last: dict[str, tuple[int, Any]] = {}
    for found, body in outputs:
        if found == topic and body["seq"] > last.get(body["id"], (-1, None))[0]:
            last[body["id"]] = body["seq"], body
    return last


def by_site(outputs: Sequence[Output]) -> dict[str, list[Output]]:
    """Return the outputs of each site by sequence."""
    found: dict[str, list[Output]] = defaultdict(list)
    for topic, body in sorted(outputs, key=lambda pair: pair[1]["seq"]):
        found[body["site"]].append((topic, body))
    return dict(found)


def first_difference(came: Sequence[Output], due: Sequence[Output]) -> str:
    """Say where two lists of outputs part, field by field; empty where they are the same."""
    for (_, ours), (_, theirs) in zip(came, due, strict=False):
        names = sorted({*ours, *theirs})
        wrong = {name: (ours.get(name), theirs.get(name)) for name in names if ours.get(name) != theirs.get(name)}
        if wrong:
            return f"{ours['site']} seq {ours['seq']} (came, due): {wrong}"
    return "" if len(came) == len(due) else f"{len(came)} outputs came, {len(due)} were due"


def difference(came: Counter[Any], due: Counter[Any]) -> str:
    """Say what is missing and what is too much, in short; empty where nothing is."""
    missing, more = due - came, came - due
    if not missing and not more:
        return ""
    return f"missing {missing.total()}, e.g. {list(missing)[:2]}; too much {more.total()}, e.g. {list(more)[:2]}"


def told_times(outputs: Sequence[Output]) -> Counter[Any]:
    """Count ids by episode: rule, series and start."""
    ids = {(body["rule"], body["site"], body["point"], body["factor"], body["opened"], body["id"]) for _, body in outputs}
    return Counter(key[:-1] for key in ids)
