"""History: every reading with its fate, kept once, wherever it lies (design §3: a revision is kept, never overwritten)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.core import HJ212, Record, Refused
from streams import history
from streams.commit import Step
from streams.store import StateStore
from tests.streams.driven import DAY, T0, Product, Row, clock, own_hour, rt


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    opened = StateStore(tmp_path / "state.sqlite", durable=False)
    yield opened
    opened.close()


def commit(store: StateStore, product: Product, position: int = 1) -> None:
    records = [Record("emission-monitoring", "S1", T0, HJ212, b"", 100 + n) for n in range(product.frames)]
    tables = {
        history.READINGS: history.readings_table(product.outputs, product.state, records),
        history.WINDOWS: history.windows_table(product.outputs, product.state),
        history.FRAMES: history.frames_table([Record("emission-monitoring", "S1", T0, HJ212, b"##\xff", 100)]),
    }
    packed = {k: history.pack(t) for k, t in tables.items() if t is not None and len(t)}
    store.commit([Step([Record("emission-monitoring", "S1", T0, HJ212, b"", position - 1)], history=packed)])


ROWS = [
    rt(0, 50.0),
    rt(0, 50.0),
    rt(0, 55.0),
    rt(1, 51.0, flag="D"),
    rt(2, 52.0, at="S1/DA002/a21026"),
    own_hour(0, 60.0),
    rt(0, 9.0, late=120),
]


def told(kept: history.History) -> list[dict]:
    return kept.series("S1", "DA001", "a21026", T0, T0 + DAY).to_pylist()


def made(store: StateStore, tmp_path: Path) -> history.History:
    product = Product()
    product.feed(ROWS)
    product.feed([[Row(ROWS[0][0].key, T0 + DAY, 1.0, "N", T0)]])
    commit(store, product)
    return history.History(tmp_path, store)


def test_a_series_has_revisions_and_flags_and_neither_duplicates_nor_refused_values(store: StateStore, tmp_path: Path) -> None:
    kept = made(store, tmp_path)
    rows = told(kept)
    assert [(r["period"], r["value"], r["flag"], r["quality"], r["revision"]) for r in rows] == [
        ("hour", 60.0, "N", 1, 0),
        ("realtime", 50.0, "N", 1, 0),
        ("realtime", 55.0, "N", 1, 1),
        ("realtime", 9.0, "N", 1, 1),
        ("realtime", 51.0, "D", 3, 0),
    ]
    assert [r["value"] for r in kept.series("S1", "DA001", "a21026", T0, T0 + DAY, "hour").to_pylist()] == [60.0]
    assert kept.series("S1", "DA001", "a21026", T0 + 60_000, T0 + 60_001).to_pylist()[0]["value"] == 51.0


def test_every_reading_is_kept_with_its_fate_and_the_record_it_came_from(store: StateStore, tmp_path: Path) -> None:
    kept = made(store, tmp_path)
    rows = list(kept.rows(history.READINGS, "S1"))
    assert len(rows) == 8
    assert sorted(r["fate"] for r in rows) == sorted(["accepted"] * 4 + ["duplicate", "refused", "revised", "revised"])
    assert {r["value"]: (r["topic"], r["offset"]) for r in rows if r["fate"] == "accepted"}[52.0] == ("emission-monitoring", 104)
    assert all(r["arrived"].endswith("+08:00") for r in rows)
    assert list(kept.rows(history.READINGS, "S9")) == []


def test_moving_to_files_changes_no_answer_and_happens_once(store: StateStore, tmp_path: Path) -> None:
    kept = made(store, tmp_path)
    before = told(kept), sorted(map(repr, kept.rows(history.READINGS))), list(kept.rows(history.FRAMES))
    assert kept.flush() == 8 + 2 + 1
    assert store.pending(history.READINGS) == []
    assert (told(kept), sorted(map(repr, kept.rows(history.READINGS))), list(kept.rows(history.FRAMES))) == before
    assert kept.flush() == 0


def test_a_crash_between_file_and_store_doubles_nothing(
    store: StateStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = made(store, tmp_path)
    before = sorted(map(repr, kept.rows(history.READINGS)))
    with monkeypatch.context() as m:
        m.setattr(StateStore, "drop_pending", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            kept.flush()
    kept.flush()
    assert sorted(map(repr, kept.rows(history.READINGS))) == before


def test_pending_and_files_are_one(store: StateStore, tmp_path: Path) -> None:
    kept = made(store, tmp_path)
    kept.flush()
    more = Product()
    more.feed([rt(5, 77.0)])
    commit(store, more, 2)
    assert [r["value"] for r in told(kept)][-1] == 77.0


def test_windows_are_kept_with_what_they_rest_on(store: StateStore, tmp_path: Path) -> None:
    product = Product()
    product.feed([rt(m, 50.0 + m) for m in range(50)], tick=95)
    commit(store, product)
    kept = history.History(tmp_path, store)
    expected = {
        "site": "S1",
        "point": "DA001",
        "factor": "a21026",
        "period": "hour",
        "start": clock(0),
        "mean": 74.5,
        "count": 50,
        "valid": True,
    }
    assert list(kept.rows(history.WINDOWS)) == [expected]
    kept.flush()
    assert list(kept.rows(history.WINDOWS, "S1")) == [expected]


def test_frames_come_back_byte_for_byte(store: StateStore, tmp_path: Path) -> None:
    kept = made(store, tmp_path)
    kept.flush()
    [frame] = kept.rows(history.FRAMES)
    assert (frame["body"], frame["offset"], frame["content_type"]) == (b"##\xff", 100, HJ212)


def test_an_empty_history_answers(store: StateStore, tmp_path: Path) -> None:
    kept = history.History(tmp_path, store)
    assert told(kept) == []
    assert [list(kept.rows(kind)) for kind in (history.READINGS, history.WINDOWS, history.FRAMES)] == [[], [], []]
    assert kept.flush() == 0


def test_what_arrived_later_is_not_known_before(store: StateStore, tmp_path: Path) -> None:
    kept = made(store, tmp_path)
    for _where in ("pending", "files"):
        arrived = sorted({row["arrived"] for row in kept.table(history.READINGS, "S1").to_pylist()})
        for instant in (arrived[0] - 1, *arrived):
            rows = kept.table(history.READINGS, "S1").to_pylist()
            known = [r for r in rows if r["arrived"] <= instant]
            assert (
                len(list(kept.rows(history.READINGS, "S1", as_of=instant))) == len(known) < len(rows) + (instant == arrived[-1])
            )
            seen = [r["value"] for r in known if r["fate"] in {"accepted", "revised"} and r["point"] == "DA001"]
            assert sorted(kept.series("S1", "DA001", "a21026", T0, T0 + DAY, as_of=instant)["value"].to_pylist()) == sorted(seen)
        kept.flush()
    with pytest.raises(Refused, match="no log time"):
        list(kept.rows(history.WINDOWS, as_of=T0))


def test_frames_of_a_site_and_span_are_found(store: StateStore, tmp_path: Path) -> None:
    kept = made(store, tmp_path)
    assert kept.frames("S1", T0, T0 + 1)["body"].to_pylist() == [b"##\xff"]
    assert [len(kept.frames(*asked)) for asked in (("S1", T0 - 9, T0), ("S1", T0 + 1, T0 + 9), ("S2", T0, T0 + 1))] == [0, 0, 0]


def test_nothing_gives_no_table() -> None:
    product = Product()
    product.feed([], tick=0)
    assert history.readings_table(product.outputs, product.state, ()) is None
    assert history.windows_table(product.outputs, product.state) is None
