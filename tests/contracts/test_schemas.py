from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from connectors.core import JSON, NDJSON
from streams import registry as registries
from streams import schemas
from streams.asyncapi import MESSAGES
from streams.codecs.events import DOORS, KINDS, decode_events, encode_event
from streams.codecs.readings import decode_readings, encode_readings
from streams.cross_site import Summary
from streams.dead_letters import DeadLetter
from streams.model import SeriesTable
from streams.records import answer_record, plan_record, registry_record, tick_record
from streams.topics import CASE_EVENTS, CATALOGUE, INPUTS
from tests.cases.made import Hand, alert, lead, outputs, ready
from tests.scenarios.runner import embedded, log_of, run_scenario
from tests.streams.codecs.reading_samples import batch, good

ROOT = Path(__file__).resolve().parent.parent.parent
SCENARIOS = ROOT / "tests" / "scenarios"
TOLD = (
    "two_families_make_a_lead",
    "exceed_hour_by_permit",
    "outage_of_one_operator_folded",
    "step_on_so2",
    "exceed_day_20_hours",
)


@cache
def validator(name: str) -> Draft202012Validator:
    documents = {f"{each}.schema.json": make() for each, make in schemas.SCHEMAS.items()}
    known: Registry[Any] = Registry().with_resources((key, Resource.from_contents(body)) for key, body in documents.items())
    return Draft202012Validator(documents[f"{name}.schema.json"], registry=known)


def faults(name: str, body: Any) -> list[str]:
    return [f"{list(error.path)}: {error.message}" for error in validator(name).iter_errors(body)]


def test_the_published_files_are_what_the_code_says() -> None:
    folder = ROOT / "docs" / "contracts"
    found = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
    assert found == schemas.files(), "run `python -m streams.schemas docs/contracts`"


@pytest.mark.parametrize("name", schemas.SCHEMAS)
def test_a_schema_is_one_and_its_examples_fit_it(name: str) -> None:
    Draft202012Validator.check_schema(validator(name).schema)
    assert validator(name).schema["examples"]
    for example in validator(name).schema["examples"]:
        assert faults(name, example) == []


def test_each_kind_of_event_has_its_rules() -> None:
    for kind in (*KINDS, *DOORS):
        [rule] = [one for one in validator("event").schema["allOf"] if one["if"]["properties"]["kind"] == {"const": kind}]
        assert set(rule["then"]["properties"]["body"]["properties"]) == set(KINDS[DOORS.get(kind, kind)])


def test_what_the_judge_puts_out_fits_its_schema() -> None:
    seen: set[str] = set()

    def judge(*given: Any) -> Any:
        found, books = embedded(*given)
        for kind, site, body in found:
            assert faults(kind, body) == [], body
            assert body["site"] == site
            seen.add(kind)
        return found, books

    for folder in TOLD:
        run_scenario(SCENARIOS / folder, judge)
    assert seen == {"alert", "lead"}


def test_the_inputs_of_every_scenario_fit_their_schema() -> None:
    for folder in SCENARIOS.glob("*/out.ndjson"):
        for record in log_of(folder.parent):
            if record.content_type == NDJSON:
                for line in record.body.splitlines():
                    assert faults("reading", json.loads(line)) == []
            elif record.topic == "context":
                assert faults("context", json.loads(record.body)) == []


def test_a_field_that_nobody_has_described_is_found() -> None:
    example = validator("alert").schema["examples"][0]
    assert faults("alert", example | {"fresh": 1}) != []
    assert faults("alert", {k: v for k, v in example.items() if k != "seq"}) != []


def test_what_the_desk_tells_fits_its_schema(tmp_path: Path) -> None:
    with ready(tmp_path, Hand()) as desk:
        desk.project(outputs(alert("d8" * 16), lead("0c" * 16, 2, alerts=["d8" * 16], auto_case=True)))
        desk.act("d8" * 16, "ack", by="operator")
        told = desk.outgoing(CASE_EVENTS, 100)
        assert len(told) >= 2
        for message in told:
            assert faults("case-event", message) == [], message
        desk.act("d8" * 16, "close", by="operator", reason="false_alarm")
        decided = desk.outgoing("context", 100)
        assert decided
        for message in decided:
            assert faults("context", message) == [], message


def test_the_records_that_the_product_writes_itself_fit() -> None:
    registry = registries.load(SCENARIOS / "exceed_hour_by_permit" / "registry")
    made = (tick_record(1), tick_record(1, {"context": 4}), registry_record(registry, 0, ["M1"]), plan_record("ab"))
    for record in (*made, answer_record(1, {("S1", "P"): "网络"})):
        assert faults("context", json.loads(record.body)) == []
    assert faults("registry", json.loads(registries.to_json(registry))) == []
    assert faults("site-summary", Summary(1, {"": 2}, {("S1", "P"): ""}).to_json(0, {"readings.received": 1})) == []
    letter = DeadLetter("S1", b"\xff", "text/html", "bad_content_type", "…", "context", -1, -1, -1, 0)
    assert faults("dead-letter", letter.to_message()[1]) == []
    assert faults("context", {"kind": "tick"}) != []
    assert faults("context", {"kind": "tick", "now": "noon"}) != []


ODD: list[Any] = [
    None,
    "",
    5,
    0,
    1.5,
    -1e308,
    10**400,
    True,
    [],
    {},
    ["x"],
    "a/b",
    "X" * 128,
    "X" * 129,
    "\n",
    "x\n",
    "厂区",
    "😀",
    "\ud800",
]
ODD += ["N", "avg", "AVG", "zs_avg", "a b", "K", "hour", "year", "2026-11-23T10:00:00+08:00", "2026-11-23 10:00:00z"]
ODD += [
    "2024-02-29T00:00:00Z",
    "2023-02-29T00:00:00Z",
    "2026-11-23T10:00:00",
    "2026-11-23T10:00:00+08:60",
    "2026-11-23T10:00:00Z\n",
]
ODD += [
    "0000-01-01T00:00:00Z",
    "2026-11-23T24:00:00Z",
    "2026-11-23T10:00:00.123456789Z",
    "2026-11-23T10:00:00.Z",
    "intrusion",
    "open",
]
ANYTHING = st.sampled_from(ODD) | st.text(max_size=30) | st.floats(allow_nan=False, allow_infinity=False) | st.integers()
DATE = st.builds(
    "{:04d}-{:02d}-{:02d}T{:02d}:{:02d}:{:02d}{}".format,
    *(st.integers(0, n) for n in (9999, 13, 32, 25, 61, 61)),
    st.sampled_from(["Z", "+08:00", "-23:59", "+24:00", ""]),
)
FIELDS = ["site", "point", "factor", "time", "period", "stat", "value", "flag", "unit", "revision", "other"]
MUTATED = st.dictionaries(st.sampled_from(FIELDS), ANYTHING | DATE, max_size=3)


@settings(max_examples=600, deadline=None)
@given(MUTATED, st.sets(st.sampled_from(FIELDS), max_size=2))
def test_a_reading_is_refused_by_schema_and_decoder_or_by_neither(changed: dict[str, Any], dropped: set[str]) -> None:
    row = {name: value for name, value in (good() | changed).items() if name not in dropped}
    body = json.dumps(row).encode()
    refused = decode_readings(JSON, body, SeriesTable(), 0).rejects
    told = faults("reading", row)
    assert bool(told) == bool(refused), (row, refused, told)
    assert bool(faults("readings", [good(), row])) == bool(refused)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from([None, 5, "x", [], [[]], [5], [good(), None], {}, [{}]]))
def test_what_is_no_reading_is_refused_by_both(body: Any) -> None:
    told = faults("readings", body)
    refused = decode_readings(JSON, json.dumps(body).encode(), SeriesTable(), 0).rejects
    assert bool(told) == bool(refused)


def _events() -> Iterator[dict[str, Any]]:
    for kind in (*KINDS, *DOORS):
        own = DOORS.get(kind, kind)
        texts = {name: "x" for name, types in KINDS[own].items() if str in types}
        others = {name: [] if list in types else 0.5 for name, types in KINDS[own].items() if str not in types}
        yield {"kind": kind, "site": "S1", "start": "2026-11-23T10:00:00+08:00", "body": texts | others}


EVENTS = list(_events())
BODY_FIELDS = sorted({name for fields in KINDS.values() for name in fields})


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(EVENTS),
    st.dictionaries(st.sampled_from(["id", "kind", "site", "point", "start", "by", "at", "body"]), ANYTHING | DATE, max_size=2),
    st.dictionaries(st.sampled_from(BODY_FIELDS), ANYTHING, max_size=2),
    st.sets(st.sampled_from(["kind", "site", "start", "body", *BODY_FIELDS]), max_size=2),
)
def test_an_event_is_refused_by_schema_and_decoder_or_by_neither(
    event: dict[str, Any], changed: dict[str, Any], inside: dict[str, Any], dropped: set[str]
) -> None:
    body = {name: value for name, value in (event["body"] | inside).items() if name not in dropped}
    row = {name: value for name, value in (event | {"body": body} | changed).items() if name not in dropped}
    refused = decode_events(JSON, json.dumps(row).encode())[1]
    told = faults("event", row)
    assert bool(told) == bool(refused), (row, refused, told)


def test_what_the_codecs_write_fits() -> None:
    readings, table = batch([("S1", "P", "f", "hour", "avg", i * 1000, i / 8, flag) for i, flag in enumerate([0, 78, 63])])
    assert faults("readings", json.loads(encode_readings(JSON, readings, table))) == []
    for event in EVENTS:
        [found] = decode_events(JSON, json.dumps(event).encode())[0]
        assert faults("event", encode_event(found)) == []


def _references(body: Any) -> Iterator[str]:
    if isinstance(body, dict):
        yield from (str(value) for name, value in body.items() if name == "$ref")
        body = list(body.values())
    for part in body if isinstance(body, list) else ():
        yield from _references(part)


def test_the_asyncapi_document_has_every_topic_and_every_reference_leads_somewhere() -> None:
    files = schemas.files()
    document = json.loads(files["asyncapi.json"])
    assert set(document["channels"]) == set(CATALOGUE) == set(MESSAGES)
    assert {"receive-" + topic for topic in INPUTS} <= set(document["operations"])
    for reference in _references(document):
        name, _, path = reference.partition("#")
        body = document if not name else json.loads(files[name])
        for step in filter(None, path.split("/")):
            body = body[step]
        assert body
    named = {message.schema for messages in MESSAGES.values() for message in messages if message.schema}
    assert named | {"dead-letter", "reading"} == set(schemas.SCHEMAS)


def test_kafka_keeps_what_the_document_says() -> None:
    channels = schemas.asyncapi()["channels"]
    for topic in CATALOGUE.values():
        kept = channels[topic.name]["bindings"]["kafka"]["topicConfiguration"]
        config = topic.config(replication=3, min_isr=2)
        assert kept["max.message.bytes"] == int(config["max.message.bytes"])
        assert kept.get("retention.ms") == (int(config["retention.ms"]) if "retention.ms" in config else None)
