"""The console's files, served from the package: no build, no network, one exact policy.

Enters: a path. Leaves: the file with its type and an entity tag, or 404. Everything is read once at start: about 300 KB.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.problems import Problem

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
}
INLINE = re.compile(rb"<script type=\"importmap\">(.*?)</script>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Page:
    """One file as it is sent."""

    body: bytes
    media_type: str
    etag: str


def load() -> dict[str, Page]:
    """Read every file of `console/web`, by its path below it."""
    pages: dict[str, Page] = {}
    _collect(files("console") / "web", "", pages)
    return pages


def _collect(folder: Traversable, prefix: str, pages: dict[str, Page]) -> None:
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.is_dir():
            _collect(entry, name + "/", pages)
        elif (kind := TYPES.get(name[name.rfind(".") :])) is not None:
            body = entry.read_bytes()
            pages[name] = Page(body, kind, f'"{hashlib.sha256(body).hexdigest()[:20]}"')


def policy(pages: dict[str, Page]) -> str:
    """Return the Content-Security-Policy: this origin only, and the one inline import map by its hash (CSP Level 3)."""
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'"
        for text in INLINE.findall(pages["index.html"].body)
    ]
    return "; ".join(
        (
            "default-src 'self'",
            " ".join(["script-src 'self'", *hashes]),
            "img-src 'self' data:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def router(pages: dict[str, Page]) -> APIRouter:
    """Return the routes of the pages: `/` and `/web/…`."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    def index(request: Request) -> Response:
        return answer(pages["index.html"], request)

    @routes.get("/web/{path:path}")
    def file(path: str, request: Request) -> Response:
        page = pages.get(path)
        if page is None:
            raise Problem(404, f"there is no page {path!r}", "open /")
        return answer(page, request)

    return routes


def answer(page: Page, request: Request) -> Response:
    """Return the file, or 304 where the browser already has this version."""
    headers = {"ETag": page.etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == page.etag:
        return Response(status_code=304, headers=headers)
    return Response(page.body, media_type=page.media_type, headers=headers)
