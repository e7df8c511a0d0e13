"""Fetching reference data from a real HTTP server and from files: whole or not at all, and every refusal says what to do."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors.core import CSV, JSON, Refused, Retry
from connectors.reference import XLSX, FileFetcher, Part, fetcher_of
from connectors.table import Table, TableFaults

Answer = tuple[int, dict[str, str], bytes]
ROWS = [{"id": str(k)} for k in range(5)]


class Service:
    """A service that answers GET as told; `asked` holds path, query and headers of every request."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.answer: Callable[[str, dict[str, str]], Answer] = lambda path, query: (200, {}, b"[]")
        own = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {k: v[0] for k, v in parse_qs(parts.query).items()}
                own.asked.append((parts.path, query, {k.lower(): v for k, v in self.headers.items()}))
                status, headers, body = own.answer(parts.path, query)
                self.send_response(status)
                for name, value in {"content-type": JSON, "content-length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01])
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/api"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


def fetch(service: Service, slept: list[float] | None = None, **more: Any) -> list[Part]:
    values = {"kind": "http", "name": "x", "location": service.url, **more}
    table = Table(values, "reference[0]", lambda reference: f"secret of {reference}".encode())
    fetcher = fetcher_of(table, "http", ([] if slept is None else slept).append)
    table.done()
    assert fetcher is not None
    return fetcher.fetch()


def paged(path: str, query: dict[str, str]) -> Answer:
    """Pages of two rows, by number, offset or cursor."""
    start = int(query.get("after") or query.get("offset") or (int(query.get("page", "1")) - 1) * 2)
    more = {"next": str(start + 2)} if start + 2 < len(ROWS) else {"next": None}
    return 200, {}, json.dumps({"data": {"list": ROWS[start : start + 2], **more}}).encode()


def rows(parts: list[Part]) -> list[Any]:
    return [row for part in parts for row in json.loads(part.body)["data"]["list"]]


@pytest.mark.parametrize(
    "paging",
    [
        {"paging": "page", "page_size": 2, "page_size_parameter": "size"},
        {"paging": "offset", "page_size": 2},
        {"paging": "cursor", "page_parameter": "after", "next": "data.next"},
    ],
)
def test_all_pages_are_fetched_with_the_token(service: Service, paging: dict[str, Any]) -> None:
    service.answer = paged
    parts = fetch(service, rows="data.list", token="env:T", headers={"X-App": "7"}, **paging)
    assert rows(parts) == ROWS
    assert [part.place for part in parts] == ["page-1", "page-2", "page-3"]
    assert {headers["authorization"] for _, _, headers in service.asked} == {"Bearer secret of env:T"}
    assert {headers["x-app"] for _, _, headers in service.asked} == {"7"}
    assert {query.get("size") for _, query, _ in service.asked} == {"2" if "page_size_parameter" in paging else None}


def test_links_are_followed_on_the_same_host_only(service: Service) -> None:
    def linked(path: str, query: dict[str, str]) -> Answer:
        link = {} if query else {"link": '</api?p=2>; rel="next", </api>; rel="first"'}
        return 200, {"content-type": "text/csv; charset=utf-8", **link}, f"page {query}".encode()

    service.answer = linked
    assert [part.body for part in fetch(service, paging="link")] == [b"page {}", b"page {'p': '2'}"]
    service.answer = lambda path, query: (200, {"link": '<http://other.invalid/api>; rel="next"'}, b"[]")
    with pytest.raises(Refused, match=r"another host.*the token is not sent there"):
        fetch(service, paging="link", token="env:T")


def test_a_busy_service_is_asked_again_and_may_say_when(service: Service) -> None:
    answers: list[Answer] = [(500, {}, b""), (429, {"retry-after": "7"}, b""), (200, {}, b"[]")]
    service.answer = lambda path, query: answers.pop(0)
    slept: list[float] = []
    assert [part.body for part in fetch(service, slept)] == [b"[]"]
    assert slept == [1.0, 7.0]


def test_an_answer_cut_short_is_asked_for_again(service: Service) -> None:
    answers: list[Answer] = [(200, {"content-length": "100", "connection": "close"}, b"[1,"), (200, {}, b"[1]")]
    service.answer = lambda path, query: answers.pop(0)
    assert [part.body for part in fetch(service, timeout=5.0)] == [b"[1]"]


def test_a_service_that_stays_away_is_a_retry_and_nothing_is_taken(service: Service) -> None:
    service.answer = lambda path, query: (503, {}, b"") if query["page"] == "2" else paged(path, query)
    slept: list[float] = []
    with pytest.raises(Retry, match="answers 503"):
        fetch(service, slept, rows="data.list", paging="page", page_size=2)
    assert slept == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize(
    ("answer", "more", "words"),
    [
        ((401, {}, b""), {}, "answers 401; give a valid token"),
        ((403, {}, b""), {}, "let this token read it"),
        ((404, {}, b""), {}, "check `location`"),
        ((302, {"location": "https://new.invalid/api"}, b""), {}, "put https://new.invalid/api as `location`"),
        ((200, {}, b'{"data": {"li'), {"paging": "page", "rows": "data.list"}, r"page 1 is no JSON.*nothing was taken"),
        ((200, {}, b'{"data": []}'), {"paging": "page", "rows": "data.list"}, "no list at 'data.list'"),
        ((200, {}, b'{"data": [1]}'), {"paging": "page", "rows": "data"}, "page 2 is page 1 again"),
        ((200, {}, b'{"next": "x"}'), {"paging": "cursor", "next": "next"}, "page 2 is page 1 again"),
    ],
)
def test_what_only_a_person_can_mend_is_refused(service: Service, answer: Answer, more: dict[str, Any], words: str) -> None:
    service.answer = lambda path, query: answer
    with pytest.raises(Refused, match=words):
        fetch(service, **more)
    assert len(service.asked) <= 2


def test_the_faults_of_a_table_are_named() -> None:
    table = Table({"location": "ftp://x", "paging": "cursor", "ca": __file__}, "reference[0]", lambda _: b"")
    fetcher_of(table, "http", lambda _: None)
    with pytest.raises(TableFaults) as told:
        table.done()
    assert [fault.partition(":")[0] for fault in told.value.faults] == ["reference[0].location", "reference[0].next"]


def test_of_several_files_the_last_by_name_counts(tmp_path: Path) -> None:
    for day, body in (("0301", b"old"), ("0302", b"new")):
        (tmp_path / f"permits-2026{day}.xlsx").write_bytes(body)
    assert FileFetcher(f"{tmp_path}/permits-*.xlsx").fetch() == [Part("permits-20260302.xlsx", XLSX, b"new")]
    (tmp_path / "a.CSV").write_bytes(b"x")
    assert FileFetcher(str(tmp_path / "a.CSV")).fetch()[0].content_type == CSV


def test_a_file_that_is_not_there_or_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="there is no such file; see that the export ran"):
        FileFetcher(str(tmp_path / "x-*.csv")).fetch()
    (tmp_path / "x.doc").touch()
    with pytest.raises(Refused, match="its kind is not known by its name"):
        FileFetcher(str(tmp_path / "x.doc")).fetch()
