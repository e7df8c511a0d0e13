"""The way in for departments that push: `POST /api/v1/reference/SOURCE` with a whole export as CSV, XLSX or JSON.

Enters: a body within the limits of ingest, with a key that the source names. Leaves: 200 and what became of its rows, once all of
it is durable; 422 with every fault if it was refused as a whole, then nothing has changed. It knows no meaning: `take` is handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from connectors.core import CSV, JSON, Refused
from connectors.http import Ingest, key_of
from connectors.http_body import Problem, inflate
from connectors.reference import XLSX, Part

Take = Callable[[str, str, Part], Mapping[str, Any]]
"""(source, who sends, the export) → the books of the import; raises Refused (with `faults` if rows were at fault), Retry or Lost."""
KINDS = (CSV, JSON, XLSX)
LARGEST = 64 << 20


def push_routes(allowed: Callable[[str], Sequence[str] | None], take: Take) -> Callable[[Ingest], Sequence[BaseRoute]]:
    """Return the routes to mount on the ingest port (`more` of `ingest_app`).

    `allowed(source)`: the ids of the keys that may push it, None for a source that nobody may push.
    """

    def routes(ingest: Ingest) -> Sequence[BaseRoute]:
        async def push(request: Request) -> Response:
            return await ingest.answer(lambda: _push(ingest, request, allowed, take))

        return [Route("/api/v1/reference/{source}", push, methods=["POST"])]

    return routes


async def _push(ingest: Ingest, request: Request, allowed: Callable[[str], Sequence[str] | None], take: Take) -> Response:
    name = str(request.path_params["source"])
    caller = ingest.caller(key_of(request)).name
    keys = allowed(name)
    if keys is None:
        raise Problem(404, "Unknown source", f"There is no source {name!r} of kind push: see [[reference]] of the settings.")
    if not any(caller.endswith(f"({key})") for key in keys):
        raise Problem(403, "Not your source", f"This key may not send {name}: add its id to `keys` of that source.")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in KINDS:
        raise Problem(415, "Unknown content type", f"Send one of: {', '.join(KINDS)}.", {"Accept-Post": ", ".join(KINDS)})
    sent = await ingest.body(request, LARGEST)
    body = await asyncio.to_thread(inflate, sent, request.headers.get("content-encoding", ""), LARGEST)
    try:
        books = await asyncio.to_thread(take, name, caller, Part("push", content_type, body))
    except Refused as error:
        faults = list(getattr(error, "faults", ()))
        words = f"{error}. Nothing has changed; correct it and send all of it again."
        raise Problem(422, "Export refused", words, extra={"faults": faults}) from error
    return Response(orjson.dumps(books), 200, media_type=JSON)
