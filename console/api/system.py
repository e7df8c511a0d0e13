"""What is neither an alert, a lead nor a case: counts, books, people, devices, registry, live events, health."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import JSONResponse, Response, StreamingResponse

from connectors.core import ConnectorError
from console import sse
from console.ports import Parts, Row
from console.problems import Problem, missing

router = APIRouter(tags=["system"])


@router.get("/api/v1/summary")
def summary(parts: Parts) -> Row:
    """Return what the header shows: the counts, the clock, how far judging is behind, the newest event's id."""
    devices = parts.devices()
    offline = sum(1 for one in devices if one.get("online") is False)
    return {
        "title": parts.title,
        "counts": {**parts.desk.counts(), "devices": len(devices), "offline": offline},
        "clock": sse.heartbeat(parts),
        "last_event_id": parts.desk.last_event_id(),
    }


@router.get("/api/v1/books")
def books(parts: Parts) -> Row:
    """Return the books: received = accepted + duplicate + revised + late + refused, always (promise 4)."""
    return parts.books()


@router.get("/api/v1/people")
def people(parts: Parts) -> Row:
    """Return who may act."""
    return {"people": [dict(one) for one in parts.people()]}


@router.get("/api/v1/devices")
def devices(parts: Parts) -> Row:
    """Return the devices: mn, site, point, online, last_seen."""
    return {"devices": [dict(one) for one in parts.devices()]}


@router.get("/api/v1/sites/{site}")
def site(parts: Parts, site: str) -> Row:
    """Return the registry's entry of a site."""
    found = parts.registry(site)
    if not found:
        raise missing("site", site)
    return found


@router.get("/api/v1/events", response_class=StreamingResponse)
async def events(parts: Parts, last_event_id: Annotated[str | None, Header()] = None, after: str | None = None) -> Response:
    """Stream what changes (server-sent events). Reconnect with `Last-Event-ID`; `after` does the same for the first connection."""
    text = last_event_id if last_event_id is not None else after
    if text is not None and not text.isdecimal():
        raise Problem(422, f"Last-Event-ID {text!r} is not a number", "leave it out to hear only what is new")
    seen = None if text is None else int(text)
    return StreamingResponse(sse.stream(parts, seen), media_type="text/event-stream", headers=sse.HEADERS)


@router.get("/healthz")
def healthz() -> Row:
    """Say that the process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(parts: Parts) -> Response:
    """Say whether the desk's tables can be read; 503 with the reason if not."""
    try:
        parts.desk.last_event_id()
    except ConnectorError as error:
        return JSONResponse({"status": "not ready", "desk": str(error)}, 503)
    return JSONResponse({"status": "ready", **sse.heartbeat(parts)})
