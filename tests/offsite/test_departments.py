"""Departments mounted as a process mounts them: views and pushes on the ingest port, pulls and cards on the desk, over real sockets."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from cases.store import Desk
from connectors.core import CSV, Retry
from connectors.http import Scope, ingest_app
from connectors.http_keys import AnswerBook
from connectors.table import TableFaults
from offsite import desk_client
from offsite.departments import Departments, on_loop
from offsite.settings import Settings
from offsite.site_card import site_card
from offsite.web import Web
from streams.registry_model import Registry
from tests.cases.made import T0, ready
from tests.offsite.test_reference import REGISTRY

ZONES = "site,zone\nS1,北区\nS2,南区\n"


class Process:
    """What mounts departments; `registry` is in force."""

    def __init__(self, folder: Path, desk: Desk, key: str) -> None:
        self.registry, self.replaced = REGISTRY, 0
        zones = {"kind": "file", "name": "zones", "location": str(folder / "zones.csv"), "department": "规划局", "table": "sites"}
        zones |= {"columns": {"site": "site", "zone": "zone"}, "schedule": "1d"}
        checks = {"kind": "push", "name": "checks", "department": "应急管理局", "table": "facts", "keys": [key]}
        checks |= {"columns": {"site": "site", "date": "date"}, "fixed": {"kind": "inspection"}}
        settings = Settings(data=folder, reference=(zones, checks))
        ways = (lambda: self.registry), on_loop(self._replace)
        self.departments = Departments(settings, desk, lambda: T0, None, lambda: self.registry, ways)
        self.desk = desk

    async def _replace(self, before: Registry, after: Registry) -> None:
        self.replaced += 1
        if self.registry is not before:
            raise Retry("changed", 0.0)
        self.registry = after

    def _scope(self, secret: str) -> Scope | None:
        grant = self.desk.check_key(secret)
        return None if grant is None else Scope(f"{grant.name} ({grant.key})", grant.sites)

    @contextmanager
    def apps(self) -> Iterator[tuple[Any, FastAPI]]:
        with closing(AnswerBook(":memory:", lambda: T0)) as answers:
            ingest = ingest_app(None, self._scope, decode=None, answers=answers, more=[self.departments.routes])  # type: ignore[arg-type]
            desk = FastAPI()
            desk.include_router(self.departments.router())
            yield ingest, desk


def ask(port: int, method: str, path: str, secret: str, body: bytes | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with closing(connection):
        connection.request(method, path, body, {"Authorization": f"Bearer {secret}", "Content-Type": CSV})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_a_process_serves_departments(tmp_path: Path) -> None:
    (tmp_path / "zones.csv").write_text(ZONES, "utf-8")

    async def scenario(desk: Desk, key: dict[str, Any]) -> None:
        process, web = Process(tmp_path, desk, key["id"]), Web()
        with process.apps() as (ingest, app):
            port, console = await web.serve(ingest, "127.0.0.1", 0), await web.serve(app, "127.0.0.1", 0)
            running = asyncio.create_task(process.departments.run())
            deadline = asyncio.get_running_loop().time() + 20
            while not process.replaced:  # the schedule: it was never fetched
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            sent = await asyncio.to_thread(
                ask, port, "POST", "/api/v1/reference/checks", key["secret"], b"site,date\nS1,2026-03-01\n"
            )
            assert (sent[0], sent[1]["new"]) == (200, 1)
            assert await asyncio.to_thread(ask, port, "GET", "/api/v1/views", key["secret"]) == (200, {"views": []})
            (tmp_path / "zones.csv").write_text(ZONES.replace("北", "东"), "utf-8")
            call = ("POST", "/api/v1/reference/zones/pull", {"may_end": False})
            books = await asyncio.to_thread(desk_client.call, console, *call, person="operator")
            assert (books["outcome"], books["changed"]) == ("applied", 1)
            site = process.registry.site("S1")
            assert site is not None
            assert site.extra["zone"] == "东区"
            card = await asyncio.to_thread(process.departments.card, site_card(process.registry, "S1"))
            assert [fact["date"] for fact in card["reference"]["facts"]] == ["2026-03-01"]
            assert [(one["field"], one["value"]) for one in card["reference"]["fields"] if one["field"] == "zone"] == [
                ("zone", "东区")
            ]
            kept = await asyncio.to_thread(process.departments.over, REGISTRY)
            assert kept == process.registry
            web.close()
            await asyncio.gather(*web._tasks)
        process.departments.close()

    with ready(tmp_path, lambda: T0) as desk:  # type: ignore[arg-type]
        key = desk.create_key("dept", ["nowhere"], "admin")
        asyncio.run(scenario(desk, key))
        assert [row["by"] for row in desk.audit_entries(subject="zones")] == ["operator"]


def test_a_process_without_sources_serves_views_and_leaves_cards_alone(tmp_path: Path) -> None:
    with ready(tmp_path, lambda: T0) as desk:  # type: ignore[arg-type]
        made = Departments(Settings(data=tmp_path), desk, lambda: T0, None, lambda: REGISTRY, (Registry, lambda *_: None))
        assert len(made.routes(None)) == 2  # type: ignore[arg-type]
        assert made.router().routes == []
        card = site_card(REGISTRY, "S1")
        assert made.card(card) == card
        assert made.over(REGISTRY) is REGISTRY
        made.close()
    assert not (tmp_path / "reference.sqlite").exists()


def test_a_wrong_source_is_told_before_anything_starts(tmp_path: Path) -> None:
    with ready(tmp_path, lambda: T0) as desk, pytest.raises(TableFaults, match="no kind of source"):  # type: ignore[arg-type]
        Departments(
            Settings(data=tmp_path, reference=({"kind": "fax"},)), desk, lambda: T0, None, Registry, (Registry, lambda *_: None)
        )
