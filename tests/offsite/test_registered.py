"""The registry of a running product, and devices that are adopted with all that they have sent (design §3)."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from connectors.core import HJ212, NDJSON, Lost, Record, Refused, Retry
from connectors.memory import Fault, FaultyLog, MemoryLog
from offsite.registered import adopt, held, load_current, merged, place_of, put_current
from streams.codecs.hj212_encode import encode_frame
from streams.engine import Engine
from streams.identity import rfc3339
from streams.plan import load_plan
from streams.plan.load import HOUR, MINUTE
from streams.records import REDRIVEN, registry_record, tick_record
from streams.registry_model import Point, Registry, Site

T0 = 1_791_734_400_000
ST = {"31": {"a21026": 500.0}, "32": {"w01018": 80.0}}


def hour(mn: str, number: int = 0, st: str = "31") -> Record:
    items = {factor: {"Avg": value, "Flag": "N"} for factor, value in ST[st].items()}
    frame = encode_frame(mn, "2061", T0 + number * HOUR, items, st=st)[:-2]
    return Record("held", mn, T0 + (number + 1) * HOUR + MINUTE, HJ212, frame)


def rows(site: str) -> Record:
    body = orjson.dumps({"site": site, "point": "P7", "factor": "w01018", "time": rfc3339(T0), "period": "hour", "value": 7.0})
    return Record("held", site, T0 + HOUR, NDJSON, body)


def log_of(*records: Record) -> MemoryLog:
    log = MemoryLog(lambda: T0 + 5 * HOUR)
    log.append(records)
    return log


def books(log: MemoryLog) -> dict[str, int]:
    engine = Engine(load_plan())
    engine.step(log.read(0, log.end()))
    return engine.state.books


# --- the file


def test_there_is_an_empty_registry_before_the_first(tmp_path: Path) -> None:
    assert load_current(tmp_path) == Registry()


def test_what_is_put_is_in_force_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    registry = Registry((Site("S1", "示范"),), (Point("S1", "DA001", "gas", mn="MN1"),))
    put_current(tmp_path, registry)
    put_current(tmp_path, registry)
    assert load_current(tmp_path) == registry
    assert [p.name for p in tmp_path.iterdir()] == ["registry.json"]


def test_a_place_is_a_site_and_a_topic() -> None:
    registry = Registry((Site("S1"),), (Point("S1", "DW001", "water", mn="MN1"), Point("S1", "NS001", "noise", mn="MN2")))
    assert place_of(registry, "MN1", "32") == ("S1", "emission-monitoring")
    assert place_of(registry, "MN1", "31") == ("S1", "emission-monitoring")
    assert place_of(registry, "MN2", "23") == ("S1", "sensor-readings")
    assert place_of(registry, "MN3", "31") is None


def test_what_the_base_has_stays() -> None:
    base = Registry((Site("S1", "old"),), (Point("S1", "DA001", "gas"),))
    more = Registry((Site("S1", "new"), Site("S2")), (Point("S1", "DA001", "water"), Point("S1", "DA002", "gas")))
    grown = merged(base, more)
    assert [(s.site, s.name) for s in grown.sites] == [("S1", "old"), ("S2", "")]
    assert [(p.point, p.medium) for p in grown.points] == [("DA001", "gas"), ("DA002", "gas")]


# --- adoption


def test_an_adopted_device_is_judged_by_all_that_it_sent(tmp_path: Path) -> None:
    log = log_of(hour("MN1"), hour("MN1", 1), hour("MN2"), tick_record(T0 + 2 * HOUR))
    assert books(log)["readings.received"] == 0
    assert adopt(tmp_path, log, T0 + 5 * HOUR, ["MN1"]) == {"MN1": 2}
    assert [(p.site, p.point, p.medium, p.mn) for p in load_current(tmp_path).points] == [("MN1", "DA001", "gas", "MN1")]
    again = log.read(4, 9)
    assert [(r.topic, r.key, r.content_type) for r in again[1:]] == [("emission-monitoring", "MN1", REDRIVEN)] * 2
    found = books(log)
    assert (found["frames.accepted"], found["frames.held"], found["readings.received"]) == (3, 3, 2)
    assert found["readings.accepted"] == 2, "driven again at the log time at which they came"


def test_all_at_once_and_each_only_once(tmp_path: Path) -> None:
    log = log_of(hour("MN1"), hour("MN2", st="32"), rows("S7"))
    assert adopt(tmp_path, log, T0 + 5 * HOUR, None) == {"MN1": 1, "MN2": 1, "S7": 1}
    end = log.end()
    assert held(log) == []
    assert adopt(tmp_path, log, T0 + 5 * HOUR, None) == {}
    assert log.end() == end
    registry = load_current(tmp_path)
    assert {(p.site, p.point, p.medium) for p in registry.points} == {
        ("MN1", "DA001", "gas"),
        ("MN2", "DW001", "water"),
        ("S7", "P7", "water"),
    }
    assert books(log)["readings.accepted"] == 3


def test_of_whom_nothing_is_held_is_refused_by_name(tmp_path: Path) -> None:
    log = log_of(hour("MN1"))
    with pytest.raises(Refused, match="MN8, MN9"):
        adopt(tmp_path, log, T0, ["MN9", "MN1", "MN8"])
    assert log.end() == 1
    assert load_current(tmp_path) == Registry()


def test_a_device_that_has_got_a_place_meanwhile_goes_there(tmp_path: Path) -> None:
    put_current(tmp_path, Registry((Site("S1"),), (Point("S1", "DA003", "gas", mn="MN1"),)))
    log = log_of(hour("MN1"))
    adopt(tmp_path, log, T0 + 5 * HOUR, ["MN1"])
    assert log.read(2, 1)[0].key == "S1"
    assert [p.point for p in load_current(tmp_path).points] == ["DA003"]


def test_a_frame_that_nobody_can_read_makes_a_device_and_no_readings(tmp_path: Path) -> None:
    log = log_of(Record("held", "MN1", T0, HJ212, b"##0012garbage&&&&0000"))
    assert adopt(tmp_path, log, T0 + HOUR, None) == {"MN1": 1}
    assert [p.mn for p in load_current(tmp_path).points] == ["MN1"]


@pytest.mark.parametrize("fault", [Fault.FULL, Fault.CRASH_BEFORE])
def test_an_append_that_fails_changes_nothing(tmp_path: Path, fault: Fault) -> None:
    log = log_of(hour("MN1"))
    with pytest.raises((Retry, Lost)):
        adopt(tmp_path, FaultyLog(log, {0: fault}), T0, None)
    assert log.end() == 1
    assert load_current(tmp_path) == Registry()
    assert [r.key for r in held(log)] == ["MN1"]


def test_the_registry_of_the_log_is_the_one_of_the_file(tmp_path: Path) -> None:
    log = log_of(hour("MN1"))
    adopt(tmp_path, log, T0 + 5 * HOUR, None)
    engine = Engine(load_plan())
    engine.step(log.read(0, log.end()))
    assert engine.registry == load_current(tmp_path)
    assert registry_record(engine.registry, T0).topic == "context"
