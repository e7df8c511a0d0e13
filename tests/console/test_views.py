"""Views for other departments: what was granted leaves and nothing else, every reading is in the audit, pages and ETags hold."""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa
import pytest

from cases.clocks import parse_time
from cases.database import Database
from cases.store import Desk
from cases.view_rows import SOURCES, Ask
from cases.views import Grant, Views, load_views
from connectors.core import Refused, Retry
from connectors.http import Scope, ingest_app
from connectors.http_keys import AnswerBook
from connectors.table import TableFaults
from console.api.views import view_routes
from offsite.cli import views as verb
from streams.registry_model import Bounds, District, Factor, Limit, Point, Registry, Site
from tests.cases.made import T0, Hand, alert, lead, outputs, ready

HOUR = 3_600_000
REGISTRY = Registry(
    (
        Site("S1", "One", enterprise="甲厂", district="330102", industry="水泥"),
        Site("S2", "Two", enterprise="=乙厂", district="330106", industry="水泥"),
    ),
    (Point("S1", "DA001", "gas"), Point("S2", "DA001", "gas")),
    (Factor("S1", "DA001", "a21026", wire_unit="mg/m3"), Factor("S1", "DA001", "a21002", wire_unit="mg/m3")),
    (
        Limit("S1", "DA001", "a21026", "hour", Bounds(None, 35.0), "mg/m3", "9133PW1"),
        Limit("S2", "DA001", "a21026", "hour", Bounds(None, 50.0), "mg/m3", "9133PW2"),
        Limit("S1", "DA001", "a21026", "hour", Bounds(None, 200.0), "mg/m3", "GB 13223"),
    ),
    districts=(District("3301", "市"), District("330102", "上城", "3301"), District("330106", "西湖", "3301")),
)


class Hours:
    """A history: three hours of each factor, the second revised."""

    def series(self, site: str, point: str, factor: str, start: int, end: int, period: str | None = None) -> pa.Table:
        assert period == "hour"
        rows = [(T0 - 3 * HOUR, 1.0, 0), (T0 - 2 * HOUR, 2.0, 0), (T0 - 2 * HOUR, 2.5, 1), (T0 - HOUR, 3.0, 0)]
        rows = [row for row in rows if start <= row[0] < end]
        whole = [{"time": t, "value": v, "revision": r, "stat": "avg", "flag": "N", "quality": 1} for t, v, r in rows]
        return pa.Table.from_pylist(whole)


class Office:
    """A desk with alerts and cases of two districts, the views over it, and the ingest port."""

    def __init__(self, folder: Path) -> None:
        self.clock = Hand()
        self.desk = ready(folder, self.clock)
        bodies = [alert(f"a{k}", k, site="S1" if k % 2 else "S2", at=T0 + k) for k in range(1, 6)]
        bodies += [lead("l1", 7), lead("l2", 8, site="S2", alerts=["a2"]), lead("l9", 9, site="S9", alerts=[])]
        self.desk.project(outputs(*bodies))
        self.cases = []
        for one in ("l1", "l2", "l9"):
            self.clock.now += 1
            self.cases.append(self.desk.open_case(one, "shift_lead"))
        self.clock.now = T0
        self.database = Database(f"sqlite:///{folder}/desk.sqlite", clock=self.clock)
        self.views = Views(self.database, load_views(), lambda: REGISTRY, Hours())
        self.answers = AnswerBook(":memory:", self.clock)
        self.app = ingest_app(None, self._scope, decode=None, answers=self.answers, more=[view_routes(self.views)])  # type: ignore[arg-type]

    def _scope(self, secret: str) -> Scope | None:
        grant = self.desk.check_key(secret)
        return None if grant is None else Scope(f"{grant.name} ({grant.key})", grant.sites)

    def key(self, *views: str, **scope: Sequence[str]) -> dict[str, Any]:
        made = self.desk.create_key("dept", ["nowhere"], "admin")
        self.views.grant(made["id"], Grant(views, **{name: tuple(values) for name, values in scope.items()}), "admin")
        return made

    def get(self, path: str, key: Any = None, **headers: str) -> Any:
        async def ask() -> Any:
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app), base_url="http://offsite") as client:
                shown = {"Authorization": f"Bearer {key['secret']}"} if key else {}
                return await client.get(f"/api/v1/views{path}", headers=shown | headers)

        return asyncio.run(ask())

    def rows(self, path: str, key: Any) -> list[Any]:
        answer = self.get(path, key)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["rows"])

    def log(self) -> list[tuple[str, str, int]]:
        return [(row["view"], row["key"], row["rows"]) for row in self.views.readings()]

    def close(self) -> None:
        self.database.close()
        self.desk.close()
        self.answers.close()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.close()


def test_rows_of_the_catalogues_columns_leave_and_the_reading_is_in_the_audit(office: Office) -> None:
    key = office.key("cases_open")
    rows = office.rows("/cases_open", key)
    assert [row["site"] for row in rows] == ["S9", "S2", "S1"]
    assert list(rows[0]) == list(office.views.views["cases_open"].columns)
    assert (rows[2]["site_name"], rows[2]["enterprise"], rows[0]["site_name"]) == ("One", "甲厂", None)
    assert office.log() == [("cases_open", key["id"], 3)]
    entry = office.desk.audit_entries(subject="cases_open")[0]
    assert (entry["what"], entry["by"], entry["role"], entry["body"]["asked"]) == (
        "view.read",
        key["id"],
        "api_key",
        {"limit": 1000},
    )
    assert office.desk.audit_verify().ok


@pytest.mark.parametrize(
    ("scope", "sites"),
    [
        ({"districts": ["330102"]}, {"S1"}),
        ({"districts": ["3301"]}, {"S1", "S2"}),
        ({"enterprises": ["=乙厂"]}, {"S2"}),
        ({"industries": ["水泥"], "districts": ["330106"]}, {"S2"}),
        ({"industries": ["陶瓷"]}, set()),
    ],
)
def test_rows_of_others_never_leave(office: Office, scope: dict[str, list[str]], sites: set[str]) -> None:
    key = office.key("*", **scope)
    span = "from=2026-03-04T00:00:00%2B08:00&to=2026-03-05T00:00:00%2B08:00"
    for view in ("cases_open", "alerts_by_site", "permit_limits"):
        assert {row["site"] for row in office.rows(f"/{view}", key)} == sites
        for site in ("S1", "S2", "S9"):
            found = {row["site"] for row in office.rows(f"/{view}?site={site}", key)}
            assert found == sites & {site}
    assert bool(office.rows(f"/emission_hours?site=S1&{span}", key)) == ("S1" in sites)


def test_a_key_reads_what_it_was_granted_and_the_newest_grant_holds(office: Office) -> None:
    writer = office.desk.create_key("logger", ["S1"], "admin")
    assert office.get("/cases_open", writer).status_code == 403
    assert office.get("", writer).json() == {"views": []}
    key = office.key("cases_open")
    assert [view["name"] for view in office.get("", key).json()["views"]] == ["cases_open"]
    assert office.get("/alerts_by_site", key).json()["title"] == "Not granted"
    office.views.grant(key["id"], Grant(("alerts_by_site",)), "admin")
    assert [office.get(f"/{view}", key).status_code for view in ("cases_open", "alerts_by_site", "no_such")] == [403, 200, 403]
    office.views.grant(key["id"], Grant(), "admin")
    assert office.get("/alerts_by_site", key).status_code == 403
    office.desk.revoke_key(key["id"], "admin")
    assert office.get("/alerts_by_site", key).status_code == 401
    assert office.get("/alerts_by_site").status_code == 401
    assert office.log() == [("alerts_by_site", key["id"], 5)]


def test_only_an_admin_grants_and_only_what_there_is(office: Office) -> None:
    key = office.key()
    for given, by, words in (
        (Grant(("cases_open",)), "operator", "only an admin grants views"),
        (Grant(("cases_opened",)), "admin", "there is no view cases_opened"),
    ):
        with pytest.raises(Refused, match=words):
            office.views.grant(key["id"], given, by)
    with pytest.raises(Refused, match="no valid API key '000000000000'"):
        office.views.grant("000000000000", Grant(), "admin")


def test_persons_leave_only_by_views_that_say_so_and_are_granted_by_name(office: Office) -> None:
    every = office.key("*")
    assert office.get("/case_findings", every).status_code == 403
    assert "case_findings" not in {view["name"] for view in office.get("", every).json()["views"]}
    named = office.key("case_findings")
    assert office.rows("/case_findings", named)[0]["opened_by"] == "shift_lead"
    for view in load_views().values():
        assert view.personal or not set(view.columns) & SOURCES[view.source].personal


def test_pages_follow_each_other_without_gap_or_repetition(office: Office) -> None:
    key = office.key("*")
    for path, whole in (("/alerts_by_site?", 5), ("/permit_limits?", 2)):
        found: list[Any] = []
        following: str | None = f"{path}limit=2"
        while following is not None:
            answer = office.get(following, key)
            found += answer.json()["rows"]
            link = answer.headers.get("link")
            following = link and link[1:].partition(">")[0].removeprefix("/api/v1/views")
            assert (answer.json()["next"] is None) == (following is None)
        assert found == office.rows(path, key)
        assert len(found) == whole


def test_hours_are_the_newest_revision_in_pages(office: Office) -> None:
    key = office.key("emission_hours", districts=["330102"])
    span = "site=S1&from=2026-03-04T00:00:00%2B08:00&to=2026-03-04T09:30:00%2B08:00"
    rows = office.rows(f"/emission_hours?{span}", key)
    assert [(row["factor"], row["time"][11:16], row["value"], row["revision"]) for row in rows] == [
        (factor, time, value, revision)
        for factor in ("a21002", "a21026")
        for time, value, revision in (("07:00", 1.0, 0), ("08:00", 2.5, 1), ("09:00", 3.0, 0))
    ]
    first = office.get(f"/emission_hours?{span}&limit=4", key).json()
    assert [*first["rows"], *office.rows(f"/emission_hours?{span}&limit=4&after={first['next']}", key)] == rows
    for wrong in ("", "?site=S1", span.replace("site=S1&", "?"), f"?{span}".replace("2026-03-04T09", "2028-03-04T09")):
        answer = office.get(f"/emission_hours{wrong}", key)
        assert answer.status_code == 422
        assert "give site, from and to" in answer.json()["detail"]


def test_time_bounds_are_kept(office: Office) -> None:
    key = office.key("alerts_by_site")
    at = parse_time("2026-03-04T10:00:00+08:00")
    assert at == T0
    office.clock.now = T0 + 60_000
    office.desk.project(outputs(alert("late", 20, at=T0 + 60_000)))
    later = office.rows("/alerts_by_site?from=2026-03-04T10:00:01%2B08:00", key)
    assert [row["id"] for row in later] == ["late"]
    before = office.rows("/alerts_by_site?to=2026-03-04T10:00:01%2B08:00", key)
    assert {row["id"] for row in before} == {"a1", "a2", "a3", "a4", "a5"}


def test_csv_shows_chinese_in_a_spreadsheet_and_starts_no_formula(office: Office) -> None:
    key = office.key("permit_limits")
    answer = office.get("/permit_limits", key, Accept="text/csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [(row["site"], row["enterprise"], row["limit"], row["source"]) for row in rows] == [
        ("S1", "甲厂", "35", "9133PW1"),
        ("S2", "'=乙厂", "50", "9133PW2"),
    ]
    assert office.get("/permit_limits?format=json", key, Accept="text/csv").json()["rows"][1]["enterprise"] == "=乙厂"


def test_what_has_not_changed_is_not_sent_again(office: Office) -> None:
    key = office.key("cases_open")
    tag = office.get("/cases_open", key).headers["etag"]
    again = office.get("/cases_open", key, **{"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    office.desk.move(office.cases[0]["id"], "dispatch", "shift_lead", {"assignee": "张三"})
    changed = office.get("/cases_open", key, **{"If-None-Match": tag})
    assert (changed.status_code, changed.headers["etag"] != tag) == (200, True)
    assert [rows for _, _, rows in office.log()] == [3, 0, 3]


def test_nothing_leaves_that_the_audit_can_not_hold(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    key = office.key("cases_open")

    def full(*_: object) -> None:
        raise Retry("the desk's disk is full; free it", 3.0)

    monkeypatch.setattr(office.views, "note", full)
    answer = office.get("/cases_open", key)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
    assert "number" not in answer.text


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?distrct=330102", "distrct: known are after, format, from, limit, site, to"),
        ("?limit=0", "limit has to be 1 to 5000"),
        ("?limit=x", "limit has to be"),
        ("?format=xml", "format is csv or json"),
        ("?from=yesterday", "is no time"),
        ("?after=x", "is no page"),
    ],
)
def test_what_is_not_understood_is_refused_and_never_overlooked(office: Office, query: str, words: str) -> None:
    answer = office.get(f"/cases_open{query}", office.key("cases_open"))
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert words in answer.json()["detail"]
    assert office.log() == []


def test_candidates_for_a_penalty_are_cases_found_true(office: Office) -> None:
    key = office.key("penalty_candidates")
    assert office.rows("/penalty_candidates", key) == []
    for case, verdict in ((office.cases[0], "属实"), (office.cases[1], "不属实")):
        office.desk.move(case["id"], "dispatch", "shift_lead", {"assignee": "张三"})
        office.desk.move(case["id"], "verify", "officer", {"verdict": verdict, "finding": "排放口检查"})
    assert [(row["site"], row["verdict"]) for row in office.rows("/penalty_candidates", key)] == [("S1", "属实")]


# --- the catalogue and the command line


def test_an_own_catalogue_adds_and_replaces_and_its_faults_are_named(tmp_path: Path) -> None:
    own = tmp_path / "views.toml"
    words = 'zh = "a"\nen = "a"\nreaders = "a"\npurpose = "a"\nbasis = "a"\n'
    own.write_text(f'[views.leads_a]\nsource = "leads"\ncolumns = ["id", "grade"]\n{words}', "utf-8")
    assert set(load_views(own)) == {*load_views(), "leads_a"}
    own.write_text(
        f'[views.x]\nsource = "cases"\ncolumns = ["number", "assignee", "salary"]\nwhere = {{ level = ["1"], state = "open" }}\n{words}'
        '[views.y]\nsource = "people"\n[views.z]\ncolumns = ["id"]\ncolour = "red"\n',
        "utf-8",
    )
    with pytest.raises(TableFaults) as told:
        load_views(own)
    keys = [fault.partition(":")[0] for fault in told.value.faults]
    assert keys[:4] == ["views.x.where.state", "views.x.columns", "views.x.columns", "views.x.where.level"]
    assert "assignee is personal data" in told.value.faults[1]
    assert {"views.y.source", "views.y.basis", "views.z.colour"} <= set(keys)
    own.write_text("[views", "utf-8")
    with pytest.raises(TableFaults, match=r"views\.toml"):
        load_views(own)


def test_the_command_line(office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*words: str) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        verb.add(parser)
        capsys.readouterr()
        code = verb.run(parser.parse_args([*words, "--data", str(tmp_path)]))
        return code, *capsys.readouterr()

    assert [json.loads(line)["name"] for line in told("list", "--json")[1].splitlines()] == list(load_views())
    assert "penalty_candidates" in told("list")[1]
    key = office.desk.create_key("dept", None, "admin")
    code, out, _ = told("grant", key["id"], "--view", "cases_open", "--district", "330102")
    assert (code, out) == (0, f"key {key['id']} reads cases_open: districts 330102\n")
    assert {row["site"] for row in office.rows("/cases_open", key)} == {"S1"}
    grants = [json.loads(line) for line in told("grants", "--json")[1].splitlines()]
    assert [(row["name"], row["views"]) for row in grants] == [("dept", ["cases_open"])]
    assert [json.loads(line)["rows"] for line in told("log", "cases_open", "--json")[1].splitlines()] == [1]
    assert told("grant", key["id"], "--view", "nothing")[0] == 1
    assert "there is no view nothing" in told("grant", key["id"], "--view", "nothing")[2]
    assert told("grant", key["id"])[1] == f"key {key['id']} reads nothing: all sites\n"


@pytest.mark.servers
def test_views_read_postgresql_too(office: Office, postgres: Any) -> None:
    url = postgres.emptied()
    database = Database(url, clock=office.clock)
    with Desk(url, clock=office.clock, migrate=False) as desk:
        desk.put_people([{"person": "admin", "name": "管理员", "role": "admin"}]) if not desk.people() else None
        desk.project(outputs(alert("a1", 1), alert("a2", 2, site="S2"), alert("a3", 3)))
        views = Views(database, load_views(), lambda: REGISTRY)
        key = desk.create_key("dept", None, "system")
        views.grant(key["id"], Grant(("alerts_by_site",), districts=("330102",)), "admin")
        reader = views.reader(key["secret"])
        assert reader is not None
        first = views.read(reader, "alerts_by_site", Ask(limit=1))
        second = views.read(reader, "alerts_by_site", Ask(limit=1, after=first.next or ""))
        assert [row["id"] for page in (first, second) for row in page.rows] == ["a3", "a1"]
        assert second.next is None
        views.note(reader, "alerts_by_site", Ask(), 1)
        assert views.readings()[0]["key"] == key["id"]
        assert desk.audit_verify().ok
    database.close()
