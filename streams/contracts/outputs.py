"""Schemas of what goes out: alerts, leads, what the desk did, refused input, replies of devices, the registry.

Enters: the tables that the writers use. Leaves: one document a kind of message; fields not named in them are forbidden, so that a
field nobody has described is found by the tests.
"""

from __future__ import annotations

from typing import Any

from connectors.hj212.exchange import FAULTS
from streams.contracts.parts import (
    COUNT,
    END,
    HEX_ID,
    MILLISECONDS,
    NAME,
    OUT_TIME,
    TEXT,
    Schema,
    document,
    nullable,
    objects,
    told,
)
from streams.cross_site import Summary
from streams.dead_letters import COUNTS, DeadLetter
from streams.leads import GRADES
from streams.model import PERIODS
from streams.plan.check import FAMILIES
from streams.registry_tables import TABLES

_FINITE: Schema = {"type": "number"}
_LEVEL: Schema = {"type": "integer", "minimum": 1, "maximum": 4, "description": "1 = Ⅰ (red) to 4 = Ⅳ (blue)"}
_PLAN: Schema = {"type": "string", "pattern": f"^[0-9a-f]+{END}", "description": "hash of the plan it was judged by"}
_SEQ: Schema = {
    "type": "integer",
    "minimum": 1,
    "description": "grows with each output of the site: take a version only if it is greater",
}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_AT = "2026-11-25T10:00:00+08:00"


_ALERT: dict[str, Schema] = {
    "id": HEX_ID,
    "rule": told(TEXT, "a rule of the plan"),
    "family": {"type": "string", "enum": list(FAMILIES)},
    "site": NAME,
    "point": told(TEXT, "empty where the rule judges a whole site"),
    "factor": told(TEXT, "empty where the rule judges a whole point"),
    "period": {"type": "string", "enum": ["", *PERIODS]},
    "level": _LEVEL,
    "active": {"type": "boolean", "description": "whether the condition still holds"},
    "opened": told(OUT_TIME, "event time of the first reading of the episode"),
    "closed": told(nullable(OUT_TIME), "event time of its last, null while active"),
    "observed": told(nullable(_FINITE), "the worst value, in `unit`"),
    "expected": told(nullable(_FINITE), "what it was measured against"),
    "limit": nullable(_FINITE),
    "unit": TEXT,
    "score": told(nullable(_FINITE), "1 = the rule's own limit"),
    "reason_zh": TEXT,
    "reason_en": TEXT,
    "plan": _PLAN,
    "folded": told(nullable(TEXT), "the common cause under which it is shown, null for none"),
    "updated": told(OUT_TIME, "log time of this version"),
    "seq": _SEQ,
}
_ALERT_EXAMPLE: dict[str, Any] = {
    "id": "d8cd49ff65dc122f85bd52f816df0cf6",
    "rule": "exceed-hour",
    "family": "limits",
    "site": "S0001",
    "point": "DA001",
    "factor": "a21026",
    "period": "hour",
    "level": 3,
    "active": True,
    "opened": _AT,
    "closed": None,
    "observed": 61.5,
    "expected": 35.0,
    "limit": 35.0,
    "unit": "mg/m³",
    "score": 1.757143,
    "reason_zh": "二氧化硫小时均值 61.5 mg/m³，超过限值 35",
    "reason_en": "hourly mean of sulfur dioxide 61.5 mg/m³ exceeds 35",
    "plan": "9f2c",
    "folded": None,
    "updated": "2026-11-25T11:30:00+08:00",
    "seq": 1,
}


def alert() -> Schema:
    """Return the schema of a version of an alert."""
    return document(
        "alert", "Alert", "One version of an alert; the greatest `seq` is the last word on it.", objects(_ALERT), [_ALERT_EXAMPLE]
    )


_LEAD: dict[str, Schema] = {
    "id": HEX_ID,
    "type": TEXT,
    "site": NAME,
    "point": TEXT,
    "window": objects({"start": OUT_TIME, "end": OUT_TIME}),
    "alerts": {"type": "array", "items": HEX_ID, "minItems": 1},
    "families": {"type": "array", "items": {"enum": list(FAMILIES)}, "uniqueItems": True},
    "probability": _SHARE,
    "grade": {"type": "string", "enum": [grade for _, grade in GRADES]},
    "missing": told({"type": "array", "items": TEXT}, "evidence that is still missing"),
    "clause": told(nullable(TEXT), "legal basis at the date of the act"),
    "level": _LEVEL,
    "auto_case": {"type": "boolean", "description": "whether the desk opens a case by itself"},
    "opened": OUT_TIME,
    "reason_zh": TEXT,
    "reason_en": TEXT,
    "plan": _PLAN,
    "updated": OUT_TIME,
    "seq": _SEQ,
}
_LEAD_EXAMPLE: dict[str, Any] = {
    "id": "0c6f2d6f0d4a4b0e8f6f1f8a3b6c9d21",
    "type": "data-fraud",
    "site": "S0001",
    "point": "DA001",
    "window": {"start": _AT, "end": "2026-11-26T10:00:00+08:00"},
    "alerts": ["d8cd49ff65dc122f85bd52f816df0cf6"],
    "families": ["limits", "statistics"],
    "probability": 0.82,
    "grade": "B",
    "missing": ["现场核查"],
    "clause": None,
    "level": 2,
    "auto_case": True,
    "opened": _AT,
    "reason_zh": "2 类证据，3 条告警",
    "reason_en": "2 families of evidence, 3 alerts",
    "plan": "9f2c",
    "updated": "2026-11-25T11:30:00+08:00",
    "seq": 2,
}


def lead() -> Schema:
    """Return the schema of a version of a lead."""
    return document(
        "lead",
        "Lead",
        "One version of a violation lead; the greatest `seq` is the last word on it.",
        objects(_LEAD),
        [_LEAD_EXAMPLE],
    )


def case_event() -> Schema:
    """Return the schema of one line of the ledger of an alert, lead or case."""
    properties = {
        "id": HEX_ID,
        "seq": told(COUNT, "grows with each message of the desk: take one only if it is greater than the last of the site"),
        "kind": {"type": "string", "enum": ["alert", "lead", "case"]},
        "site": TEXT,
        "at": OUT_TIME,
        "subject": told(TEXT, "id of the alert, lead or case"),
        "by": told(TEXT, "who did it"),
        "role": TEXT,
        "action": TEXT,
        "before": told(TEXT, "state before"),
        "after": told(TEXT, "state after"),
        "said": {"type": "object", "description": "words and numbers given with the action"},
    }
    example = {"id": "5f" * 16, "seq": 7, "kind": "alert", "site": "S0001", "at": _AT, "subject": "d8" * 16, "by": "li"}
    example |= {"role": "operator", "action": "ack", "before": "open", "after": "acked", "said": {}}
    words = "What a person, or the product itself, did with an alert, lead or case."
    return document("case-event", "Case event", words, objects(properties), [example])


def dead_letter() -> Schema:
    """Return the schema of a dead letter's headers; its value is the refused input as it came."""
    whole: Schema = {"type": "string", "pattern": f"^-?[0-9]+{END}"}
    words = {
        "content-type": "by which the value can be read",
        "id": "content id of the letter",
        "reason": "one word",
        "detail": "what is wrong and how to put it right",
        "topic": "where the input lay",
        "partition": "where the input lay",
        "offset": "where the input lay; -1: nowhere in the log",
        "arrived": "log time, milliseconds UTC",
        "rows": "readings that are counted as refused",
    }
    letter = DeadLetter(
        "S0001",
        b"{}",
        "application/json",
        "missing_field",
        "row 0: value is missing",
        "emission-monitoring",
        3,
        7,
        1_795_399_260_000,
        1,
    )
    headers = letter.to_message()[1]
    properties = {name: told(whole if name in COUNTS else HEX_ID if name == "id" else TEXT, words[name]) for name in headers}
    title = "Headers of a refused input (UTF-8 text). The key is the source: site id, MN or peer; the value is the input, byte for byte."
    return document("dead-letter", "Dead letter", title, objects(properties, more=True), [headers])


def device_reply() -> Schema:
    """Return the schema of what a command came to."""
    properties = {
        "id": told(NAME, "that of the command"),
        "mn": NAME,
        "cn": TEXT,
        "qn": told(TEXT, "request number on the wire; empty if nothing was sent"),
        "qn_rtn": {"type": ["integer", "null"], "description": "QnRtn of the device (HJ 212-2017 table 5)"},
        "exe_rtn": {"type": ["integer", "null"], "description": "ExeRtn of the device (HJ 212-2017 table 5)"},
        "frames": told(COUNT, "data frames that answered it; they are in the log"),
        "fault": {"type": "string", "enum": ["", *FAULTS]},
        "at": OUT_TIME,
    }
    example = {
        "id": "C1",
        "mn": "LD130124000122",
        "cn": "2061",
        "qn": "20261125100000000",
        "qn_rtn": 1,
        "exe_rtn": 1,
        "frames": 2,
        "fault": "",
        "at": _AT,
    }
    return document("device-reply", "Device reply", "How a command to a device ended.", objects(properties), [example])


def device_presence() -> Schema:
    """Return the schema of what a gateway tells of its connections."""
    properties = {
        "gateway": told(NAME, "its instance name"),
        "at": OUT_TIME,
        "devices": {"type": "object", "additionalProperties": OUT_TIME, "description": "MN → time of its last frame"},
    }
    example = {"gateway": "gateway-1", "at": _AT, "devices": {"LD130124000122": _AT}}
    title = "The devices that are connected to a gateway; each message replaces the one before."
    return document("device-presence", "Device presence", title, objects(properties), [example])


def summary() -> Schema:
    """Return the schema of what a partition asks the cross-site stage at a tick."""
    silent = {"type": "array", "prefixItems": [NAME, TEXT, TEXT], "minItems": 3, "maxItems": 3}
    properties = {
        "partition": COUNT,
        "tick": told(MILLISECONDS, "log time of the tick, milliseconds UTC"),
        "known": {"type": "object", "additionalProperties": COUNT, "description": "points of each operator"},
        "silent": {"type": "array", "items": silent, "description": "points newly silent: site, point, operator"},
        "books": {"type": "object", "additionalProperties": COUNT, "description": "what the partition has counted so far"},
    }
    example = Summary(1_795_399_260_000, {"运维甲": 12}, {("S0001", "DA001"): "运维甲"}).to_json(3, {"readings.received": 9})
    return document(
        "site-summary",
        "Site summary",
        "Points that one tick found silent, for the cross-site stage.",
        objects(properties),
        [example],
    )


def registry() -> Schema:
    """Return the schema of the registry's canonical form."""
    tables = {}
    for name, table in TABLES.items():
        columns: dict[str, Schema] = {column.name: TEXT for column in table.columns}
        needed = [column.name for column in table.columns if column.required]
        tables[name] = {"type": "array", "items": objects(columns, required=needed, more=True) | {"additionalProperties": TEXT}}
    example: dict[str, Any] = {name: [] for name in tables}
    example |= {"sites": [{"site": "S0001", "name": "Works"}], "points": [{"site": "S0001", "point": "DA001", "medium": "gas"}]}
    words = "The registry in force: rows of its tables, every cell as text; columns it does not name are kept."
    return document("registry", "Registry", words, objects(tables, required=(), more=True), [example])
