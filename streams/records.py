"""Records of the log as the engine knows them: their kinds, the control records of `context`, and how those are made.

Control records (ticks, registries, marks, answers) hold from their place in the log on: a step is cut at each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from connectors.core import HJ212, JSON, Record
from streams import registry as registries
from streams.registry_model import Registry

REDRIVEN = HJ212 + ";redriven=1"
BAD_CHUNK = HJ212 + ";bad="
REFUSED_ROWS = JSON + ";refused"
OF_TOPIC = ";topic="
"""What the content type of a held batch ends with: the topic it was meant for."""
ANSWER = "cross_site"
CONTROLS: Mapping[str, Mapping[str, type]] = {
    "tick": {"now": int},
    "registry": {"text": str},
    "plan": {"hash": str},
    ANSWER: {"tick": int, "excused": list},
}
"""Kind of a control record → the fields without which it says nothing, and their JSON types."""
CONTEXT, EVENTS, HELD, DEAD = "context", "video-events", "held", "dead-letters"


KINDS = {HELD: "held", DEAD: "dead", EVENTS: "event"}
FRAMES = {HJ212, REDRIVEN}


def kind_of(record: Record) -> str:
    """Return how a record is decoded: held, dead, event, hj212 or rows."""
    return KINDS.get(record.topic) or ("hj212" if record.content_type in FRAMES else "rows")


def segments(records: list[Record]) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Cut at control records: yield where each segment ends and the control record that follows it, if any."""
    for place, record in enumerate(records):
        if record.topic == CONTEXT and record.content_type == JSON:
            yield place, control_of(record.body)
    if records and not (records[-1].topic == CONTEXT and records[-1].content_type == JSON):
        yield len(records), None


def control_of(body: bytes) -> dict[str, Any]:
    """Return what a record of `context` says, empty if it is illegible or a field that counts is of another type."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        return {}
    wanted = CONTROLS.get(found["kind"], {})
    return found if all(type(found.get(name)) is kind for name, kind in wanted.items()) else {}


def tick_record(now: int, ends: Mapping[str, int] | None = None) -> Record:
    """Return the log record of a tick at log time `now` (ms UTC); the log stamps it like any other, for log time never runs back.

    `ends`: how far each input had been judged when it came (topic → offset), where the inputs are several.
    """
    body = {"kind": "tick", "now": now} | ({} if ends is None else {"ends": dict(ends)})
    return Record(CONTEXT, "", -1, JSON, orjson.dumps(body))


def tick_of(record: Record) -> int | None:
    """Return the log time of a tick record, None for any other."""
    if record.topic != CONTEXT or not record.body.startswith(b'{"kind":"tick"'):
        return None
    now = control_of(record.body).get("now")
    return now if isinstance(now, int) else None


def answer_record(tick: int, excused: Mapping[tuple[str, str], str]) -> Record:
    """Return the cross-site stage's answer to a partition's tick: (site, point) → the words of the common cause."""
    rows = [[site, point, words] for (site, point), words in excused.items()]
    return Record(CONTEXT, "", -1, JSON, orjson.dumps({"kind": ANSWER, "tick": tick, "excused": rows}))


def is_answer(record: Record) -> bool:
    """Say whether a record is an answer of the cross-site stage."""
    return record.topic == CONTEXT and record.body.startswith(b'{"kind":"cross_site"')


def plan_record(plan: str) -> Record:
    """Return the record from which on a partition is judged by the plan of this hash; it goes to every partition."""
    return Record(CONTEXT, "", -1, JSON, orjson.dumps({"kind": "plan", "hash": plan}))


def registry_record(registry: Registry, now: int, adopted: Sequence[str] = ()) -> Record:
    """Return the log record that lets a registry hold from its offset on; `adopted`: whose held records follow it."""
    body = {"kind": "registry", "text": registries.to_json(registry)} | ({"adopted": list(adopted)} if adopted else {})
    return Record(CONTEXT, "", now, JSON, orjson.dumps(body))
