"""Where reference data of other departments is fetched: a file, a folder of dated exports, or an HTTP service, whole or in pages.

Enters: a table of the settings (`kind` file, http or push). Leaves: the parts of one export, bytes as they came, each with its
place; all of it, or an error and nothing: half an export would end what its other half holds. A service that is busy, away or
cuts an answer short is asked again; what only a person can mend (a token, an address, JSON that is none) is Refused with its remedy.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, parse_qsl, urlencode, urljoin, urlsplit

import orjson

from connectors.core import CSV, JSON, Refused, Retry
from connectors.table import Table

KINDS = ("file", "http", "push")
PAGING = ("none", "page", "offset", "cursor", "link")
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
BY_SUFFIX: Mapping[str, str] = {".csv": CSV, ".txt": CSV, ".json": JSON, ".xlsx": XLSX, ".xlsm": XLSX}
LARGEST = 64 << 20
"""Bytes of one file or page."""
MOST_PAGES = 10_000
AGAIN = frozenset({408, 425, 429})
BACKOFF = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt of one request; a longer Retry-After counts, up to LONGEST."""
LONGEST = 60.0


@dataclass(frozen=True, slots=True)
class Part:
    """One file or page: its place as faults name it, what it is, and its bytes."""

    place: str
    content_type: str
    body: bytes


class Fetcher(Protocol):
    """What fetches one export."""

    def fetch(self) -> list[Part]:
        """Return all of it. Raises Retry (busy, away) or Refused (a person has to mend it)."""


@dataclass(frozen=True, slots=True)
class FileFetcher:
    """A file, or of several that a pattern names the last by name (exports carry their date in it)."""

    location: str

    def fetch(self) -> list[Part]:
        """Read the file."""
        found = sorted(glob(self.location)) or [self.location]  # noqa: PTH207 - the pattern may begin at the root
        path = Path(found[-1])
        kind = BY_SUFFIX.get(path.suffix.lower())
        if kind is None:
            raise Refused(f"{path}: its kind is not known by its name; name it {', '.join(BY_SUFFIX)}")
        try:
            if path.stat().st_size > LARGEST:
                raise Refused(f"{path}: has more than {LARGEST >> 20} MB; export less at once")
            return [Part(path.name, kind, path.read_bytes())]
        except FileNotFoundError as error:
            raise Refused(
                f"{self.location}: there is no such file; see that the export ran and where it puts its files"
            ) from error
        except OSError as error:
            raise Retry(f"{path}: cannot be read ({error}); see its permissions and its share", 60.0) from error


@dataclass(frozen=True, slots=True)
class Pages:
    """How a service gives its rows in pages. `rows` and `next` are paths in its JSON, such as `data.list`."""

    style: str = "none"
    parameter: str = "page"
    first: int = 1
    size_parameter: str = ""
    size: int = 0
    rows: str = ""
    next: str = ""


@dataclass(frozen=True, slots=True)
class HttpFetcher:
    """A service asked by GET. `headers` carry the token; `sleep` waits between attempts."""

    url: str
    headers: Mapping[str, str]
    pages: Pages
    sleep: Callable[[float], None]
    tls: ssl.SSLContext | None = None
    timeout: float = 30.0

    def fetch(self) -> list[Part]:
        """Ask for all pages, one after the other."""
        parts: list[Part] = []
        url: str | None = self._first()
        while url is not None:
            number = len(parts) + 1
            if number > MOST_PAGES:
                raise Refused(f"{self.url}: does not end after {MOST_PAGES} pages; check `paging` and `page_size`")
            answer = self._ask(url)
            parts.append(Part(f"page-{number}" if self.pages.style != "none" else "answer", answer.content_type, answer.body))
            if number > 1 and answer.body == parts[-2].body and self.pages.style in {"page", "offset", "cursor"}:
                raise Refused(f"{self.url}: page {number} is page {number - 1} again; check `page_parameter` and `next`")
            url = self._next(url, number, answer)
        return parts

    def _first(self) -> str:
        pages = self.pages
        more = {pages.size_parameter: str(pages.size)} if pages.size_parameter and pages.size else {}
        if pages.style in {"page", "offset"}:
            more[pages.parameter] = str(pages.first)
        return with_query(self.url, more)

    def _next(self, url: str, number: int, answer: _Answer) -> str | None:
        """Return the address of the page after `number`, None after the last."""
        pages = self.pages
        if pages.style == "none":
            return None
        if pages.style == "link":
            return self._linked(url, answer.link)
        found = self._json(answer, number)
        if pages.style == "cursor":
            cursor = at(found, pages.next)
            return with_query(url, {pages.parameter: str(cursor)}) if cursor not in (None, "", False) else None
        rows = at(found, pages.rows)
        if not isinstance(rows, list):
            raise Refused(
                f"{self.url}: page {number} has no list at {pages.rows or 'its top'!r}; name the list's place as `rows`"
            )
        if not rows or len(rows) < pages.size:
            return None
        step = 1 if pages.style == "page" else pages.size or len(rows)
        return with_query(url, {pages.parameter: str(pages.first + number * step)})

    def _json(self, answer: _Answer, number: int) -> Any:
        try:
            return orjson.loads(answer.body)
        except orjson.JSONDecodeError as error:
            raise Refused(f"{self.url}: page {number} is no JSON ({error}); ask its owner, nothing was taken") from error

    def _linked(self, url: str, link: str) -> str | None:
        """Return where `Link: <…>; rel="next"` (RFC 8288) leads. Never to another host: the token is for this one."""
        for one in link.split(","):
            target, _, more = one.partition(";")
            if 'rel="next"' in more.replace(" ", "") or "rel=next" in more.replace(" ", ""):
                following = urljoin(url, target.strip().strip("<>"))
                if urlsplit(following)[:2] != urlsplit(self.url)[:2]:
                    raise Refused(f"{self.url}: its next page is on another host ({following}); the token is not sent there")
                return following
        return None

    def _ask(self, url: str) -> _Answer:
        """Make one request, again while the service is busy. Raises Retry after the last attempt, or Refused."""
        for pause in (*BACKOFF, None):
            try:
                return self._once(urlsplit(url))
            except Retry as error:
                if pause is None:
                    raise
                self.sleep(min(max(pause, error.after), LONGEST))
        raise AssertionError("the last attempt returns or raises")

    def _once(self, url: SplitResult) -> _Answer:
        host, port = url.hostname or "", url.port or (443 if self.tls else 80)
        connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection(host, port, context=self.tls, timeout=self.timeout)
            if self.tls
            else http.client.HTTPConnection(host, port, timeout=self.timeout)
        )
        with contextlib.closing(connection):
            try:
                connection.request("GET", (url.path or "/") + (f"?{url.query}" if url.query else ""), headers=dict(self.headers))
                response = connection.getresponse()
                body = response.read(LARGEST + 1)
            except (OSError, http.client.HTTPException) as error:
                raise Retry(f"{host}:{port} does not answer ({error!r}); see that the service runs", 0.0) from error
        if response.status != http.client.OK:
            raise _problem(f"{host}:{port}{url.path}", response)
        if len(body) > LARGEST or (response.length or 0) > 0:
            if len(body) > LARGEST:
                raise Refused(f"{host}:{port}{url.path}: answers with more than {LARGEST >> 20} MB; use `paging`")
            raise Retry(f"{host}:{port}{url.path}: the answer was cut short", 0.0)
        kind = (response.headers.get("content-type") or "").partition(";")[0].strip().lower()
        return _Answer(BY_TYPE.get(kind, kind), body, response.headers.get("link") or "")


BY_TYPE: Mapping[str, str] = {
    "text/json": JSON,
    "text/plain": CSV,
    "application/csv": CSV,
    "application/vnd.ms-excel.sheet.macroenabled.12": XLSX,
}
"""Other names of what can be read."""


@dataclass(frozen=True, slots=True)
class _Answer:
    content_type: str
    body: bytes
    link: str = field(default="")


def _problem(place: str, response: http.client.HTTPResponse) -> Retry | Refused:
    """Name a status by the reaction it demands."""
    status = response.status
    if status in AGAIN or status >= 500:
        after = response.headers.get("retry-after", "")
        return Retry(f"{place}: answers {status}; it is tried again", float(after) if after.isdecimal() else 0.0)
    remedy = {401: "give a valid token", 403: "ask its owner to let this token read it", 404: "check `location`"}
    moved = f"put {response.headers.get('location')} as `location`" if 300 <= status < 400 else "ask its owner"
    return Refused(f"{place}: answers {status}; {remedy.get(status, moved)}")


def with_query(url: str, more: Mapping[str, str]) -> str:
    """Return an address with these parameters in its query, those of the same name replaced.

    >>> with_query("http://h/a?x=1&page=1", {"page": "2"})
    'http://h/a?x=1&page=2'
    """
    parts = urlsplit(url)
    kept = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k not in more]
    return parts._replace(query=urlencode([*kept, *more.items()])).geturl() if more else url


def at(found: Any, path: str) -> Any:
    """Return what stands at a path of JSON objects, None where there is nothing.

    >>> at({"data": {"list": [1]}}, "data.list"), at([1], ""), at({}, "a.b")
    ([1], [1], None)
    """
    for name in filter(None, path.split(".")):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def fetcher_of(table: Table, kind: str, sleep: Callable[[float], None]) -> Fetcher | None:
    """Read the keys that say where a source is; None for one that is pushed. Faults are noted in the table."""
    if kind == "push":
        return None
    location = table.text("location")
    return FileFetcher(location) if kind == "file" else _http(table, location, sleep)


def _http(table: Table, url: str, sleep: Callable[[float], None]) -> HttpFetcher:
    secure = urlsplit(url).scheme == "https"
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        table.fault("location", f"{url!r} is no address; write http://… or, better, https://…")
    token, header = table.secret("token").decode("utf-8", "replace"), table.text("token_header", "Authorization")
    headers = {"Accept": f"{JSON}, {CSV}, {XLSX}", "User-Agent": "offsite", **table.options("headers")}
    if token:
        headers[header] = f"Bearer {token}" if header.lower() == "authorization" else token
    style = table.choice("paging", PAGING, "none")
    pages = Pages(
        style,
        table.text("page_parameter", {"offset": "offset", "cursor": "cursor"}.get(style, "page")),
        table.whole("page_first", 0 if style == "offset" else 1, 0, 1 << 30),
        table.text("page_size_parameter", ""),
        table.whole("page_size", 0, 0, 1_000_000),
        table.text("rows", ""),
        table.text("next", ""),
    )
    if style == "cursor" and not pages.next:
        table.fault("next", "is missing; give the path of the cursor in the answer, such as data.next")
    ca, tls = table.path("ca"), None
    try:
        tls = ssl.create_default_context(cafile=ca) if secure else None
    except OSError as error:
        table.fault("ca", f"{ca} holds no certificates: {error}; give a PEM file")
    return HttpFetcher(url, headers, pages, sleep, tls, table.number("timeout", 30.0, 0.1, 600.0))


def pieces(parts: list[Part]) -> Iterator[bytes]:
    """Yield what identifies an export: the bytes of its parts, with their lengths between."""
    for part in parts:
        yield len(part.body).to_bytes(8, "big")
        yield part.body
