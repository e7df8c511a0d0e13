from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cases.store import Desk
from connectors.core import Refused, Retry
from offsite import desk_work
from offsite.desk_process import history_of
from offsite.desk_work import carry, take_people
from offsite.settings import Settings
from offsite.settings_tables import Influx
from streams.archive import Archive
from streams.history_influx import InfluxHistory
from streams.registry_model import Person, Registry
from tests.cases.made import Hand, alert, outputs, ready


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    with ready(tmp_path, Hand()) as made:
        made.project(outputs(*(alert(f"a{k}", k) for k in range(1, 6))))
        yield made


def test_messages_are_dropped_only_once_they_are_durable_elsewhere(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(desk_work, "CARRIED", 2)
    monkeypatch.setattr(desk_work, "CARRY_EVERY", 0.001)
    caplog.set_level(logging.INFO, "offsite")
    for k in range(1, 6):
        desk.act(f"a{k}", "ack", "operator")
    away, took, done = 3, [], asyncio.Event()

    async def put(rows: Sequence[dict[str, Any]]) -> None:
        nonlocal away
        assert desk.outgoing("case-events")[0] == rows[0]  # still there
        if len(took) == 2 and away:
            away -= 1
            raise Retry("the broker is away", 0.001)
        took.extend(row["subject"] for row in rows)
        if len(took) == 5:
            done.set()

    async def until_empty() -> None:
        task = asyncio.ensure_future(carry(desk, "case-events", put))
        await asyncio.wait_for(done.wait(), 30)
        while await asyncio.to_thread(desk.outgoing, "case-events"):  # the last page is dropped a moment later
            await asyncio.to_thread(time.sleep, 0.001)
        task.cancel()

    asyncio.run(until_empty())
    assert took == ["a1", "a2", "a3", "a4", "a5"]
    assert [record.message for record in caplog.records] == ["the broker is away", "it goes on"]  # once each, not three times


def test_what_can_never_leave_is_not_passed_over(desk: Desk) -> None:
    desk.act("a1", "ack", "operator")

    async def put(_: object) -> None:
        raise Refused("too large")

    with pytest.raises(Refused, match="too large"):
        asyncio.run(carry(desk, "case-events", put))
    assert len(desk.outgoing("case-events")) == 1


def test_a_desk_is_never_without_people(tmp_path: Path) -> None:
    with Desk(f"sqlite:///{tmp_path}/new.sqlite", clock=Hand()) as desk:
        take_people(desk, Registry())
        assert len(desk.people()) == 7
        take_people(desk, Registry(people=(Person("li", "李", "officer"),)))
        assert "li" in {one["person"] for one in desk.people()}
        before = desk.audit_verify().rows
        take_people(desk, Registry())
        assert desk.audit_verify().rows == before


def test_charts_come_from_influxdb_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(history_of(Settings(data=tmp_path), Hand()), Archive)
    monkeypatch.setenv("INFLUX_TOKEN", "t")
    given = Settings(data=tmp_path, influx=Influx(url="http://127.0.0.1:1", token="env:INFLUX_TOKEN"))
    history = history_of(given, Hand())
    assert isinstance(history, InfluxHistory)
    with pytest.raises(Retry):
        history.series("S1", "DA001", "a21026", 0, 1)
