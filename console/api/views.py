"""Views for other departments on the ingest port, where API keys are known: `/api/v1/views` and `/api/v1/views/NAME`.

Enters: GET with a key; `site`, `from`, `to`, `after`, `limit`, and `format` or Accept (JSON, CSV). Leaves: a page of the rows that the
key was granted, with an ETag and the address of the next page; the reading is in the audit before a byte leaves. Problems are
problem+json and say what to do.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cases.view_rows import MOST, Ask, Page
from cases.views import Reader, Views
from connectors.core import CSV, JSON, Refused
from connectors.http import Ingest, key_of
from connectors.http_body import Problem

KNOWN = frozenset({"site", "from", "to", "after", "limit", "format"})
RISKY = ("=", "+", "-", "@", "\t", "\r")
"""A text that begins so is a formula to a spreadsheet; it is given a quote in front."""


def view_routes(views: Views) -> Callable[[Ingest], Sequence[BaseRoute]]:
    """Return the routes to mount on the ingest port (`more` of `ingest_app`)."""

    def routes(ingest: Ingest) -> Sequence[BaseRoute]:
        async def catalogue(request: Request) -> Response:
            return await ingest.answer(lambda: _catalogue(ingest, views, request))

        async def view(request: Request) -> Response:
            return await ingest.answer(lambda: _view(ingest, views, request))

        return [Route("/api/v1/views", catalogue, methods=["GET"]), Route("/api/v1/views/{name}", view, methods=["GET"])]

    return routes


async def _reader(ingest: Ingest, views: Views, request: Request) -> Reader:
    key = key_of(request)
    ingest.caller(key)
    reader = await asyncio.to_thread(views.reader, key)
    if reader is None:
        raise Problem(401, "Unknown key", "Send 'Authorization: Bearer KEY' with a key that is not revoked.")
    return reader


async def _catalogue(ingest: Ingest, views: Views, request: Request) -> Response:
    reader = await _reader(ingest, views, request)
    return Response(orjson.dumps({"views": views.listed(reader)}), media_type=JSON)


async def _view(ingest: Ingest, views: Views, request: Request) -> Response:
    reader, name = await _reader(ingest, views, request), str(request.path_params["name"])
    ask, as_csv = _asked(request), _wants_csv(request)
    try:
        page = await asyncio.to_thread(views.read, reader, name, ask)
    except Refused as error:
        granted = any(one["name"] == name for one in views.listed(reader))
        raise Problem(422 if granted else 403, "Not so" if granted else "Not granted", f"{error}.") from error
    body = _csv(views.views[name].columns, page) if as_csv else orjson.dumps({"view": name, "rows": page.rows, "next": page.next})
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept, Authorization"}
    if page.next is not None:
        following = request.url.include_query_params(after=page.next)
        headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    same = tag in {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
    await asyncio.to_thread(views.note, reader, name, ask, 0 if same else len(page.rows))
    if same:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=f"{CSV}; charset=utf-8" if as_csv else JSON)


def _asked(request: Request) -> Ask:
    """Read the query. Raises Problem 422 for what is not known: a filter that is overlooked would let too much leave."""
    query = request.query_params
    unknown = sorted(set(query) - KNOWN)
    if unknown:
        raise Problem(422, "Unknown parameter", f"{', '.join(unknown)}: known are {', '.join(sorted(KNOWN))}.")
    limit = query.get("limit", "1000")
    if not limit.isdecimal() or not 1 <= int(limit) <= MOST:
        raise Problem(422, "Limit out of range", f"limit has to be 1 to {MOST}; page through the rest by `next`.")
    site, start, end, after = (query.get(name, "") for name in ("site", "from", "to", "after"))
    return Ask(site, start, end, after, int(limit))


def _wants_csv(request: Request) -> bool:
    form = request.query_params.get("format", "")
    if form not in {"", "csv", "json"}:
        raise Problem(422, "Unknown format", "format is csv or json.")
    return form == "csv" or (not form and CSV in request.headers.get("accept", ""))


def _csv(columns: Sequence[str], page: Page) -> bytes:
    """Return a page as CSV in UTF-8 with BOM, so that spreadsheets show Chinese."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(row[column]) for column in columns] for row in page.rows)
    return text.getvalue().encode("utf-8-sig")


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(RISKY) else value
    return orjson.dumps(value).decode() if isinstance(value, bool | list | dict) else value
