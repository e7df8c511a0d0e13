"""Chart history in a real InfluxDB says what Parquet says: the same rows, revisions, windows and summaries, whatever names are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pytest

from connectors.core import Lost, Refused, Retry
from connectors.influx import Influx
from streams import history
from streams.commit import Step
from streams.history import READINGS, WINDOWS, History
from streams.history_influx import InfluxHistory
from streams.model import SeriesKey
from streams.store import StateStore
from tests.real.influx import InfluxServer
from tests.streams.driven import DAY, T0, Product, Row, own_hour, rt, span
from tests.streams.test_history import ROWS

pytestmark = pytest.mark.servers

FOR_EVER = {"realtime": 0, "minute": 0, "hour": 0}
MINUTE = 60_000
HOSTILE = (
    "城南污水处理厂",
    'a"b',
    "a,b=c d",
    "back\\",
    "\\",
    "line\nbreak\t",
    '") |> drop() //',
    "${params}",
    "50%25",
    "001",
    "'; --",
    "x" * 300,
)


@pytest.fixture
def kept(influx: InfluxServer) -> Iterator[InfluxHistory]:
    with Influx(influx.url, influx.org, influx.token) as client:
        made = InfluxHistory(client, f"t{uuid4().hex}", lambda: T0 + DAY, FOR_EVER)
        made.prepare()
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    opened = StateStore(tmp_path / "state.sqlite", durable=False)
    yield opened
    opened.close()


@pytest.fixture
def parquet(tmp_path: Path, store: StateStore) -> History:
    return History(tmp_path, store)


Tables = dict[str, pa.Table]


def judged(*batches: list[list[Row]], tick: float | None = None) -> Tables:
    """Give the history of what a product made of the batches."""
    product = Product()
    for batch in batches:
        product.feed(batch, tick)
    tables = {
        READINGS: history.readings_table(product.outputs, product.state, ()),
        WINDOWS: history.windows_table(product.outputs, product.state),
    }
    return {kind: history.unpack(history.pack(table)) for kind, table in tables.items() if table is not None}


def both(kept: InfluxHistory, store: StateStore, tables: Tables, position: int = 1) -> None:
    """Put the tables into both stores."""
    store.commit([Step(span(position - 1, position), history={kind: history.pack(table) for kind, table in tables.items()})])
    for kind, table in tables.items():
        assert kept.put(kind, table).refused == []


def same_series(kept: Any, parquet: History, key: tuple[str, str, str], start: int = T0, end: int = T0 + DAY) -> list[dict]:
    mine, theirs = (one.series(*key, start, end) for one in (kept, parquet))
    assert mine.schema.names == theirs.schema.names
    assert mine.to_pylist() == theirs.to_pylist()
    return mine.to_pylist()


CHANNEL = ("S1", "DA001", "a21026")


def test_a_series_is_the_same_in_both_stores(kept: InfluxHistory, parquet: History, store: StateStore) -> None:
    both(kept, store, judged(ROWS, [[Row(ROWS[0][0].key, T0 + DAY, 1.0, "N", T0)]]))
    rows = same_series(kept, parquet, CHANNEL)
    assert [(r["period"], r["value"], r["flag"], r["quality"], r["revision"]) for r in rows] == [
        ("hour", 60.0, "N", 1, 0),
        ("realtime", 50.0, "N", 1, 0),
        ("realtime", 55.0, "N", 1, 1),
        ("realtime", 9.0, "N", 1, 1),
        ("realtime", 51.0, "D", 3, 0),
    ]
    assert same_series(kept, parquet, ("S1", "DA002", "a21026"))[0]["value"] == 52.0
    assert same_series(kept, parquet, CHANNEL, T0 + MINUTE, T0 + MINUTE + 1)[0]["value"] == 51.0
    assert same_series(kept, parquet, CHANNEL, T0 + 1, T0 + MINUTE) == []
    assert same_series(kept, parquet, CHANNEL, T0 + DAY, T0) == []
    assert same_series(kept, parquet, ("S9", "DA001", "a21026")) == []
    for period in ("hour", "realtime", "day"):
        assert kept.series(*CHANNEL, T0, T0 + DAY, period).equals(parquet.series(*CHANNEL, T0, T0 + DAY, period))


def test_rows_are_the_same_but_for_what_only_evidence_needs(kept: InfluxHistory, parquet: History, store: StateStore) -> None:
    both(kept, store, judged(ROWS))
    dropped = {"arrived", "topic", "offset"}
    expected = [
        {k: v for k, v in row.items() if k not in dropped}
        for row in parquet.rows(READINGS, "S1")
        if row["fate"] not in {"duplicate", "refused"}
    ]
    by = lambda row: (row["time"], row["period"], row["point"], row["value"])
    assert sorted(kept.rows(READINGS, "S1"), key=by) == sorted(expected, key=by)
    assert list(kept.rows(READINGS, "S9")) == []


def test_windows_are_the_same(kept: InfluxHistory, parquet: History, store: StateStore) -> None:
    both(kept, store, judged([rt(m, 50.0 + m) for m in range(50)], tick=95))
    expected = list(parquet.rows(WINDOWS))
    assert len(expected) == 1
    assert list(kept.rows(WINDOWS)) == list(kept.rows(WINDOWS, "S1")) == expected


def test_a_window_without_a_mean_is_kept(kept: InfluxHistory) -> None:
    row = {"site": "S1", "point": "P", "factor": "f", "period": "hour", "start": T0, "mean": np.nan, "count": 0, "valid": False}
    kept.put(WINDOWS, pa.Table.from_pylist([row]))
    [read] = kept.rows(WINDOWS)
    assert np.isnan(read["mean"])
    assert (read["count"], read["valid"]) == (0, False)


def test_the_same_batch_twice_is_the_same_history(kept: InfluxHistory, parquet: History, store: StateStore) -> None:
    tables = judged([rt(m, 50.0 + m) for m in range(50)], ROWS, tick=95)
    both(kept, store, tables)
    for kind, table in tables.items():
        kept.put(kind, table)
        kept.put(kind, table.slice(1, 7))
    assert len(same_series(kept, parquet, CHANNEL)) > 50
    assert list(kept.rows(WINDOWS)) == list(parquet.rows(WINDOWS))


def test_many_revisions_of_one_instant_all_stand(kept: InfluxHistory, parquet: History, store: StateStore) -> None:
    both(kept, store, judged([rt(0, 50.0), *(rt(0, float(v), late=v + 1) for v in range(100))]))
    assert [row["value"] for row in same_series(kept, parquet, CHANNEL)] == [50.0, *range(50), *range(51, 100)]


def named(names: tuple[str, ...]) -> list[list[Row]]:
    keys = [SeriesKey(s, p, f, "hour", stat) for s, p, f, stat in zip(names, names[1:], names[2:], names[3:], strict=False)]
    return [[Row(key, T0, float(i), "N", T0 + MINUTE)] for i, key in enumerate(keys)]


def test_hostile_names_are_names(kept: InfluxHistory, parquet: History, store: StateStore) -> None:
    names = HOSTILE + HOSTILE[:3]
    both(kept, store, judged(named(names)))
    for i, key in enumerate(zip(names, names[1:], names[2:], strict=False)):
        if i < len(HOSTILE):
            [row] = same_series(kept, parquet, key)
            assert (row["stat"], row["value"]) == (names[i + 3], float(i))
            assert next(iter(kept.rows(READINGS, key[0])))["site"] == key[0]
            assert kept.summary(*key, T0, T0 + DAY).equals(parquet.summary(*key, T0, T0 + DAY))
    assert same_series(kept, parquet, ('S1" or true or r.site == "', "DA001", "a21026")) == []


def test_an_empty_part_of_a_name_is_kept(kept: InfluxHistory, parquet: History, store: StateStore) -> None:
    both(
        kept,
        store,
        judged([[Row(SeriesKey("S1", "", "f", "hour", ""), T0, 1.0, "", T0 + MINUTE)], *named(("S1", "P", "f", "avg"))]),
    )
    [row] = same_series(kept, parquet, ("S1", "", "f"))
    assert (row["stat"], row["flag"]) == ("", "")
    assert len(same_series(kept, parquet, ("S1", "P", "f"))) == 1


def same_summary(kept: InfluxHistory, parquet: History, start: int, end: int, most: int) -> list[dict]:
    mine, theirs = (one.summary(*CHANNEL, start, end, most=most) for one in (kept, parquet))
    assert mine.drop_columns("mean").equals(theirs.drop_columns("mean"))
    np.testing.assert_allclose(mine["mean"].to_numpy(), theirs["mean"].to_numpy(), rtol=1e-12)
    return mine.to_pylist()


@pytest.mark.parametrize("most", [1, 7, 60, 2000])
def test_a_long_span_comes_back_in_few_points(kept: InfluxHistory, parquet: History, store: StateStore, most: int) -> None:
    clean = [rt(m, 50.0 + m % 7) for m in range(120)]
    spoilt = [rt(121, 9999.0, flag="D"), *(own_hour(h, 60.0 + h) for h in range(3))]
    both(kept, store, judged(clean, spoilt))
    rows = same_summary(kept, parquet, T0, T0 + 3 * 60 * MINUTE, most)
    assert len(rows) <= 2 * most
    assert {row["stat"] for row in rows} == {"rtd", "avg"}
    assert sum(row["count"] for row in rows) == 120 + 3
    assert max(row["max"] for row in rows) == 62.0
    same_summary(kept, parquet, T0 + 17, T0 + 3 * 60 * MINUTE + 5, most)


def test_a_summary_counts_the_newest_revision_once(kept: InfluxHistory, parquet: History, store: StateStore) -> None:
    first = [rt(m, 50.0) for m in range(60)]
    corrected = [rt(20, 70.0, late=50), rt(30, 90.0, flag="D", late=50), rt(20, 60.0, late=55)]
    both(kept, store, judged(first, corrected))
    rows = same_summary(kept, parquet, T0, T0 + 60 * MINUTE, 6)
    assert [(row["count"], row["max"]) for row in rows] == [(10, 50.0), (10, 50.0), (10, 60.0), (9, 50.0), (10, 50.0), (10, 50.0)]
    assert kept.summary(*CHANNEL, T0 + DAY, T0).num_rows == 0


def test_what_its_bucket_no_longer_keeps_is_counted_and_not_written(influx: InfluxServer) -> None:
    now = time.time_ns() // 1_000_000
    key = SeriesKey("S1", "P", "f", "realtime", "rtd")
    rows = [[Row(key, now - days * DAY, float(days), "N", now - days * DAY + 1)] for days in (100, 89, 1)]
    table = judged(*([row] for row in rows))[READINGS]
    with Influx(influx.url, influx.org, influx.token) as client:
        kept = InfluxHistory(client, f"t{uuid4().hex}", lambda: now)
        kept.prepare()
        assert kept.put(READINGS, table) == (2, 1, [])
        assert kept.series("S1", "P", "f", 0, now)["value"].to_pylist() == [89.0, 1.0]


def test_an_outage_is_bridged_by_repeating(tmp_path: Path, store: StateStore, parquet: History, influx_own: InfluxServer) -> None:
    with Influx(influx_own.url, influx_own.org, influx_own.token) as client:
        kept = InfluxHistory(client, "offsite", lambda: T0 + DAY, FOR_EVER)
        kept.prepare()
        before, during = judged([rt(m, 50.0 + m) for m in range(30)]), judged([rt(m, 50.0 + m) for m in range(30, 60)])
        both(kept, store, before)
        influx_own.stop()
        for act in (lambda: kept.put(READINGS, during[READINGS]), lambda: kept.series(*CHANNEL, T0, T0 + DAY), kept.prepare):
            with pytest.raises(Retry, match="not reachable") as waited:
                act()
            assert waited.value.after > 0
        influx_own.start()
        both(kept, store, during, 2)
        kept.put(READINGS, before[READINGS])
        assert len(same_series(kept, parquet, CHANNEL)) == 60


def test_over_tls(kept_tls: InfluxHistory) -> None:
    kept_tls.put(READINGS, judged([rt(0, 50.0)])[READINGS])
    assert kept_tls.series(*CHANNEL, T0, T0 + DAY)["value"].to_pylist() == [50.0]


@pytest.fixture
def kept_tls(influx_tls: InfluxServer) -> Iterator[InfluxHistory]:
    with Influx(influx_tls.url, influx_tls.org, influx_tls.token, str(influx_tls.ca)) as client:
        made = InfluxHistory(client, f"t{uuid4().hex}", lambda: T0 + DAY, FOR_EVER)
        made.prepare()
        yield made


def test_what_only_the_archive_knows_is_refused(kept: InfluxHistory) -> None:
    with pytest.raises(Refused, match="archive"):
        kept.series(*CHANNEL, T0, T0 + DAY, as_of=T0)
    with pytest.raises(Refused, match="archive"):
        next(kept.rows(history.FRAMES))


def test_buckets_that_nobody_prepared_are_named(influx: InfluxServer) -> None:
    with Influx(influx.url, influx.org, influx.token) as client:
        kept = InfluxHistory(client, "never-made", lambda: T0, FOR_EVER)
        with pytest.raises(Lost, match="never-made"):
            kept.series(*CHANNEL, T0, T0 + DAY)
