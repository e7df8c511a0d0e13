"""The state store: a step is there whole or not at all, one writer, and what is read back is what was written (promise 2)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from connectors.core import HJ212, Lost, Record, Retry
from connectors.memory import MemoryLog
from streams import history
from streams.commit import Step, run_step
from streams.embedded import open_embedded
from streams.engine import Engine
from streams.model import Reject
from streams.records import tick_record
from streams.state import Chunk
from streams.store import StateStore
from tests.streams.driven import PLAN, T0, span


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "state.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[StateStore]:
    opened = StateStore(path, durable=False)
    yield opened
    opened.close()


SEEN = np.array([1, 2], np.int64).tobytes() + np.array([0.5, 1.5]).tobytes()
STEP = Step(
    span(7, 9),
    [("alert", "S1", {"id": "a", "名": "一"}), ("lead", "S2", {"id": "l"})],
    [
        Chunk("slab", "sites", 0, b"\0\1"),
        Chunk("episode", "r", 3, {"start": 5}),
        Chunk("windows", "S1", 0, [{"point": "p"}]),
        Chunk("misc", "", 0, {"books": {"readings.received": 4}, "tick": 99}),
        Chunk("seen", "20000", 1, SEEN),
    ],
    [Reject("bad_number", "x", b"\xff\0", 1, 2), Reject("bad_crc", "y", b"", -1, 0)],
    {"readings": b"abc"},
)


def test_an_empty_store(store: StateStore) -> None:
    assert (store.position(), store.books(), store.tick(), store.chunks(), store.outputs(0, 10)) == (0, {}, 0, [], [])
    assert store.load_seen(20_000) == {}


def test_a_step_comes_back_whole(store: StateStore, path: Path) -> None:
    store.commit([STEP])
    reader = StateStore(path, readonly=True)
    for each in (store, reader):
        assert each.position() == 9
        assert each.outputs(0, 10) == [(1, "alert", "S1", {"id": "a", "名": "一"}), (2, "lead", "S2", {"id": "l"})]
        assert each.outputs(1, 10) == each.outputs(0, 10)[1:]
        assert each.outputs(0, 1) == each.outputs(0, 10)[:1]
        assert each.books() == {"readings.received": 4}
        assert each.tick() == 99
        assert {(c.kind, c.name, c.number): c.body for c in each.chunks()} == {
            (c.kind, c.name, c.number): c.body for c in STEP.chunks if c.kind != "seen"
        }
        [(number, (keys, values))] = each.load_seen(20_000).items()
        assert (number, keys.tolist(), values.tolist()) == (1, [1, 2], [0.5, 1.5])
        assert each.dead_letters() == [
            {"id": 1, "offset": 8, "reason": "bad_number", "detail": "x", "raw": b"\xff\0", "rows": 2},
            {"id": 2, "offset": None, "reason": "bad_crc", "detail": "y", "raw": b"", "rows": 0},
        ]
        assert each.pending("readings") == [(1, b"abc")]
    reader.close()


def test_a_later_step_replaces_and_removes(store: StateStore) -> None:
    store.commit([STEP])
    store.commit(
        [
            Step(
                span(9, 10),
                [],
                [Chunk("slab", "sites", 0, b"\2"), Chunk("episode", "r", 3, None), Chunk("seen", "20000", 1, None)],
            )
        ]
    )
    kept = {(c.kind, c.name): c.body for c in store.chunks()}
    assert kept["slab", "sites"] == b"\2"
    assert ("episode", "r") not in kept
    assert store.load_seen(20_000) == {}
    assert store.position() == 10


class Broken(list):
    """Outputs that fail in the middle of the transaction."""

    def __iter__(self):
        yield ("alert", "S1", {"id": "a"})
        raise Lost("the disk went away")


def test_a_step_that_fails_changes_nothing(store: StateStore, path: Path) -> None:
    store.commit([Step(span(0, 1))])
    with pytest.raises(Lost):
        store.commit([Step(span(1, 2), Broken(), [Chunk("slab", "sites", 0, b"x")])])
    with pytest.raises(TypeError):
        store._put_chunks(Step(chunks=[Chunk("episode", "r", 0, {"bad": object()})]))  # type: ignore[dict-item]
    assert (store.position(), store.outputs(0, 9), store.chunks()) == (1, [], [])
    store.commit([Step(span(1, 2))])
    assert store.position() == 2


def test_a_judge_that_was_replaced_can_do_no_harm(store: StateStore, path: Path) -> None:
    store.commit([Step(span(0, 1), [("alert", "S1", {"id": "a"})])])
    heir = StateStore(path, durable=False)
    with pytest.raises(Lost, match="another judge has taken over"):
        store.commit([Step(span(1, 2), [("alert", "S1", {"id": "b"})])])
    with pytest.raises(Lost):
        store.drop_pending("readings", 1)
    assert heir.position() == 1
    heir.commit([Step(span(1, 2), [("alert", "S1", {"id": "b"})])])
    assert [body["id"] for _, _, _, body in heir.outputs(0, 9)] == ["a", "b"]
    heir.close()


def test_a_reader_replaces_nobody(store: StateStore, path: Path) -> None:
    StateStore(path, readonly=True).close()
    store.commit([Step(span(0, 1))])


def test_a_missing_file_and_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises((Lost, Retry), match=r"none\.sqlite"):
        StateStore(tmp_path / "none.sqlite", readonly=True)
    bad = tmp_path / "bad.sqlite"
    bad.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    with pytest.raises(Lost, match=r"bad\.sqlite"):
        StateStore(bad)


def test_no_id_of_pending_history_is_given_twice(store: StateStore) -> None:
    store.commit([Step(span(0, 1), history={"readings": b"a"})])
    store.drop_pending("readings", 1)
    store.commit([Step(span(1, 2), history={"readings": b"b"})])
    assert store.pending("readings") == [(2, b"b")]


def test_run_step_commits_before_it_forgets(store: StateStore) -> None:
    log = MemoryLog(lambda: T0)
    log.append([Record("t", "S1", -1, HJ212, b"x"), tick_record(T0)])
    order: list[str] = []

    class Part:
        def take(self, limit):
            return log.read(store.position(), limit)

        def judge(self, records):
            order.append(f"judge {[r.offset for r in records]}")
            return Step(records)

        def clean(self):
            order.append(f"clean {store.position()}")

    assert [run_step([Part()], store, limit) for limit in (1, 9, 9)] == [1, 1, 0]
    assert order == ["judge [0]", "clean 1", "judge [1]", "clean 2"]


def test_the_embedded_judge_stores_what_it_judged_with_the_step(tmp_path: Path) -> None:
    log = MemoryLog(lambda: T0)
    log.append([Record("held", "MN1", -1, HJ212, b"##0000"), tick_record(T0)])
    judge = open_embedded(tmp_path, log, PLAN, durable=False)
    assert judge.run_once() == 2
    assert judge.run_once() == 0
    assert judge.store.position() == 2
    assert judge.store.books()["frames.held"] == 1
    assert next(row["body"] for row in judge.kept.rows(history.FRAMES)) == b"##0000"
    judge.store.close()


def test_a_record_on_which_the_judge_fails_is_set_aside_and_stops_nothing_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = MemoryLog(lambda: T0)
    log.append([Record("held", "MN1", -1, HJ212, b"##%04d" % n) for n in range(40)])
    judge = open_embedded(tmp_path, log, PLAN, durable=False)
    decode = Engine._decode_run

    def touchy(self, kind, group):
        if any(record.body == b"##0029" for record in group):
            raise ZeroDivisionError("a bug of ours")
        yield from decode(self, kind, group)

    monkeypatch.setattr(Engine, "_decode_run", touchy)
    steps = 0
    while judge.store.position() < log.end():
        judge.run_once()
        steps += 1
        assert steps < 40
    assert judge.store.books()["frames.held"] == 39
    assert judge.store.books()["records.set_aside"] == 1
    [letter] = judge.store.dead_letters()
    assert (letter["offset"], letter["reason"], letter["raw"]) == (29, "judge_failed", b"##0029")
    assert letter["detail"] == "ZeroDivisionError: a bug of ours"
    judge.store.close()


def test_a_failure_that_does_not_come_back_sets_nothing_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = MemoryLog(lambda: T0)
    log.append([Record("held", "MN1", -1, HJ212, b"##0000")])
    judge = open_embedded(tmp_path, log, PLAN, durable=False)
    with monkeypatch.context() as once:
        once.setattr(Engine, "_decode_run", lambda *_: 1 / 0)
        assert judge.run_once() == 0
    assert judge.run_once() == 1
    assert judge.store.books() == {
        "frames.accepted": 1,
        "frames.held": 1,
        "readings.received": 0,
        "readings.refused": 0,
        "events": 0,
    }
    judge.store.close()
