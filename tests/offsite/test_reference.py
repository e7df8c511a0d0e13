"""Reference data end to end: exports in, the registry in force and the cards out; a crash, a push and other people's changes between."""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import json
import os
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cases.reference_store import ReferenceStore, facts
from cases.store import Desk
from connectors.core import CSV, JSON, Refused, Retry
from connectors.http import Scope, ingest_app
from connectors.http_keys import AnswerBook
from connectors.reference import Part
from connectors.sqlite_log import SqliteLog
from connectors.table import TableFaults
from offsite.cli import reference as verb
from offsite.reference import ExportRefused, Reference
from offsite.reference_child import Order, Outcome, carry_out, elsewhere
from offsite.reference_open import open_reference
from offsite.reference_sources import faults, sources_of
from offsite.reference_work import ReferenceWork, due
from offsite.registered import load_current, merged, put_current
from offsite.settings import Settings, load_settings
from streams.registry import registry_hash, to_json
from streams.registry_model import Bounds, Limit, Point, Registry, Site
from tests.cases.made import T0, Hand, ready
from tests.conftest import ROOT
from tests.connectors.test_reference import Service
from tests.streams.test_reference import workbook

EXAMPLE = ROOT / "deploy" / "examples" / "reference.toml"
REGISTRY = Registry(
    (
        Site("S1", "One", enterprise="甲厂", extra={"credit_code": "91330100AAAA"}),
        Site("S2", "Two", enterprise="乙厂", extra={"credit_code": "91330100BBBB"}),
    ),
    (Point("S1", "DA001", "gas"), Point("S2", "DA001", "gas")),
    limits=(Limit("S1", "DA001", "a21026", "hour", Bounds(None, 100.0), "mg/m3", "permit"),),
)
TITLE = [["许可限值表"]]
NAMES = [
    ["统一社会信用代码", "排放口编号", "污染物", "许可限值", None, "有效期", None, "许可证编号", "状态"],
    [None, None, None, "数值", "单位", "起", "止", None, None],
]
MERGED = ["A1:I1", "D2:E2", "F2:G2"]
SO2 = ["91330100AAAA", "DA001", "二氧化硫", 35, "毫克/立方米", "2026年1月1日", "长期", "9133PW1", "有效"]
NOX = [None, "DA001", "氮氧化物", 0.05, "g/m3", "2026年1月1日", "2030年12月31日", "9133PW1", "有效"]
OTHER = ["91330100BBBB", "DA001", "颗粒物", 10, "mg/Nm3", 46023, None, "9133PW2", "有效"]
ODOUR = ["91330100BBBB", "DA001", "臭气", 10, "mg/m3", None, None, "9133PW2", "有效"]
OLD = ["91330100BBBB", "DA001", "颗粒物", 99, "mg/m3", None, None, "9133PW0", "注销"]
PENALTY = "当事人代码,当事人,决定日期,文书号,处罚内容,罚款金额\n,甲厂,2026年2月3日,罚〔2026〕1号,超标排放,100000\n"


class City:
    """A data directory with a registry, the example's settings, and its exports."""

    def __init__(self, folder: Path, service: Service, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.data, self.exports = folder, folder / "data", folder / "exports"
        self._capsys = capsys
        self.data.mkdir()
        self.exports.mkdir()
        put_current(self.data, REGISTRY)
        text = EXAMPLE.read_text("utf-8").replace('"exports/', f'"{self.exports}/').replace('"offsite-data"', f'"{self.data}"')
        self.config = folder / "offsite.toml"
        self.config.write_text(text.replace("https://data.example.invalid/api/enterprises", service.url), "utf-8")
        self.settings = load_settings(self.config, {}, {})
        self.permits(SO2, NOX, OTHER, OLD)
        (self.exports / "penalties.csv").write_bytes(PENALTY.encode("gbk"))
        page = {"data": {"list": [{"uscc": "91330100AAAA", "entName": "甲厂（集团）", "regState": 1}]}}
        service.answer = lambda path, query: (200, {}, json.dumps(page).encode())

    def permits(self, *rows: list[Any], day: str = "20260301") -> None:
        (self.exports / f"permits-{day}.xlsx").write_bytes(workbook([*TITLE, *NAMES, *rows], MERGED))

    def told(self, *words: object) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        verb.add(parser)
        self._capsys.readouterr()
        code = verb.run(parser.parse_args([*(str(word) for word in words), "--config", str(self.config)]))
        return code, *self._capsys.readouterr()

    def json(self, *words: object) -> list[Any]:
        return [json.loads(line) for line in self.told(*words, "--json")[1].splitlines()]

    def limits(self) -> dict[tuple[str, str], list[tuple[float | None, date | None, date | None, str]]]:
        found: dict[tuple[str, str], list[tuple[float | None, date | None, date | None, str]]] = {}
        for one in load_current(self.data).limits:
            row = (one.limit.high, one.valid_from, one.valid_to, one.source)
            found.setdefault((one.site, one.factor), []).append(row)
        return {key: sorted(rows, key=lambda row: row[1] or date.min) for key, rows in found.items()}


@pytest.fixture
def city(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[City]:
    monkeypatch.setenv("OFFSITE_MARKET_TOKEN", "token")
    service = Service()
    yield City(tmp_path, service, capsys)
    service.close()


def test_the_example_is_right_and_fills_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFSITE_MARKET_TOKEN", "token")
    found = sources_of(tomllib.loads(EXAMPLE.read_text("utf-8"))["reference"])
    assert {name: (source.kind, source.table) for name, (source, _) in found.items()} == {
        "permits": ("file", "limits"),
        "market": ("http", "sites"),
        "penalties": ("file", "facts"),
        "inspections": ("push", "facts"),
    }
    assert faults(load_settings(EXAMPLE, {}, {})) == []


def test_permits_become_limits_in_force_with_their_dates(city: City) -> None:
    before = registry_hash(load_current(city.data))
    assert city.json("pull", "permits", "--dry-run")[0]["outcome"] == "applied"
    assert registry_hash(load_current(city.data)) == before
    code, out, _ = city.told("pull", "permits")
    assert code == 0
    assert "permits: applied  rows 4  taken 3  skipped 1  faulty 0" in out
    start = date(2026, 1, 1)
    assert city.limits() == {
        ("S1", "a21026"): [(100.0, None, date(2025, 12, 31), "permit"), (35.0, start, None, "9133PW1")],
        ("S1", "a21002"): [(50.0, start, date(2030, 12, 31), "9133PW1")],
        ("S2", "a34013"): [(10.0, start, None, "9133PW2")],
    }
    with closing(SqliteLog(city.data / "log", lambda: T0)) as log:
        records = log.read(0, 10)
    assert [json.loads(record.body)["kind"] for record in records] == ["registry"]


def test_importing_again_changes_nothing(city: City) -> None:
    city.told("pull")
    before = (city.data / "registry.json").read_bytes()
    books = {row["source"]: row for row in city.json("pull")}
    assert {row["outcome"] for row in books.values()} == {"unchanged"}
    assert books["permits"]["same"] == 3
    assert (city.data / "registry.json").read_bytes() == before
    with closing(SqliteLog(city.data / "log", lambda: T0)) as log:
        assert log.end() == 2  # permits, then market: penalties change no registry


def test_the_card_shows_facts_origins_and_conflicts(city: City) -> None:
    city.told("pull")
    card = city.json("show", "--site", "S1")[0]
    assert [(f["date"], f["number"], f["amount"], f["authority"], f["source"], f["row"]) for f in card["facts"]] == [
        ("2026-02-03", "罚〔2026〕1号", "100000", "综合行政执法局", "penalties", "penalties.csv:2")
    ]
    limit = next(f for f in card["fields"] if f["field"] == "limit" and "a21026" in f["key"])
    assert (limit["value"], limit["source"], limit["department"], limit["row"]) == (
        "35",
        "permits",
        "行政审批局",
        "permits-20260301.xlsx:4",
    )
    assert len(limit["sha256"]) == 64
    assert limit["fetched"]
    assert {(c["field"], c["source"], c["value"], c["others"][0]["value"]) for c in card["conflicts"]} == {
        ("limit", "permits", "35", "100"),
        ("enterprise", "registry", "甲厂", "甲厂（集团）"),
    }
    site = load_current(city.data).site("S1")
    assert site is not None
    assert (site.enterprise, site.extra["business_state"]) == ("甲厂", "open")
    assert [row["field"] for row in city.json("show", "--conflicts", "market")] == ["enterprise"]
    assert "罚〔2026〕1号" in city.told("show", "--site", "S1")[1]


def test_rows_not_taken_are_listed_with_the_remedy(city: City) -> None:
    city.permits(SO2, NOX, OTHER, ODOUR, day="20260302")
    code, _, err = city.told("pull", "permits")
    assert code == 1
    assert "1 of 4 rows are faulty, more than max_faulty 0.1" in err
    assert ("S2", "a34013") not in city.limits()
    told = list(csv.DictReader(io.StringIO(city.told("faults", "permits", "--csv")[1])))
    assert [(row["place"], row["column"], row["reason"]) for row in told] == [
        ("permits-20260302.xlsx:7", "污染物", "unknown_value")
    ]
    assert told[0]["remedy"] == "add the value under `values`"
    shown = {row["source"]: row["outcome"] for row in city.json("show")}
    assert shown == {"permits": "refused", "market": None, "penalties": None, "inspections": None}


def test_an_export_that_lost_its_rows_ends_nothing_unless_a_person_says_so(city: City) -> None:
    city.told("pull", "permits")
    city.permits(SO2, day="20260302")
    code, _, err = city.told("pull", "permits")
    assert code == 1
    assert "2 of 3 rows in force would end, more than max_ended 0.3; see that the export is whole" in err
    assert city.limits()["S2", "a34013"][0][2] is None
    assert city.told("pull", "permits", "--allow-ended")[0] == 0
    assert city.limits()["S2", "a34013"][0][2] is not None
    assert [row["state"] for row in city.json("show", "permits")] == ["live", "ended", "ended"]


def test_an_import_is_in_the_audit_of_a_desk(city: City) -> None:
    with Desk(f"sqlite:///{city.data}/desk.sqlite", clock=lambda: T0):
        pass
    city.told("pull", "permits", "--as", "admin")
    with Desk(f"sqlite:///{city.data}/desk.sqlite", clock=lambda: T0) as desk:
        entry = desk.audit_entries(subject="permits")[0]
        assert desk.audit_verify().ok
    assert (entry["what"], entry["by"], entry["body"]["new"]) == ("reference.pull", "admin", 3)


def test_nothing_to_show_makes_no_store(city: City) -> None:
    code, _, err = city.told("show")
    assert (code, "nothing was imported" in err) == (1, True)
    assert not (city.data / "reference.sqlite").exists()


def test_the_faults_of_the_tables_are_told_at_once(city: City) -> None:
    assert city.told("check")[0] == 0
    city.config.write_text('[[reference]]\nkind = "fax"\n[[reference]]\nkind = "file"\nname = "x"\nlocation = "x.csv"\n', "utf-8")
    code, _, err = city.told("check")
    assert code == 1
    assert "reference[0].kind: 'fax' is no kind of source" in err
    assert "reference[1].department: is missing" in err
    assert city.told("pull", "x")[0] == 1
    twice = {"kind": "file", "name": "x", "location": "a", "department": "d", "table": "sites", "columns": {"a": "site"}}
    with pytest.raises(TableFaults) as told:
        sources_of([twice, twice | {"name": "y"}])
    assert told.value.faults == ["reference[1].precedence: is that of x, which fills sites too; one of them has to go first"]


# --- other people, crashes


def changed(data: Path, change: Callable[[Registry], Registry]) -> None:
    put_current(data, change(load_current(data)))


def test_what_is_adopted_between_imports_stays(city: City) -> None:
    city.told("pull", "permits")
    changed(city.data, lambda now: merged(now, Registry((Site("MN9"),), (Point("MN9", "DA001", "gas", mn="MN9"),))))
    city.permits(["91330100AAAA", "DA001", "二氧化硫", 30, *SO2[4:]], NOX, OTHER, day="20260302")
    city.told("pull", "permits")
    registry = load_current(city.data)
    assert registry.resolve("MN9", "gas") == ("MN9", "DA001")
    assert city.limits()["S1", "a21026"][1][:2] == (30.0, date(2026, 1, 1))
    assert city.limits()["S1", "a21026"][0][0] == 100.0


def test_registry_files_that_replace_the_registry_get_the_sources_again(city: City) -> None:
    city.told("pull", "permits")
    imported = city.limits()
    put_current(city.data, REGISTRY)  # as a start with --registry does
    city.told("pull", "permits")
    assert city.limits() == imported


def test_registry_files_are_taken_with_what_the_sources_say(city: City) -> None:
    city.told("pull", "permits")
    imported = city.limits()
    files = merged(REGISTRY, Registry((Site("S3"),)))
    with open_reference(city.settings) as reference:
        put_current(city.data, reference.over(files))
        assert city.limits() == imported
        assert not reference.settle()
        put_current(city.data, reference.over(REGISTRY))  # the files no longer know it
    assert load_current(city.data).site("S3") is None
    city.told("pull", "permits")
    assert load_current(city.data).site("S3") is None


def test_what_no_longer_fits_the_registry_is_left_out_and_said(city: City, caplog: pytest.LogCaptureFixture) -> None:
    city.told("pull", "permits")
    files = Registry(REGISTRY.sites, REGISTRY.points[:1], limits=REGISTRY.limits)
    with open_reference(city.settings) as reference:
        put_current(city.data, reference.over(files))
    assert "permits-20260301.xlsx:6 is left out of the registry: point: S2/DA001 is not in points" in caplog.text
    assert [row["reason"] for row in city.json("show", "--site", "S2")[0]["left_out"]] == ["point: S2/DA001 is not in points"]
    assert set(city.limits()) == {("S1", "a21026"), ("S1", "a21002")}
    with open_reference(city.settings) as reference:
        put_current(city.data, reference.over(REGISTRY))
    assert set(city.limits()) == {("S1", "a21026"), ("S1", "a21002"), ("S2", "a34013")}


class Stop(BaseException):
    """A crash."""


@pytest.mark.parametrize("after_put", [False, True])
@pytest.mark.parametrize("adopted", [False, True])
def test_a_crash_between_store_and_registry_is_repaired(city: City, after_put: bool, adopted: bool) -> None:
    def crash(before: Registry, after: Registry) -> None:
        if after_put:
            put_current(city.data, after)
        raise Stop

    with open_reference(city.settings) as reference:
        broken = Reference(reference.configured, reference.store, lambda: T0, lambda: load_current(city.data), crash)
        with pytest.raises(Stop):
            broken.pull("permits", "test")
    if adopted:
        changed(city.data, lambda now: merged(now, Registry((Site("S9"),))))
    assert city.json("pull", "permits")[0]["outcome"] == "unchanged"
    assert [row[0] for row in city.limits()["S1", "a21026"]] == [100.0, 35.0]
    assert (load_current(city.data).site("S9") is not None) == adopted
    with open_reference(city.settings) as reference:
        assert not reference.settle()
        assert [one.others for one in reference.fitted().composed.conflicts] == [(("registry", "100"),)]


def test_a_registry_that_somebody_changes_at_that_moment_is_not_overwritten(city: City) -> None:
    tries: list[int] = []

    def put(before: Registry, after: Registry) -> None:
        tries.append(1)
        if len(tries) == 1:
            changed(city.data, lambda now: merged(now, Registry((Site("S9"),))))
            raise Retry("changed", 0.0)
        put_current(city.data, after)

    with open_reference(city.settings) as reference:
        own = Reference(reference.configured, reference.store, lambda: T0, lambda: load_current(city.data), put)
        own.pull("permits", "test")
    assert len(tries) == 2
    assert load_current(city.data).site("S9") is not None
    assert city.limits()["S2", "a34013"][0][0] == 10.0


def test_a_row_that_the_registrys_own_checks_refuse_is_a_fault_and_the_rest_is_taken(city: City) -> None:
    rows = [[*SO2[:2], name, 35, "mg/m3", *SO2[5:]] for name in ("二氧化硫", "氮氧化物", "颗粒物")]
    wrong = ["91330100BBBB", "DA001", "二氧化硫", 35, "mg/m3", "2026年5月1日", "2026年4月1日", "9133PW2", "有效"]
    more = [["91330100BBBB", "DA001", name, 35, "mg/m3", *SO2[5:]] for name in ("氮氧化物", "颗粒物")]
    dated = [[*row[:5], f"202{k}年1月1日", *row[6:]] for row in rows for k in range(3, 6)]
    city.permits(*dated, *more, wrong)
    books = city.json("pull", "permits")[0]
    assert (books["taken"], books["faulty"]) == (11, 1)
    assert books["faults"][0] | {"remedy": ""} == {
        "place": "permits-20260301.xlsx:15",
        "column": "valid_to",
        "reason": "registry",
        "detail": "valid_to: 2026-04-01 is before valid_from 2026-05-01",
        "remedy": "",
    }


# --- push, schedule, desk


def work(city: City, reference: Reference, clock: Hand) -> tuple[ReferenceWork, Desk]:
    desk = ready(city.folder, clock)
    return ReferenceWork(city.settings, reference, desk, clock, (reference._current, reference._put), carry_out), desk


def test_a_department_pushes_whole_exports(city: City) -> None:
    answers = AnswerBook(":memory:", lambda: T0)
    scopes = {"good": Scope("dept (3f2a91c04b7e)"), "other": Scope("dept (000000000000)")}

    async def scenario(own: ReferenceWork) -> list[tuple[int, Any]]:
        app = ingest_app(None, scopes.get, decode=None, answers=answers, more=[own.routes])  # type: ignore[arg-type]
        told = []
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://offsite") as client:
            for source, key, kind, body in (
                ("inspections", "good", JSON, b'[{"site": "S1", "date": "2026-03-01", "no": "7", "result": "ok"}]'),
                ("inspections", "good", CSV, b"site,date,no,result\nS1,2026-03-01,7,ok\n"),
                ("inspections", "good", CSV, b"site,date,no,result\n"),
                ("inspections", "other", CSV, b""),
                ("inspections", "", CSV, b""),
                ("permits", "good", CSV, b""),
                ("inspections", "good", "text/html", b""),
            ):
                headers = {"Authorization": f"Bearer {key}", "Content-Type": kind}
                answer = await client.post(f"/api/v1/reference/{source}", content=body, headers=headers)
                told.append((answer.status_code, answer.json()))
        return told

    with open_reference(city.settings) as reference:
        own, desk = work(city, reference, Hand())
        with desk:
            told = asyncio.run(scenario(own))
        with reference.store.read() as tx:
            kept = facts(tx, "S1")
    answers.close()
    assert [status for status, _ in told] == [200, 200, 422, 403, 401, 404, 415]
    assert [told[0][1][name] for name in ("outcome", "new")] == ["applied", 1]
    assert [told[1][1][name] for name in ("outcome", "same")] == ["unchanged", 1]
    assert "no rows" in told[2][1]["detail"]
    assert [(one.cells["number"], one.place) for one in kept] == [("7", "push[1]")]


def test_sources_are_due_by_span_and_by_time_of_day() -> None:
    hour = 3_600_000
    noon = T0 + 2 * hour  # 12:00 in China
    assert [due("02:30", last, noon) for last in (None, noon - 9 * hour, noon - 10 * hour)] == [True, False, True]
    assert [due("30m", noon - minutes * 60_000, noon) for minutes in (29, 30)] == [False, True]
    assert not due("", None, noon)


def test_a_running_process_fetches_what_is_due_and_outlives_what_fails(city: City) -> None:
    (city.exports / "permits-20260301.xlsx").unlink()
    with open_reference(city.settings) as reference:
        clock = Hand()
        own, desk = work(city, Reference(reference.configured, reference.store, clock, reference._current, reference._put), clock)
        with desk:
            for name in reference.configured:
                own._look(name)
            shown = {row["source"]: row["outcome"] for row in city.json("show")}
            assert shown == {"permits": "failed", "market": "applied", "penalties": None, "inspections": None}
            city.permits(SO2, NOX, OTHER)
            own._look("permits")
            assert ("S2", "a34013") not in city.limits()  # tomorrow
            clock.now += 24 * 3_600_000
            own._look("permits")
            assert ("S2", "a34013") in city.limits()
            books = own.pull("penalties", "operator", may_end=False)
            assert books["outcome"] == "applied"
            assert desk.audit_entries(subject="penalties")[0]["by"] == "operator"
            assert own.card("S1")["facts"][0]["result"] == "超标排放"
            with pytest.raises(Refused, match="knows no person"):
                own.pull("penalties", "nobody", may_end=False)


def test_a_change_while_the_child_computes_is_taken_into_the_base(city: City) -> None:
    orders: list[Order] = []

    def carried(settings: Settings, text: str, now: int, order: Order) -> Outcome:
        orders.append(order)
        outcome = carry_out(settings, text, now, order)
        if len(orders) == 1:
            changed(city.data, lambda registry: merged(registry, Registry((Site("S9"),))))
        return outcome

    with open_reference(city.settings) as reference, ready(city.folder, Hand()) as desk:
        own = ReferenceWork(city.settings, reference, desk, Hand(), (reference._current, reference._put), carried)
        assert own.pull("permits", "admin", may_end=False)["new"] == 3
    assert orders[1:] == [Order()]
    assert load_current(city.data).site("S9") is not None
    assert city.limits()["S2", "a34013"][0][0] == 10.0


def test_the_errors_of_a_child_are_those_of_the_import(city: City) -> None:
    text = to_json(REGISTRY)
    told = carry_out(
        city.settings, text, T0, Order("inspections", "x", Part("push", CSV, b"site,date,no,result\nS7,2026-03-01,7,ok\n"))
    )
    with pytest.raises(ExportRefused) as refused:
        told.check()
    assert refused.value.rows[0]["reason"] == "no_site"
    with pytest.raises(Refused, match="there is no source"):
        carry_out(city.settings, text, T0, Order("nothing", "x")).check()

    def killed(settings: Settings, *_: Any) -> Outcome:
        return elsewhere(Dies(settings), text, T0, Order("permits", "x"))  # type: ignore[arg-type]

    with pytest.raises(Retry, match="the process of the import was ended"):
        killed(city.settings)


class Dies:
    """Settings whose child ends before it can read them."""

    def __init__(self, settings: object) -> None:
        self.settings = settings

    def __reduce__(self) -> Any:
        return os._exit, (9,)


def test_a_source_that_is_pushed_is_not_fetched(city: City) -> None:
    with open_reference(city.settings) as reference:
        with pytest.raises(Refused, match=r"POST /api/v1/reference/inspections"):
            reference.pull("inspections", "test")
        with pytest.raises(Refused, match="known are permits, market"):
            reference.pull("nothing", "test")
        with pytest.raises(ExportRefused) as told:
            reference.pull("inspections", "test", Part("push", CSV, b"site,date,no,result\nS7,2026-03-01,7,ok\n"))
    assert told.value.rows[0]["reason"] == "no_site"


@pytest.mark.servers
def test_the_store_works_on_postgresql(city: City, postgres: Any) -> None:
    url = postgres.emptied()
    store = ReferenceStore(url, clock=lambda: T0)
    with closing(store), open_reference(city.settings) as reference:
        own = Reference(reference.configured, store, lambda: T0, lambda: load_current(city.data), reference._put)
        assert own.pull("permits", "test").done.outcome == "applied"
        assert own.pull("permits", "test").done.outcome == "unchanged"
        own.pull("penalties", "test")
        with store.read() as tx:
            assert [one.cells["number"] for one in facts(tx, "S1")] == ["罚〔2026〕1号"]
    assert city.limits()["S2", "a34013"][0][0] == 10.0
