"""The way into the log: topic and key by the registry, nothing before it is durable, nothing lost (promise 1)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import orjson
import pytest

from connectors.core import ARROW, CSV, HJ212, JSON, NDJSON, Lost, Record, Refused, Retry
from connectors.hj212.frame import Framer
from connectors.hj212.header import parse
from connectors.http import Refusal
from connectors.log_writer import LogWriter
from connectors.memory import Fault, FaultyLog, MemoryLog
from offsite.intake import Intake, decode
from streams.codecs.hj212_encode import encode_frame
from streams.codecs.readings import decode_readings
from streams.engine import Engine
from streams.identity import rfc3339
from streams.model import SeriesTable
from streams.plan import load_plan
from streams.registry_model import Point, Registry, Site

T0 = 1_791_734_400_000
REGISTRY = Registry(
    (Site("S1"), Site("S2")),
    (
        Point("S1", "DA001", "gas", mn="MN1"),
        Point("S1", "DW001", "water", mn="MN1"),
        Point("S2", "EQ001", "air", mn="MN2"),
        Point("S2", "PW001", "power", mn="MN3"),
    ),
)


def scene(act: Callable[[Intake], Awaitable[object]], log=None) -> tuple[list[Record], Intake]:
    """Run `act` with an intake over a log in memory; return what the log holds."""
    kept = log or MemoryLog(lambda: T0)

    async def run() -> Intake:
        writer = LogWriter(kept)
        intake = Intake(writer, lambda: REGISTRY)
        try:
            await act(intake)
        finally:
            await writer.close()
        return intake

    intake = asyncio.run(run())
    return (kept.inner if isinstance(kept, FaultyLog) else kept).records, intake


def framed(mn: str, st: str = "31"):
    raw = encode_frame(mn, "2011", T0, {"a21026": {"Rtd": 50.0, "Flag": "N"}}, st=st)
    [frame] = Framer().feed(raw)
    return frame, parse(frame.plain[6:-4])


def reading(**more) -> dict:
    return {"site": "S1", "point": "DA001", "factor": "a21026", "time": rfc3339(T0), "period": "realtime", "value": 1.0} | more


# --- frames


@pytest.mark.parametrize(
    ("mn", "st", "topic", "key"),
    [
        ("MN1", "31", "emission-monitoring", "S1"),
        ("MN1", "32", "emission-monitoring", "S1"),
        ("MN2", "22", "sensor-readings", "S2"),
        ("MN2", "31", "sensor-readings", "S2"),
        ("MN3", "44", "power-usage", "S2"),
        ("MN9", "31", "held", "MN9"),
    ],
)
def test_a_frame_goes_where_its_device_stands(mn: str, st: str, topic: str, key: str) -> None:
    frame, header = framed(mn, st)
    [record], intake = scene(lambda i: i.frame(frame, header, "10.0.0.1:5"))
    assert (record.topic, record.key, record.content_type, record.arrived) == (topic, key, HJ212, T0)
    assert record.body == frame.plain
    assert dict(intake.held) == ({"MN9": 1} if topic == "held" else {})


@pytest.mark.parametrize("fault", [Fault.FULL, Fault.CRASH_BEFORE])
def test_what_is_not_durable_is_not_taken(fault: Fault) -> None:
    frame, header = framed("MN1")
    log = FaultyLog(MemoryLog(lambda: T0), {0: fault})
    with pytest.raises((Retry, Lost)):
        scene(lambda i: i.frame(frame, header, ""), log)
    assert log.inner.records == []


def test_what_is_no_frame_is_kept_with_its_reason() -> None:
    framer = Framer()
    found = [*framer.feed(b"\x16\x03\x01hello\r\n"), *framer.feed(b"##0001x0000\r\n##")]
    [first, *_], _ = scene(lambda i: i.bad(found[0], "10.0.0.1:5"))
    assert (first.topic, first.key, first.body) == ("dead-letters", "10.0.0.1:5", found[0].raw)
    engine = Engine(load_plan(), REGISTRY)
    step, _ = engine.step([first])
    assert [r.reason for r in step.rejects] == [found[0].reason]


# --- rows


def test_rows_are_cut_by_site_and_keep_their_place() -> None:
    rows = [reading(), reading(site="S9"), reading(value="x"), reading(factor="w01018", point="DW001", value=7.0)]
    batches, refused = decode(JSON, orjson.dumps(rows), "readings")
    assert [(b.site, b.rows, b.topic) for b in batches] == [
        ("S1", (0, 3), "emission-monitoring"),
        ("S9", (1,), "emission-monitoring"),
    ]
    assert [r.row for r in refused] == [2]


@pytest.mark.parametrize(
    ("factor", "topic"),
    [
        ("a21026", "emission-monitoring"),
        ("w01018", "emission-monitoring"),
        ("L10", "sensor-readings"),
        ("d00001", "power-usage"),
        ("power_kw", "power-usage"),
    ],
)
def test_the_topic_is_chosen_by_what_is_measured(factor: str, topic: str) -> None:
    [batch], _ = decode(JSON, orjson.dumps(reading(factor=factor)), "readings")
    assert batch.topic == topic


@pytest.mark.parametrize("kind", [JSON, NDJSON, CSV])
def test_a_batch_says_after_the_log_what_it_said_before(kind: str) -> None:
    rows = [reading(value=v, time=rfc3339(T0 + 1000 * v)) for v in range(100)]
    if kind == CSV:
        body = "\n".join([",".join(rows[0]), *(",".join(map(str, r.values())) for r in rows)]).encode()
    else:
        body = orjson.dumps(rows) if kind == JSON else b"\n".join(map(orjson.dumps, rows))
    batches, refused = decode(kind, body, "readings")
    records, _ = scene(lambda i: i.rows("readings", batches, refused))
    [record] = records
    table = SeriesTable()
    found = decode_readings(record.content_type, record.body, table, record.arrived).readings
    assert record.content_type == ARROW
    np.testing.assert_array_equal(found.value, np.arange(100.0))
    np.testing.assert_array_equal(found.time, T0 + 1000 * np.arange(100))


def test_one_request_is_one_append_with_what_was_refused_of_it() -> None:
    batches, refused = decode(JSON, orjson.dumps([reading(), reading(site="S9"), reading(value=None)]), "readings")
    log = FaultyLog(MemoryLog(lambda: T0), {})
    records, intake = scene(lambda i: i.rows("readings", batches, refused), log)
    assert [(r.topic, r.key) for r in records] == [("emission-monitoring", "S1"), ("held", "S9"), ("dead-letters", "http")]
    assert log.appends == 1
    assert dict(intake.held) == {"S9": 1}
    engine = Engine(load_plan(), REGISTRY)
    engine.step(records)
    books = engine.state.books
    assert (books["readings.received"], books["readings.accepted"], books["readings.refused"], books["frames.held"]) == (
        2,
        1,
        1,
        1,
    )


def test_a_request_without_rows_writes_nothing() -> None:
    records, _ = scene(lambda i: i.rows("readings", [], []))
    assert records == []


def test_rows_that_are_all_refused_are_still_kept() -> None:
    records, _ = scene(lambda i: i.rows("readings", [], [Refusal(0, "bad_time", "time is missing")]))
    assert [r.topic for r in records] == ["dead-letters"]


def test_a_body_that_carries_no_readings_is_refused_with_the_remedy() -> None:
    with pytest.raises(Refused, match="send one of"):
        decode("image/png", b"\x89PNG", "readings")


# --- events


EVENT = {"id": "E1", "kind": "door_open", "site": "S1", "start": rfc3339(T0), "body": {"door_state": "open"}}


def test_events_go_to_their_topic_one_record_each() -> None:
    batches, refused = decode(JSON, orjson.dumps([EVENT, EVENT | {"kind": "rumour"}, EVENT | {"id": "E2"}]), "events")
    assert [(r.row, r.reason) for r in refused] == [(1, "unknown_kind")]
    records, _ = scene(lambda i: i.rows("events", batches, refused))
    assert [(r.topic, r.key) for r in records] == [("video-events", "S1"), ("video-events", "S1"), ("dead-letters", "http")]
    engine = Engine(load_plan(), REGISTRY)
    _, judged = engine.step(records)
    assert [(e.id, e.site, e.start) for e in judged.events] == [("E1", "S1", T0), ("E2", "S1", T0)]
