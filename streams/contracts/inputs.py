"""Schemas of what comes in: readings, events, and the records of `context`.

Enters: the tables by which the decoders check. Leaves: one document a kind of message. What a schema cannot say (an end before its
start, another site's key, a time ahead of log time) stands in its description; `offsite selftest` checks all of it.
"""

from __future__ import annotations

from typing import Any

import orjson

from connectors.hj212.commands import REQUESTS
from streams.codecs.events import DOORS, KINDS, REQUIRED
from streams.codecs.rows import FLAGS
from streams.contracts.parts import (
    COUNT,
    END,
    MILLISECONDS,
    NAME,
    NUMBER,
    TEXT,
    TIME,
    Schema,
    document,
    nullable,
    objects,
    told,
)
from streams.model import PERIODS, STATS
from streams.records import ANSWER, answer_record, plan_record, registry_record, tick_record
from streams.registry_model import Point, Registry, Site
from streams.topics import INPUTS

READING_EXAMPLE = {
    "site": "S0001",
    "point": "DA001",
    "factor": "a21026",
    "time": "2026-11-25T03:40:00+08:00",
    "period": "minute",
    "stat": "avg",
    "value": 12.5,
    "flag": "N",
}
_LETTERS = " ".join(letter for letter in FLAGS if letter)
_STAT = {"type": "string", "pattern": f"^[A-Za-z0-9_]{{0,32}}{END}"}
_JSON_TYPES = {int: "number", float: "number", str: "string", list: "array"}


def reading() -> Schema:
    """Return the schema of one Reading."""
    properties = {
        "site": told(NAME, "the site; also the key of the message"),
        "point": NAME,
        "factor": told(NAME, "pollutant code of HJ 212-2017 Annex B, or any name"),
        "time": told(TIME, "start of the period, or the instant for realtime; RFC 3339 with an offset"),
        "period": {"type": "string", "enum": list(PERIODS)},
        "stat": told(nullable(_STAT), f"{', '.join(STATS)}; default rtd for realtime, else avg"),
        "value": told(NUMBER, "in the unit in which the factor is registered"),
        "flag": told(nullable(TEXT), f"one of {_LETTERS} or empty; any other makes the value not usable"),
        "unit": {"description": "read over: the registry says the unit"},
        "revision": {"description": "read over"},
    }
    required = ("site", "point", "factor", "time", "period", "value")
    words = "One value of one series. Fields it does not name are read over. Rows too far ahead of log time, and rows of another site than the message's key, are refused too."
    body = objects(properties, required=required, more=True)
    return document("reading", "Reading", words, body, [READING_EXAMPLE])


def readings() -> Schema:
    """Return the schema of a JSON message of readings."""
    one = {"$ref": "reading.schema.json"}
    words = "A message of application/json: one Reading or an array of them, of one site. A faulty row is refused, the others are kept. In application/x-ndjson each line is a Reading."
    later = READING_EXAMPLE | {"time": "2026-11-25T03:41:00+08:00", "value": 12.75}
    examples = [READING_EXAMPLE, [READING_EXAMPLE, later]]
    return document("readings", "Readings", words, {"anyOf": [one, {"type": "array", "items": one}]}, examples)


def event() -> Schema:
    """Return the schema of an event, its body by kind."""
    kinds = [*KINDS, *DOORS]
    properties = {
        "id": told(nullable(NAME), "made from the content where it is not given"),
        "kind": {"type": "string", "enum": kinds},
        "site": told(NAME, "the site; also the key of the message"),
        "point": nullable(NAME),
        "start": TIME,
        "end": {"anyOf": [TIME, {"enum": [None, ""]}], "description": "not before start"},
        "by": nullable(TEXT),
        "at": {"description": "when or where it was seen, in the sender's words; kept in the body"},
        "body": {"type": "object"},
    }
    body = objects(properties, required=("kind", "site", "start"), more=True) | {"allOf": [_of_kind(kind) for kind in kinds]}
    words = "A video, door or context event. Fields it does not name go into the body; the names of camera platforms (event_id, event_type, occurred_at, end_at, enterprise_code, outlet_code, source) are read too."
    return document("event", "Event", words, body, [_event_example(kind) for kind in ("intrusion", "door_open", "mark")])


def _of_kind(kind: str) -> Schema:
    own = DOORS.get(kind, kind)
    fields = {name: {"type": sorted({_JSON_TYPES[of] for of in types})} for name, types in KINDS[own].items()}
    needed = REQUIRED.get(own, ())
    properties = {name: schema if name in needed else nullable(schema) for name, schema in fields.items()}
    then: Schema = {"properties": {"body": objects(properties, required=needed, more=True)}}
    if needed:
        then["required"] = ["body"]
    return {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": then}


def _event_example(kind: str) -> dict[str, Any]:
    bodies = {
        "intrusion": {"confidence": 0.9},
        "door_open": {"card": "A17"},
        "mark": {"mark": "maintenance", "factors": ["a21026"]},
    }
    return {"kind": kind, "site": "S0001", "point": "DA001", "start": "2026-11-25T10:00:00+08:00", "body": bodies[kind]}


def context() -> Schema:
    """Return the schema of a record of `context`."""
    controls = {
        "tick": objects({"kind": {"const": "tick"}, "now": MILLISECONDS, "ends": _ENDS}, required=("kind", "now"), more=True),
        "registry": objects(
            {
                "kind": {"const": "registry"},
                "text": told(TEXT, "registry.schema.json, as text"),
                "adopted": {"type": "array", "items": NAME},
            },
            required=("kind", "text"),
            more=True,
        ),
        "plan": objects({"kind": {"const": "plan"}, "hash": TEXT}, more=True),
        ANSWER: objects(
            {"kind": {"const": ANSWER}, "tick": MILLISECONDS, "excused": {"type": "array", "items": _EXCUSED}}, more=True
        ),
    }
    said = objects(
        {"id": TEXT, "seq": COUNT, "kind": {"enum": ["verdict"]}, "site": NAME, "at": TIME, "body": {"type": "object"}},
        required=("id", "kind", "site", "at", "body"),
        more=True,
    )
    words = "What changes a judgement without being measured: ticks, the registry and plan in force, answers of the cross-site stage, what the desk decided, and events (marks, work orders, calibrations …)."
    known = Registry((Site("S0001", "Works"),), (Point("S0001", "DA001", "gas", mn="LD130124000122"),))
    made = (
        tick_record(1_795_399_260_000),
        registry_record(known, 0),
        plan_record("0" * 64),
        answer_record(1_795_399_260_000, {("S0001", "DA001"): "网络中断"}),
    )
    examples = [orjson.loads(record.body) for record in made]
    examples += [
        {"id": "0" * 32, "kind": "verdict", "site": "S0001", "at": "2026-11-25T10:00:00+08:00", "body": {"verdict": "confirmed"}}
    ]
    body = {"anyOf": [*controls.values(), said, {"$ref": "event.schema.json"}]}
    return document("context", "Context", words, body, [*examples, _event_example("mark")])


_ENDS: Schema = {
    "type": "object",
    "additionalProperties": COUNT,
    "description": f"how far each input had been judged; of {', '.join(INPUTS)}",
}
_EXCUSED: Schema = {"type": "array", "prefixItems": [NAME, NAME, told(TEXT, "the common cause")], "minItems": 3, "maxItems": 3}


def device_command() -> Schema:
    """Return the schema of a command to a device."""
    properties = {
        "id": told(NAME, "the reply carries it"),
        "mn": told(NAME, "the device"),
        "cn": {"type": "string", "enum": list(REQUESTS), "description": "HJ 212-2017 Annex C"},
        "params": {"type": "object", "additionalProperties": {"type": ["string", "integer"]}},
        "at": TIME,
        "by": told(nullable(TEXT), "who asks"),
    }
    rules = [
        {
            "if": {"properties": {"cn": {"const": cn}}},
            "then": {"properties": {"params": {"propertyNames": {"enum": list(names)}}}},
        }
        for cn, names in REQUESTS.items()
    ]
    example = {"id": "C1", "mn": "LD130124000122", "cn": "2061", "at": "2026-11-25T10:00:00+08:00"}
    example |= {"params": {"BeginTime": "2026-11-25T02:00:00+08:00", "EndTime": "2026-11-25T03:00:00+08:00"}}  # type: ignore[dict-item]
    body = objects(properties, required=("id", "mn", "cn", "params", "at"), more=True) | {"allOf": rules}
    return document(
        "device-command", "Device command", "A request to the gateway that holds the device's socket.", body, [example]
    )
