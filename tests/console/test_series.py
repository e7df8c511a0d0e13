from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from console import series
from streams.summary import SUMMARY

VALUES = st.lists(st.tuples(st.floats(-1e6, 1e6), st.booleans()), min_size=1, max_size=400)


@given(VALUES, st.integers(4, 100))
def test_thinning_keeps_the_extremes_and_the_order(rows: list[tuple[float, bool]], most: int) -> None:
    value = np.array([row[0] for row in rows])
    usable = np.array([row[1] for row in rows])
    kept = series.thin(value, usable, most)
    assert len(kept) <= max(most, 4)
    assert (np.diff(kept) > 0).all()
    if usable.any():
        assert value[kept][usable[kept]].max() == value[usable].max()
        assert value[kept][usable[kept]].min() == value[usable].min()
    assert (~usable[kept]).any() == (~usable).any()


def test_a_gap_breaks_the_line() -> None:
    time = np.array([0, 60, 120, 360, 420], np.int64)
    line = series.columns(time, np.ones(5), np.ones(5, np.uint8), [""] * 5)
    assert line["time"] == [0, 60, 120, 180, 360, 420]
    assert line["value"] == [1.0, 1.0, 1.0, None, 1.0, 1.0]
    assert line["count"] == 5


def test_one_missing_reading_is_no_gap() -> None:
    assert len(series.gaps(np.array([0, 60, 180, 240, 300], np.int64))) == 0


def test_bad_quality_is_marked_not_dropped() -> None:
    line = series.columns(np.arange(5) * 60, np.arange(5.0), np.array([1, 2, 3, 4, 9], np.uint8), list("NNTDB"))
    assert line["bad"] == [False, False, True, True, True]
    assert line["flag"] == list("NNTDB")


def test_only_the_newest_revision_is_drawn() -> None:
    table = pa.table({
        "time": [0, 0, 60], "stat": ["avg"] * 3, "period": ["hour"] * 3, "value": [1.0, 2.0, 3.0],
        "flag": ["N", "N", None], "quality": pa.array([1, 1, 1], pa.uint8()), "revision": [0, 1, 0],
    })  # fmt: skip
    (line,) = series.lines(table)
    assert line["value"] == [2.0, 3.0]
    assert line["revised"] == 1
    assert line["flag"] == ["N", ""]


def test_windows_break_where_there_are_none_and_keep_their_extremes() -> None:
    windows = [(0, 1.0), (60, 2.0), (120, 3.0), (360, 9.0)]
    rows = [{"time": t, "period": "hour", "stat": "avg", "count": 2, "mean": v, "min": v - 1, "max": v + 1} for t, v in windows]
    other = [row | {"stat": "zs_avg", "mean": 0.5} for row in rows[:1]]
    line, second = series.bands(pa.Table.from_pylist([*other, *rows], SUMMARY))
    assert (line["time"], line["count"]) == ([0, 60, 120, 180, 360], 8)
    assert line["value"] == [1.0, 2.0, 3.0, None, 9.0]
    assert line["low"] == [0.0, 1.0, 2.0, None, 8.0]
    assert line["high"] == [2.0, 3.0, 4.0, None, 10.0]
    assert line["bad"] == [False] * 5
    assert (second["stat"], second["value"]) == ("zs_avg", [0.5])
    assert series.bands(SUMMARY.empty_table()) == []


def test_no_rows_no_lines() -> None:
    names = ("time", "stat", "period", "value", "flag", "quality", "revision")
    assert series.lines(pa.table({name: [] for name in names})) == []


@given(
    st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.sampled_from(["realtime", "minute", "hour", "day"])
)
def test_the_window_holds_the_episode_and_not_the_future(opened: int, lasted: int, later: int, period: str) -> None:
    for closed in (None, opened + lasted):
        now = opened + lasted + later
        start, end = series.window(opened, closed, opened + lasted, now, period)
        assert start < opened < end
        assert end <= max(now, opened + series.MARGIN_MS[period] // 24)


def test_an_open_episode_of_a_silent_site_is_not_drawn_to_today() -> None:
    start, end = series.window(0, None, series.HOUR_MS, 10_000 * series.HOUR_MS, "hour")
    assert (start, end) == (-24 * series.HOUR_MS, 25 * series.HOUR_MS)
