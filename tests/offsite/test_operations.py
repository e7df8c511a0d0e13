"""docs/operations.md, word for word, on real servers: back up, destroy, restore; upgrade; and the whole cluster lost."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from confluent_kafka import Consumer

from cases.migrate import known, upgrade
from cases.store import Desk
from connectors.kafka import Cluster
from offsite.archived import open_for_writing
from offsite.settings import load_settings
from streams import history
from streams import registry as registries
from streams.archive import Archive
from streams.archive_sink import archive_sink
from streams.faust_app import Message
from streams.plan import load_plan
from streams.records import tick_of
from streams.topics import HISTORY, INPUTS
from tests.cases.made import PEOPLE, Hand, alert, lead, outputs
from tests.conftest import ROOT
from tests.real.kafka import Kafka
from tests.real.postgres import Postgres
from tests.scenarios.runner import log_of
from tests.streams.kafka_world import Writer, everything, judge_all, outputs_of

pytestmark = pytest.mark.servers
PARTITIONS = 2
SCENARIO = ROOT / "tests" / "scenarios" / "two_families_make_a_lead"
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
OFFSITE = [Path(sys.executable).with_name("offsite")]
DESK_GROUP, ARCHIVE_GROUP = "agents-desk", "agents-archive"


def commands(heading: str) -> list[str]:
    """Return the blocks of code under a heading, in order."""
    [part] = [part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE) if part.startswith(f"{heading}\n")]
    return [re.sub(r"^ {4}", "", block, flags=re.MULTILINE) for block in re.findall(r"(?:^ {4}.*\n)+", part, re.MULTILINE)]


@dataclass
class Site:
    """An installation: a cluster, a desk's database, an archive, a place for backups, and its settings."""

    folder: Path
    cluster: Cluster
    database: str
    bin: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.config = self.folder / "offsite.toml"
        self.config.write_text(
            f'data = "{self.folder / "data"}"\narchive = "{self.folder / "archive"}"\ndesk_url = "{self.database}"\n'
            f'[kafka]\nbootstrap = "{self.cluster.bootstrap}"\nprefix = "{self.cluster.prefix}"\n'
        )

    def run(self, block: str, backup: Path, **words: str) -> str:
        """Run a block of the page; `words` stand for the page's own examples."""
        bins = [str(Path(sys.executable).parent), str(self.bin)]
        environment = os.environ | {
            "CONFIG": str(self.config),
            "DESK": self.database.replace("+psycopg", ""),
            "BACKUP": str(backup),
            "PATH": os.pathsep.join([*bins, os.environ["PATH"]]),
        }
        text = block.replace("--partitions 12", f"--partitions {PARTITIONS}")
        for mine, theirs in EXAMPLES.items():
            text = text.replace(mine, theirs)
        done = subprocess.run(["bash", "-euc", text], env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def agents(self, most: int | None = None) -> None:
        """Do what the agents do until nothing is left, or for so many messages of each kind: project, archive, then commit."""
        with Desk(self.database, clock=Hand(), migrate=False) as desk:
            self._drain(DESK_GROUP, ("alerts", "leads"), most, lambda found: project(desk, found))
        sink = archive_sink(open_for_writing(load_settings(self.config, {})), linger_s=0)

        async def take(found: Sequence[Message]) -> None:
            await sink.take(found)

        self._drain(ARCHIVE_GROUP, (HISTORY,), most, lambda found: asyncio.run(take(found)))

    def _drain(self, group: str, topics: Sequence[str], most: int | None, take: Any) -> None:
        given = self.cluster.librdkafka(
            group_id=self.cluster.named(group),
            enable_auto_commit=False,
            isolation_level="read_committed",
            enable_partition_eof=True,
        )
        with closing(Consumer(given | {"auto.offset.reset": "earliest"})) as consumer:
            consumer.subscribe([self.cluster.named(topic) for topic in topics])
            left, ended, until = most or 1 << 30, set(), time.monotonic() + 60
            while left > 0 and len(ended) < PARTITIONS * len(topics):
                assert time.monotonic() < until, f"{group} is not done"
                polled = consumer.consume(min(40, left), 0.5)
                ended |= {(m.topic(), m.partition()) for m in polled if m.error() is not None}
                found = [told(m, self.cluster) for m in polled if m.error() is None]
                if found:
                    take(found)
                    consumer.commit(asynchronous=False)
                left -= len(found)

    def archive(self) -> Archive:
        return Archive(str(self.folder / "archive"))


def told(message: Any, cluster: Cluster) -> Message:
    headers = dict(message.headers() or ())
    place = cluster.bare(message.topic()), message.partition(), message.offset()
    return Message(*place, message.key(), message.value(), headers, message.timestamp()[1])


def project(desk: Desk, found: Sequence[Message]) -> None:
    kinds = {"alerts": "alert", "leads": "lead"}
    desk.project([(0, kinds[m.topic], m.key.decode(), orjson.loads(m.value)) for m in found])


def rows(archive: Archive, *without: str) -> dict[str, list[str]]:
    """Return all that an archive shows, without what a new log numbers anew."""
    return {
        kind: sorted(repr({k: v for k, v in row.items() if k not in without}) for row in archive.rows(kind))
        for kind in history.SORT
    }


def matters(database: str) -> tuple[list[Any], list[Any], list[Any]]:
    """Return alerts, leads and cases as the desk shows them."""
    with Desk(database, clock=Hand(), migrate=False) as desk:
        assert desk.audit_verify()[0]
        return tuple(sorted(rows, key=repr) for rows in (desk.alerts(limit=None), desk.leads(limit=None), desk.cases(limit=None)))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def city(kafka: Kafka, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Give an installation whose workers have judged a day; its agents have not begun."""
    site = Site(tmp_path_factory.mktemp("city"), kafka.cluster(), postgres.url(), postgres.bin)
    with Desk(site.database, clock=Hand()) as desk:
        desk.put_people(PEOPLE)
    site.run(commands("When the whole cluster is lost")[0].splitlines()[0], site.folder)
    writer = Writer(site.cluster, PARTITIONS)
    registry, log = registries.load(SCENARIO / "registry"), log_of(SCENARIO)
    writer.publish(registry, log[0].arrived - 1)
    ticks = [record for record in log if tick_of(record)]
    some = {id(record) for record in ticks[::7]}  # the other ticks are the worker's own
    writer.put(replace(r, arrived=tick_of(r) or r.arrived) for r in log if not tick_of(r) or id(r) in some)
    judge_all(site.cluster, load_plan(None), infer=False)
    return site


@pytest.fixture(scope="module")
def backup(city: Site) -> Path:
    """Give a backup made while the agents were half done and somebody had acted."""
    place = city.folder / "backup"
    place.mkdir()
    city.agents(most=2)
    with Desk(city.database, clock=Hand(), migrate=False) as desk:
        desk.act(desk.alerts()[0]["id"], "ack", "operator")
    check, trial = commands("Back up")
    city.run(check, place)
    city.agents()
    city.run(trial, place)
    return place


EXAMPLES: dict[str, str] = {}
"""The page's own examples → what stands for them here."""


@pytest.fixture(autouse=True)
def examples(city: Site) -> None:
    """Let days and site of the page be those of the scenario."""
    first = next(city_rows(city))
    day = first["time"][:10]
    following = f"{day[:8]}{int(day[8:]) + 1:02d}"
    EXAMPLES.update({"2026-11-25": following, "2026-11-24": day, "S0001": first["site"]})


def city_rows(city: Site) -> Iterator[dict[str, Any]]:
    found = [history.unpack(m.value()) for m in everything(city.cluster, HISTORY) if dict(m.headers())["kind"] == b"readings"]
    yield from history.shown(found[0])


def test_the_desk_comes_back(city: Site, backup: Path, postgres: Postgres) -> None:
    before = matters(city.database)
    name = city.database.rsplit("/", 1)[1]
    postgres.ask(f'DROP DATABASE "{name}" WITH (FORCE)')
    postgres.ask(f'CREATE DATABASE "{name}" TEMPLATE template0')
    restore, rewind = commands("Restore the desk")
    city.run(restore, backup)
    lost = matters(city.database)
    assert len(lost[0]) + len(lost[1]) < len(before[0]) + len(before[1]), "something was judged since the backup"
    city.run(rewind, backup)
    city.agents()
    assert matters(city.database) == before
    assert [row["state"] for row in before[0]].count("acked") == 1


def test_the_archive_comes_back(city: Site, backup: Path) -> None:
    before = rows(city.archive())
    shutil.rmtree(city.folder / "archive")
    restore, reach, compact = commands("Restore the archive")
    city.run(restore, backup)
    assert 0 < sum(map(len, rows(city.archive()).values())) < sum(map(len, before.values()))
    city.agents()
    assert rows(city.archive()) == before
    last = everything(city.cluster, HISTORY)[-1]
    assert str(last.offset() + 1) in city.run(reach, backup)
    city.run(compact, backup)
    assert rows(city.archive()) == before


def test_the_lost_cluster_is_judged_again(city: Site, backup: Path, kafka: Kafka) -> None:
    city.run(commands("Back up")[0], backup)  # the daily copy brings what is new
    new = Site(city.folder / "new", kafka.cluster(), city.database, city.bin)
    make, stamp = commands("When the whole cluster is lost")
    new.run(make, backup)
    judge_all(new.cluster, load_plan(None), infer=False)
    bodies = [sorted(outputs_of(site.cluster), key=repr) for site in (city, new)]
    assert bodies[1] == bodies[0], "alerts and leads have their ids, numbers and words"
    before = matters(city.database)
    new.agents()
    assert matters(city.database) == before
    frames, again = rows(city.archive(), "offset"), rows(new.archive(), "offset")
    assert again["readings"] == frames["readings"] != []
    assert again["windows"] == frames["windows"]
    new.run(stamp, backup)
    refused = subprocess.run(
        [*OFFSITE, "archive", "replay", "--config", new.config, "--from", backup / "archive"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (refused.returncode, "stamps log time" in refused.stderr) == (1, True)


def test_a_running_group_is_not_set_back(city: Site) -> None:
    given = city.cluster.librdkafka(group_id=city.cluster.named("agents-busy"), auto_offset_reset="earliest")
    with closing(Consumer(given)) as consumer:
        consumer.subscribe([city.cluster.named(HISTORY)])
        assert consumer.consume(1, 20)
        told = subprocess.run(
            [*OFFSITE, "rewind", "--config", city.config, "--group", "agents-busy", "--topic", HISTORY, "--to", "2026-11-24"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert (told.returncode, "stop all its processes" in told.stderr) == (1, True)


def test_a_replay_into_used_topics_is_refused(city: Site, backup: Path) -> None:
    told = subprocess.run(
        [*OFFSITE, "archive", "replay", "--config", city.config, "--from", backup / "archive"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, "hold records already" in told.stderr) == (1, True)
    assert set(INPUTS) <= {city.cluster.bare(name) for name in everything_named(city.cluster)}


def everything_named(cluster: Cluster) -> list[str]:
    from confluent_kafka.admin import AdminClient

    return list(AdminClient(cluster.librdkafka()).list_topics(timeout=10).topics)


def test_an_upgrade_keeps_everything(city: Site, postgres: Postgres, tmp_path: Path) -> None:
    """A database of the previous version, filled as that version filled it, is brought up to date by the page's commands."""
    full = postgres.url()
    with Desk(full, clock=Hand()) as desk:
        desk.put_people(PEOPLE)
        desk.project(outputs(lead(auto_case=True), alert(level=1), alert("a2", 3, level=4)), 3)
        desk.act("a1", "ack", "operator")
    older = replace(city, folder=tmp_path / "older", database=postgres.url())
    upgrade(older.database, known()[1])
    carry(full, older.database)
    check, blocks = 'offsite db check --config "$CONFIG"', commands("Upgrade")
    with pytest.raises(AssertionError, match="offsite db upgrade"):
        older.run(check, tmp_path)
    for block in blocks:
        older.run(block, tmp_path)
    assert matters(older.database) == matters(full)
    with Desk(older.database, clock=Hand(), migrate=False) as desk:
        desk.act("a2", "ack", "operator")
        assert desk.audit_verify()[0]


def carry(source: str, target: str) -> None:
    """Copy rows between databases of different versions: the tables and columns that the target knows."""
    engines = sa.create_engine(source), sa.create_engine(target)
    found, wanted = sa.MetaData(), sa.MetaData()
    found.reflect(engines[0])
    wanted.reflect(engines[1])
    with engines[0].connect() as reader, engines[1].begin() as writer:
        writer.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for table in wanted.sorted_tables:
            if table.name == "alembic_version":
                continue
            columns = [c for c in table.columns if c.name in found.tables[table.name].columns]
            values = [dict(r._mapping) for r in reader.execute(sa.select(*[found.tables[table.name].c[c.name] for c in columns]))]
            writer.execute(sa.delete(table))
            if values:
                writer.execute(sa.insert(table), values)
    for engine in engines:
        engine.dispose()


def test_evidence_is_taken_from_the_archive(city: Site, backup: Path) -> None:
    export, known_then = commands("Evidence")
    assert "intact" in city.run(export, backup)
    assert "emission" not in city.run(known_then, backup)
