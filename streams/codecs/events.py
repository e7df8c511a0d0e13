"""Video, door and context events as JSON or NDJSON (design §3, Event; rules §E).

Enters: the bytes of a message. Leaves: events and rejects. Both the product's own form (`id, kind, site, point?, start, end?, by?,
at?, body`) and that of a camera platform (rules E.2: `event_id, event_type, occurred_at …`) are read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from connectors.core import JSON, NDJSON, Refused
from streams.codecs.json_ import body_of
from streams.codecs.rows import NO_ENVELOPE, Envelope, Fault, as_bytes, check_name, format_time, parse_time, refusal
from streams.model import Event, Reject

REASONS = (
    "missing_field",
    "bad_time",
    "bad_name",
    "bad_json",
    "not_utf8",
    "wrong_type",
    "unknown_kind",
    "end_before_start",
    "wrong_key",
)
"""Why an event is refused."""

Fields = dict[str, tuple[type, ...]]
NUMBER, TEXT, LIST = (int, float), (str,), (list,)
_CAMERA: Fields = {
    "confidence": NUMBER,
    "channel_id": TEXT,
    "snapshot_uri": TEXT,
    "clip_uri": TEXT,
    "objects": LIST,
    "zone": LIST,
}
_DOOR: Fields = {"card": TEXT, "person": TEXT, "door_state": TEXT, "method": TEXT, "work_order_id": TEXT}

KINDS: dict[str, Fields] = {
    **dict.fromkeys(
        (
            *("stream_offline", "stream_online", "occlusion", "intrusion", "loitering", "probe_operation", "manual_sampling"),
            *("smoke_plume_change", "straw_burning", "construction_dust", "wastewater_visual_anomaly", "illegal_dump"),
            *("production_evidence", "ai_linkage"),
        ),
        _CAMERA,
    ),
    "black_smoke": {**_CAMERA, "ringelmann": NUMBER, "duration_s": NUMBER},
    "vehicle_black_smoke": {**_CAMERA, "ringelmann": NUMBER, "plate": TEXT, "lane": TEXT},
    **dict.fromkeys(("door_open", "door_close", "door_alarm", "door_forced", "door_left_open"), _DOOR),
    "run_state": {"device": TEXT, "state": TEXT},
    "mark": {"mark": TEXT, "reason": TEXT, "factors": LIST},
    "work_order": {"order": TEXT, "person": TEXT, "task": TEXT},
    "calibration": {"factor": TEXT, "result": TEXT, "drift": NUMBER},
    "emergency_order": {"order": TEXT, "level": (*NUMBER, *TEXT), "measures": (*LIST, *TEXT)},
    "suppression": {"rule": TEXT, "reason": TEXT},
    "verdict": {"alert": TEXT, "lead": TEXT, "verdict": TEXT},
    "rectification": {"case": TEXT, "state": TEXT},
}
"""Kind → the body's known fields and their JSON types (rules E.1, E.2, §D, A.1 layer 2); other fields are kept unchecked."""

REQUIRED: dict[str, tuple[str, ...]] = {
    "run_state": ("device", "state"),
    "mark": ("mark",),
    "work_order": ("order",),
    "calibration": ("factor",),
    "emergency_order": ("order",),
    "suppression": ("reason",),
}
"""What a kind's body cannot do without."""

_OWN = {"id", "kind", "site", "point", "start", "end", "by", "at", "body"}
_PLATFORM = {
    "event_id": "id",
    "event_type": "kind",
    "occurred_at": "start",
    "end_at": "end",
    "enterprise_code": "site",
    "outlet_code": "point",
    "source": "by",
}
DOORS: dict[str, str] = {"open": "door_open", "close": "door_close", "alarm": "door_alarm", "forced": "door_forced"}
"""Words of door controllers → kinds."""


def decode_events(content_type: str, body: bytes, *, envelope: Envelope = NO_ENVELOPE) -> tuple[list[Event], list[Reject]]:
    """Decode JSON (object or array) or NDJSON; raises Refused for another content type. Rejects carry the row's number.

    Events of another site than `envelope.key` are refused; an event may lie ahead of log time (a suppression, a work order).
    """
    kind = content_type.split(";", 1)[0].strip().lower()
    if kind not in (JSON, NDJSON):
        raise Refused(f"content type {content_type!r} carries no events; send {JSON} or {NDJSON}")
    whole = body_of(body, lines=kind == NDJSON)
    events: list[Event] = []
    rejects: list[Reject] = []
    for number, row in enumerate(whole.rows):
        if isinstance(row, Fault):
            rejects.append(refusal(row, whole.texts[number], number, -1, int(whole.lines)))
            continue
        try:
            events.append(_event(row, envelope))
        except Fault as fault:
            rejects.append(refusal(fault, whole.texts[number] if whole.lines else as_bytes(row), number, -1))
    return events, rejects


def encode_event(event: Event) -> dict[str, Any]:
    """Return an event as the object of the contract, times RFC 3339 in +08:00, absent fields left out."""
    fields = {"id": event.id, "kind": event.kind, "site": event.site, "point": event.point, "start": format_time(event.start)}
    end = None if event.end is None else format_time(event.end)
    return {k: v for k, v in {**fields, "end": end, "by": event.by, "body": dict(event.body)}.items() if v is not None}


def _event(row: Any, envelope: Envelope) -> Event:
    if not isinstance(row, Mapping):
        raise Fault("wrong_type", f"an event must be an object, not {type(row).__name__}")
    own = _own_form(row)
    kind = own.get("kind")
    if kind is None:
        raise Fault("missing_field", "kind is missing")
    if not isinstance(kind, str):
        raise Fault("wrong_type", f"kind must be text, not {type(kind).__name__}")
    kind = DOORS.get(kind, kind)
    if kind not in KINDS:
        raise Fault("unknown_kind", f"kind {kind[:40]!r} is not one of {', '.join(KINDS)}")
    site = envelope.check_site(own.get("site"))
    point = None if own.get("point") is None else check_name("point", own["point"])
    start = _time(own, "start", required=True)
    end = _time(own, "end")
    assert start is not None
    if end is not None and end < start:
        raise Fault("end_before_start", "end lies before start")
    by = own.get("by")
    if by is not None and not isinstance(by, str):
        raise Fault("wrong_type", f"by must be text, not {type(by).__name__}")
    body = _body(kind, own.get("body", {}))
    if own.get("at") is not None:
        body = {**body, "at": own["at"]}
    named = None if own.get("id") is None else check_name("id", own["id"])
    return Event(named or _content_id(site, kind, point, start, body), kind, site, start, end, point, by, body)


def _own_form(row: Mapping[str, Any]) -> dict[str, Any]:
    """Rename a platform's fields; what is no field of an event goes into the body."""
    own = {_PLATFORM.get(name, name): value for name, value in row.items()}
    rest = {name: value for name, value in own.items() if name not in _OWN and value is not None}
    body = own.get("body", {})
    if rest and isinstance(body, Mapping):
        own["body"] = {**rest, **body}
    return {name: value for name, value in own.items() if name in _OWN}


def _time(own: Mapping[str, Any], name: str, *, required: bool = False) -> int | None:
    text = own.get(name)
    if text is None or text == "":
        if required:
            raise Fault("missing_field", f"{name} is missing")
        return None
    if not isinstance(text, str):
        raise Fault("bad_time", f"{name} must be text; write 2026-11-23T10:00:00+08:00")
    return parse_time(text)


def _body(kind: str, body: Any) -> dict[str, Any]:
    if not isinstance(body, Mapping):
        raise Fault("wrong_type", f"body must be an object, not {type(body).__name__}")
    for name in REQUIRED.get(kind, ()):
        if body.get(name) is None:
            raise Fault("missing_field", f"body.{name} is missing; kind {kind} needs it")
    for name, types in KINDS[kind].items():
        value = body.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, types)):
            raise Fault("wrong_type", f"body.{name} must be {' or '.join(t.__name__ for t in types)}, not {type(value).__name__}")
    return dict(body)


def _content_id(site: str, kind: str, point: str | None, start: int, body: Mapping[str, Any]) -> str:
    """Return the first 16 bytes, in hex, of SHA-256 over what the event says: the same event sent twice is one event."""
    parts = [site, kind, point, start, json.dumps(body, ensure_ascii=False, sort_keys=True)]
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
