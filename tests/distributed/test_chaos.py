"""Chaos on real servers: after everything that can happen to it, the product holds what an undisturbed one would hold.

`CHAOS=full` takes some minutes (`make chaos`); by default each kind of fault happens once, and stores are away for seconds.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from streams.dead_letters import DeadLetter
from streams.history import FRAMES, READINGS, WINDOWS
from streams.records import CONTEXT
from streams.topics import ALERTS, DEAD_LETTERS, LEADS
from tests.distributed import chaos_checks as checks
from tests.distributed.chaos import Outcome, World, report
from tests.real.influx import InfluxServer, find_influxd
from tests.real.kafka import need_kafka
from tests.real.postgres import Postgres
from tests.streams.kafka_world import everything

pytestmark = [pytest.mark.faults, pytest.mark.servers, pytest.mark.chaos]
FULL = os.environ.get("CHAOS") == "full"
FATES = ("accepted", "duplicate", "revised", "late", "refused")


def short(world: World) -> None:
    world.plant_letters()
    world.kill_worker("w2")
    with world.without_postgres(5), world.without_influx(4):
        world.fail_judge()
    world.sleep_worker("w1", 9)
    with world.without_broker(2, 5):
        world.replace_worker("w2", by="w3")
    world.kill_agents()


def full(world: World) -> None:
    world.plant_letters()
    for name in ("w1", "w2", "w1", "w2", "w1"):
        world.kill_worker(name)
    world.fail_judge()
    with world.without_postgres(30), world.without_broker(2, 10):
        world.kill_worker("w2")
    world.replace_worker("w2", by="w3")
    world.add_worker("w4")
    with world.without_influx(30):
        world.sleep_worker("w1", 12)
    world.kill_agents()


class Ended(NamedTuple):
    outcome: Outcome
    log: checks.Log
    due: checks.Judged
    came: list[checks.Output]


@pytest.fixture(scope="module")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    server = InfluxServer(find_influxd(), tmp_path_factory.mktemp("influx"))
    server.start()
    try:
        server.setup()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def ended(postgres: Postgres, influx: InfluxServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    need_kafka()
    with World(tmp_path_factory.mktemp("chaos"), postgres, influx, speed=6 if FULL else 20, linger_s=20 if FULL else 3) as world:
        (full if FULL else short)(world)
        outcome = world.rest()
        log = checks.Log(outcome.cluster)
        yield Ended(outcome, log, checks.undisturbed(log), checks.put_out(outcome.cluster))


def test_all_that_was_acknowledged_is_in_the_log_and_judged_once(ended: Ended) -> None:
    sent, books = ended.outcome.sent, checks.books_of(ended.outcome.cluster)
    kept = Counter((record.key, record.body) for record in ended.log.inputs())
    acked = {(site, frame): readings for site, frame, readings in sent.frames}
    acked |= {(site, body): readings for _, site, body, readings in sent.messages}
    lost = [pair for pair in acked if pair not in kept]
    assert not lost, f"{len(lost)} acknowledged and not in the log, e.g. {lost[:2]}"
    strange = kept.keys() - acked.keys()
    assert len(strange) == len(ended.outcome.planted), f"in the log and never acknowledged: {list(strange)[:4]}"
    due = sum(readings * kept[pair] for pair, readings in acked.items())
    judged = {fate: books[f"readings.{fate}"] for fate in FATES}
    assert sum(judged.values()) == due == books["readings.received"], f"{due} readings lie in the log, judged are {judged}"
    assert books == ended.due.books, checks.difference(books, ended.due.books)
    assert judged["duplicate"] > 0
    assert judged["revised"] > 0


def test_alerts_and_leads_are_those_of_an_undisturbed_judging(ended: Ended) -> None:
    came, due = checks.by_site(ended.came), checks.by_site(ended.due.outputs)
    assert came.keys() == due.keys()
    wrong = {site: told for site in due if (told := checks.first_difference(came[site], due[site]))}
    assert not wrong, wrong
    for site, outputs in came.items():
        numbers = [body["seq"] for _, body in outputs]
        assert numbers == list(range(1, len(numbers) + 1)), f"{site}: sequences {numbers}"
    found = {body["rule"] for topic, body in ended.came if topic == ALERTS}
    assert {"exceed-hour", "step", "out-of-range"} <= found, found
    assert any(topic == LEADS for topic, _ in ended.came)


def test_no_episode_has_a_second_id(ended: Ended) -> None:
    alerts = [pair for pair in ended.came if pair[0] == ALERTS]
    twice = [key for key, ids in checks.told_times(alerts).items() if ids > 1]
    assert not twice, twice


def test_the_desk_holds_the_last_version_of_each_and_one_case_a_lead(ended: Ended) -> None:
    found = checks.tables(ended.outcome.desk_url)
    assert found.alerts == checks.last_versions(ended.due.outputs, ALERTS)
    assert found.leads == checks.last_versions(ended.due.outputs, LEADS)
    asked = {body["id"] for topic, body in ended.due.outputs if topic == LEADS and body["auto_case"]}
    assert asked
    assert sorted(lead for lead, _ in found.cases) == sorted(asked)
    numbers = sorted(number for _, number in found.cases)
    assert len(set(numbers)) == len(numbers), f"case numbers given twice: {numbers}"


@pytest.mark.parametrize("kind", [READINGS, WINDOWS, FRAMES])
def test_the_archive_is_complete(ended: Ended, kind: str) -> None:
    came, due = checks.archived(ended.outcome)[kind], ended.due.history[kind]
    assert not (told := checks.difference(came, due)), told


def test_chart_history_is_complete(ended: Ended) -> None:
    came, due = checks.in_influx(ended.outcome), checks.chartable(ended.outcome)
    assert due
    assert not (told := checks.difference(came, due)), told


def test_nothing_was_put_aside_but_what_was_planted(ended: Ended) -> None:
    letters = [DeadLetter.from_message(m.key(), m.value(), m.headers()) for m in everything(ended.outcome.cluster, DEAD_LETTERS)]
    assert sorted(letter.reason for letter in letters) == sorted(ended.outcome.planted)


def test_it_was_put_to_the_test(ended: Ended) -> None:
    """Every fault has happened: what restarts were counted, what failed, what had to be sent again."""
    assert ended.outcome.judge_failed, "the judge was made to fail, and nobody noticed"
    assert ended.outcome.sent.copies > 0
    counts = Counter(record.topic for record in ended.log.inputs() if record.topic != CONTEXT)
    told = {"frames": len(ended.outcome.sent.frames), "messages": len(ended.outcome.sent.messages), "log": dict(counts)}
    told |= {
        "readings": ended.due.books["readings.received"],
        "copies": ended.outcome.sent.copies,
        "resent": ended.outcome.sent.resent,
    }
    told |= {"outputs": len(ended.came), "cases": len(checks.tables(ended.outcome.desk_url).cases)}
    print(report(ended.outcome, told))
