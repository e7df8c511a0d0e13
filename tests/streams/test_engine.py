"""The engine: log records in, a step out; and the laws of the whole core: order, quality, restart (promises 2, 3, 5)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.core import HJ212, JSON, NDJSON, Record
from connectors.memory import MemoryLog
from streams.codecs.hj212_encode import encode_frame
from streams.codecs.readings import encode_readings
from streams.commit import run_step
from streams.engine import Engine, Judged
from streams.identity import rfc3339
from streams.plan.load import HOUR, MINUTE
from streams.records import BAD_CHUNK, CONTEXT, DEAD, EVENTS, HELD, REDRIVEN, REFUSED_ROWS, registry_record, tick_record
from streams.state import Chunk, State
from streams.store import StateStore
from streams.windows import grid
from tests.streams.driven import PLAN, T0, Product, batch_of, clock, outlet, own_hour, rt, together

REGISTRY = together(outlet(("a21026", "hour", 100.0), site="S1"), outlet(("a21026", "hour", 100.0), site="S2"))


def frame(
    minute: float, value: float, *, mn: str = "S1", cn: str = "2011", stat: str = "Rtd", flag: str = "N", late: float = 0.1
) -> Record:
    time = T0 + round(minute * MINUTE)
    body = encode_frame(mn, cn, time, {"a21026": {stat: value, "Flag": flag}})[:-2]
    return Record("emission-monitoring", mn, time + round(late * MINUTE), HJ212, body)


def tick(minute: float) -> Record:
    return tick_record(T0 + round(minute * MINUTE))


def alerts(step) -> list[tuple[str, str, str]]:
    return [(body["rule"], body["site"], body["opened"]) for kind, _, body in step.outputs if kind == "alert"]


def test_a_step_stands_for_the_records_it_took() -> None:
    log = MemoryLog(lambda: T0)
    log.append([frame(0, 50.0), tick(1), frame(1, 50.0), frame(2, 50.0)])
    step, judged = Engine(PLAN, REGISTRY).step(log.read(1, 2))
    assert [r.offset for r in step.records] == [1, 2]
    assert len(judged.outputs) == 2, "cut at the tick"
    assert Engine(PLAN).step([])[0].records == []


def test_a_tick_comes_after_the_readings_before_it_and_before_those_after_it() -> None:
    engine = Engine(PLAN, REGISTRY)
    before = engine.step([*(frame(m, 150.0 + m) for m in range(50)), tick(90), frame(59, 1.0, late=0)])[0]
    assert ("exceed-hour", "S1") in [a[:2] for a in alerts(before)]
    assert engine.state.books["readings.late"] == 1


def test_log_time_survives_a_clock_that_is_set_back() -> None:
    engine = Engine(PLAN, REGISTRY)
    engine.step([frame(0, 50.0), tick(10), tick(5)])
    assert engine.state.tick == T0 + 10 * MINUTE


def test_rows_know_their_record() -> None:
    body = orjson.dumps(
        [
            {
                "site": "S1",
                "point": "DA001",
                "factor": "a21026",
                "time": "2026-10-12T00:00:00+08:00",
                "period": "hour",
                "value": v,
            }
            for v in (1, "x", 2)
        ]
    )
    records = [
        frame(0, 1.0),
        Record("sensor-readings", "S1", T0 + HOUR, JSON + ";v=1", body),
        tick(61),
        frame(1, 2.0),
        frame(2, 3.0),
    ]
    step, judged = Engine(PLAN, REGISTRY).step(records)
    frames = [out.screened.rows.frame.tolist() for out in judged.outputs if out.screened is not None]
    assert frames == [[0, 1, 1], [3, 4]]
    assert [(r.frame, r.rows) for r in step.rejects] == [(1, 1)]


def test_held_frames_are_counted_and_not_judged() -> None:
    engine = Engine(PLAN, REGISTRY)
    engine.step([Record(HELD, "MN9", T0, HJ212, frame(0, 900.0).body), frame(0, 50.0)])
    books = engine.state.books
    assert (books["frames.accepted"], books["frames.held"], books["readings.received"]) == (2, 1, 1)


def test_frames_driven_again_are_not_counted_again_and_are_judged() -> None:
    engine = Engine(PLAN, REGISTRY)
    held = frame(0, 50.0)
    engine.step([Record(HELD, "S1", T0, HJ212, held.body), Record("emission-monitoring", "S1", T0, REDRIVEN, held.body)])
    assert (engine.state.books["frames.accepted"], engine.state.books["readings.accepted"]) == (1, 1)


def test_what_the_gateway_put_aside_is_counted_with_its_reason() -> None:
    engine = Engine(PLAN, REGISTRY)
    refused = orjson.dumps([{"row": 3, "reason": "bad_time", "detail": "time is missing"}])
    step, _ = engine.step(
        [Record(DEAD, "10.0.0.1:5", T0, BAD_CHUNK + "bad_crc", b"##0\xff"), Record(DEAD, "http", T0, REFUSED_ROWS, refused)]
    )
    assert [(r.reason, r.raw, r.rows) for r in step.rejects] == [("bad_crc", b"##0\xff", 0), ("bad_time", b"", 1)]
    assert (engine.state.books["frames.rejected.bad_crc"], engine.state.books["readings.refused"]) == (1, 1)
    assert "row 3" in step.rejects[1].detail


def test_events_are_handed_on() -> None:
    body = {"id": "e1", "kind": "door_open", "site": "S1", "start": rfc3339(T0), "body": {"a": 1}}
    engine = Engine(PLAN, REGISTRY)
    _, judged = engine.step([Record(EVENTS, "S1", T0, JSON, orjson.dumps(body))])
    assert [(e.id, e.kind, e.start) for e in judged.events] == [("e1", "door_open", T0)]
    assert engine.state.books["events"] == 1


def test_a_registry_holds_from_its_offset_on() -> None:
    engine = Engine(PLAN, outlet(("a21026", "hour", 400.0)))
    changed = registry_record(outlet(("a21026", "hour", 100.0)), T0)
    step, _ = engine.step(
        [frame(0, 150.0, cn="2061", stat="Avg", late=62), changed, frame(60, 150.0, cn="2061", stat="Avg", late=62)]
    )
    assert [a[2] for a in alerts(step)] == ["2026-10-12T01:00:00+08:00"]
    assert [c.kind for c in step.chunks if c.kind == "registry"] == ["registry"]


def test_an_unknown_device_is_its_own_site_where_the_registry_is_inferred() -> None:
    engine = Engine(PLAN, infer=True)
    step, _ = engine.step([frame(0, 450.0, mn="MN7", cn="2061", stat="Avg", late=62)])
    assert alerts(step) == [("exceed-hour", "MN7", "2026-10-12T00:00:00+08:00")]


def test_no_record_of_a_device_ends_the_engine() -> None:
    bodies = [
        b"",
        b"##",
        b"##0012&&&&",
        frame(0, 1.0).body[:-7],
        b"\xff" * 40,
        b"##0099QN=x;ST=;CN=2011;PW=;MN=;Flag=9;CP=&&=;;,,=-=&&0000",
    ]
    engine = Engine(PLAN, REGISTRY)
    step, _ = engine.step(
        [Record("emission-monitoring", "S1", T0, kind, body) for body in bodies for kind in (HJ212, NDJSON)] + [frame(0, 1.0)]
    )
    books = engine.state.books
    assert books["readings.accepted"] >= 1
    assert books["readings.received"] == sum(
        books[f"readings.{f}"] for f in ("accepted", "duplicate", "revised", "late", "refused")
    )
    assert len(step.rejects) >= 5


# --- the laws


def traffic() -> list:
    """Two outlets, two and a half hours: a step, a constant run, values that cannot be, hours over the limit."""
    rows = []
    for site, shift in (("S1", 0), ("S2", 7)):
        for m in range(150):
            value = 40.0 + (m * 13 + shift) % 5
            value = 95.0 + m % 3 if 30 <= m < 40 else 50.0 if 50 <= m < 125 else -60.0 if 130 <= m < 138 else value
            rows.append(rt(m, value, at=f"{site}/DA001/a21026", late=0))
        rows += [own_hour(h, 130.0 - 40 * h + shift, at=f"{site}/DA001/a21002", late=2) for h in (0, 1)]
    return rows


LIMITED = together(*(outlet(("a21002", "hour", 100.0), ("a21026", "hour", 100.0), site=s) for s in ("S1", "S2")))


def told(records) -> Counter:
    product = Product(LIMITED)
    product.play(records, until=200, since=-1, every=2)
    fields = ("rule", "site", "point", "factor", "period", "opened", "closed", "level", "active")
    return Counter(tuple(a[f] for f in fields) for a in product.said() if a["rule"] != "silence")


@cache
def orderly() -> Counter:
    return told(traffic())


def test_the_traffic_of_these_laws_has_something_to_say() -> None:
    assert Counter(a[0] for a in orderly()) == {"step": 2, "constant": 2, "out-of-range": 2, "exceed-hour": 2}


@given(st.randoms(use_true_random=False))
@settings(max_examples=8)
def test_any_order_of_arrival_within_the_waits_ends_in_the_same_alerts(random) -> None:
    """Promise 3: delays below min(grace, 2 intervals) for readings; hours at any time before they close."""

    def delayed(record):
        [row] = record
        if row.key.period == "hour":
            return [row._replace(arrived=row.time + HOUR + random.randint(0, 30 * MINUTE - 1))]
        if row.time < T0 + 15 * MINUTE or random.random() < 0.5:
            return record
        return [row._replace(arrived=row.time + random.randint(0, 2 * MINUTE - 1))]

    assert told([delayed(r) for r in traffic()]) == orderly()


@given(
    st.lists(
        st.tuples(
            st.integers(0, 160 * MINUTE), st.integers(-9 * MINUTE, 30 * MINUTE), st.floats(-1e6, 1e6), st.sampled_from("DFMSCB?")
        ),
        max_size=40,
    )
)
@settings(max_examples=8)
def test_flagged_readings_as_many_as_come_change_no_alert(bad) -> None:
    """Promise 5: of any value, ahead of their time or behind it, between the good ones."""
    key = traffic()[0][0].key
    extra = []
    for at, lag, value, flag in bad:
        time = T0 + at + (1 if at % MINUTE == 0 else 0)
        extra.append([traffic()[0][0]._replace(key=key, time=time, value=value, flag=flag, arrived=max(time + lag, T0))])
    assert told([*traffic(), *extra]) == orderly()


def test_a_flagged_reading_ahead_of_its_time_hides_nothing() -> None:
    """After a gap a cell waits for nothing: a flagged reading nine minutes ahead must not be taken for the newest."""
    back = [rt(m, -60.0 if m > 41 else 50.0 + m) for m in range(40, 49)]
    ahead = [rt(49.5, 50.0, flag="D", late=-8.5)]
    product = Product(outlet())
    product.play([*(rt(m, 50.0 + m) for m in range(20)), *back, *ahead], until=50)
    assert [a["opened"] for a in product.said(rule="out-of-range")] == [clock(42)]


def test_a_run_of_flagged_readings_keeps_an_alert_open() -> None:
    records = [rt(m, 50.0) for m in range(70)] + [rt(m, 99.0, flag="D") for m in range(70, 90)]
    product = Product(outlet())
    product.play(records, until=91)
    [alert] = product.said(rule="constant")
    assert alert["active"] is True
    product.play([rt(m, 41.0) for m in range(91, 96)], until=96, since=91)
    assert product.said(rule="constant")[0]["active"] is False


# --- restart


def recorded() -> list[Record]:
    """The traffic as a log: frames and batches, duplicates, disorder, a late hour, a registry, and ticks."""
    records: list[Record] = []
    for minute in range(170):
        for site, shift in (("S1", 0), ("S2", 3)):
            if site == "S2" and 60 <= minute < 85:
                continue
            value = 50.0 if 20 <= minute < 90 else 150.0 + (minute * 7 + shift) % 5
            late = 1.6 if minute % 17 == 4 else 0.1
            records.append(frame(minute, value, mn=site, late=late, flag="D" if minute % 23 == 9 else "N"))
            if minute % 29 == 3:
                records.append(records[-1])
        if minute in {62, 122}:
            records.append(frame(minute - 62, 160.0, cn="2061", stat="Avg", late=62))
        if minute == 100:
            sender = State(PLAN)
            rows = batch_of(sender, [r for m in (97, 98, 99) for r in rt(m, 51.0 + m, at="S2/DA001/a21002")], [0, 0, 0])
            body = encode_readings(NDJSON, rows, sender.table)
            records.append(Record("emission-monitoring", "S2", T0 + 100 * MINUTE, NDJSON, body))
        if minute == 110:
            records.append(registry_record(together(REGISTRY, outlet(site="S3")), T0 + 110 * MINUTE))
        if minute % 3 == 0:
            records.append(tick(minute))
    records = sorted(records, key=lambda r: r.arrived if r.arrived >= 0 else orjson.loads(r.body)["now"])
    log = MemoryLog(lambda: T0)
    log.append(records)
    return log.read(0, len(records))


@cache
def uninterrupted() -> tuple[list, dict]:
    engine = Engine(PLAN, REGISTRY)
    step, _ = engine.step(recorded())
    return list(step.outputs), dict(engine.state.books)


def test_the_recorded_log_has_something_to_restart() -> None:
    outputs, books = uninterrupted()
    assert {"exceed-hour", "constant", "silence"} <= {body["rule"] for kind, _, body in outputs if kind == "alert"}
    assert any(kind == "lead" for kind, *_ in outputs)
    assert books["readings.duplicate"] > 5


class Part:
    """The one part of a log in memory."""

    def __init__(self, log, store, engine) -> None:
        self.log, self.store, self.clean = log, store, engine.clean
        self.judge = lambda records: engine.step(records)[0]

    def take(self, limit):
        return self.log.read(self.store.position(), limit)


@given(st.lists(st.integers(1, 90), min_size=1, max_size=12))
@settings(max_examples=6)
def test_a_restart_after_any_step_changes_nothing(sizes: list[int]) -> None:
    """The state goes through a real file after each step; the outputs are those of a run that never stopped (promise 2)."""
    records = recorded()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "state.sqlite"
        source = MemoryLog(lambda: T0)
        source.records = records
        turn = 0
        while True:
            store = StateStore(path, durable=False)
            engine = Engine(PLAN, REGISTRY, restore=store.chunks(), load_seen=store.load_seen)
            taken = run_step([Part(source, store, engine)], store, sizes[turn % len(sizes)])
            turn += 1
            if not taken:
                outputs, books = store.outputs(0, 10_000), store.books()
                store.close()
                break
            store.close()
    expected, counted = uninterrupted()
    assert [[kind, site, body] for _, kind, site, body in outputs] == orjson.loads(orjson.dumps(expected))
    assert books == counted


def test_a_wait_that_a_tick_ended_is_not_forgotten_by_a_restart() -> None:
    """A step of nothing but a tick may release held readings: the edge of the cell must be stored with it."""
    records = [*(frame(m, 50.0 + m) for m in range(5)), frame(8, 60.0), tick(12)]
    engine = Engine(PLAN, REGISTRY)
    engine.step(records[:-1])
    engine.clean()
    step, _ = engine.step(records[-1:])
    stored = [c for c in step.chunks if c.kind == "slab" and c.name == "order"]
    assert stored
    assert np.frombuffer(stored[0].body, engine.state.slabs["order"].dtype)["newest"].max() == T0 + 8 * MINUTE


def as_0_1_0(chunks: list[Chunk]) -> list[Chunk]:
    """Return chunks with the hour grid as version 0.1.0 stored it: both open hours of a cell in one record."""
    even, odd = (
        np.frombuffer(next(c.body for c in chunks if c.name == name and isinstance(c.body, bytes)), grid.RECORD)
        for name in ("grid:even", "grid:odd")
    )
    whole = np.zeros(len(even), grid.WHOLE)
    for name in grid.RECORD.names or ():
        whole[name] = np.stack([even[name], odd[name]], axis=1)
    return [c for c in chunks if not c.name.startswith("grid:")] + [Chunk("slab", "grid", 0, whole.tobytes())]


def test_open_hours_that_version_0_1_0_stored_are_taken_over() -> None:
    records = [frame(m, 50.0 + m) for m in range(50, 75)]
    last = [tick(240)]
    engine = Engine(PLAN, REGISTRY)
    step, _ = engine.step(records)
    chunks = as_0_1_0(list(step.chunks))
    engine.clean()
    heir = Engine(PLAN, REGISTRY, restore=chunks)
    changes = {chunk[:3]: chunk.body for chunk in heir.state.changes() if chunk.kind == "slab"}
    assert changes["slab", "grid", 0] is None, "removed, and stored anew in the same step"
    assert {name for _, name, _ in changes} == {"grid", "grid:even", "grid:odd"}
    due, came = (hours(each.step(last)[1]) for each in (engine, heir))
    assert due
    assert came == due


def hours(judged: Judged) -> list[tuple[int, ...]]:
    closed = [c for out in judged.outputs for c in out.closed if c.period == "hour"]
    return [row for c in closed for row in zip(*(np.nan_to_num(np.asarray(column)).tolist() for column in c[1:]), strict=True)]


@pytest.mark.parametrize("infer", [True, False])
def test_the_registry_of_the_log_is_restored(infer: bool) -> None:
    engine = Engine(PLAN, infer=infer)
    step, _ = engine.step([registry_record(REGISTRY, T0)])
    heir = Engine(PLAN, infer=infer, restore=list(orjson_chunks(step)))
    assert heir.registry == REGISTRY


def orjson_chunks(step):
    return [c._replace(body=orjson.loads(orjson.dumps(c.body))) for c in step.chunks if not isinstance(c.body, bytes)]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"kind":7}', b'{"kind":"tick"}', b'{"kind":"tick","now":"noon"}', b'{"kind":"registry"}', b"\xff", b'{"kind":"plan"}'],
)  # fmt: skip
def test_a_control_record_that_says_nothing_is_refused_and_stops_nothing(body: bytes) -> None:
    engine = Engine(PLAN, REGISTRY)
    step, _ = engine.step([Record(CONTEXT, "", T0, JSON, body, 0), replace(frame(0, 50.0), offset=1)])
    assert [(r.reason, r.frame) for r in step.rejects] == [("bad_context", 0)]
    assert engine.state.books["readings.accepted"] == 1
