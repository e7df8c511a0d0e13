"""Readings for the codec suites, as Hypothesis strategies and as one good row."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from streams.model import PERIODS, STATS, Readings, SeriesKey, SeriesTable

NAME = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=6)
ROW = st.tuples(
    st.sampled_from(["S1", "S2", "厂区,甲", 'a"b', " x "]) | NAME,
    st.sampled_from(["DA001", "DW001"]),
    st.sampled_from(["a21026", "w01018"]) | NAME,
    st.sampled_from(PERIODS),
    st.sampled_from(STATS),
    st.integers(0, 4_000_000_000_000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, *b"NFMSDCTB?"]),
)


def batch(rows: list[tuple[Any, ...]]) -> tuple[Readings, SeriesTable]:
    table = SeriesTable()
    series = [table.id(SeriesKey(*row[:5])) for row in rows]
    columns = ([row[i] for row in rows] for i in (5, 6, 7))
    return Readings.of(series, *columns, [7] * len(rows), range(len(rows))), table


def good(**fields: Any) -> dict[str, Any]:
    row = {
        "site": "S1",
        "point": "DA001",
        "factor": "a21026",
        "time": "2026-11-23T10:00:00+08:00",
        "period": "hour",
        "stat": "avg",
    }
    return {**row, "value": 12.5, "flag": "N", **fields}


def same(found: Readings, found_table: SeriesTable, wanted: Readings, wanted_table: SeriesTable) -> None:
    assert found_table.keys == wanted_table.keys
    for name in Readings.__slots__:
        assert getattr(found, name).tolist() == getattr(wanted, name).tolist(), name
        assert getattr(found, name).dtype == getattr(wanted, name).dtype, name
