"""The index: derived columns that never change a number they have given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.index import ROLES, Facts, Index, PointFacts, SeriesFacts
from streams.model import PERIODS, STATS, SeriesKey, SeriesTable

FACTS = Facts(
    point=lambda site, point: PointFacts("gas", 6.0 if point == "DA001" else float("nan"), f"op-{site}"),
    series=lambda _site, _point, factor: SeriesFacts(0.0, 100.0, 0.5, 60.0) if factor == "a21026" else SeriesFacts(),
)


def key(text: str) -> SeriesKey:
    return SeriesKey(*text.split("/"))


KEYS = [
    key("S1/DA001/a21026/realtime/rtd"),
    key("S1/DA001/a21026/realtime/zs_rtd"),
    key("S1/DA001/a19001/realtime/rtd"),
    key("S2/DW001/w01018/hour/avg"),
    key("S1/DA001/a21026/hour/avg"),
    key("S2/DW001/w00000/realtime/rtd"),
    key("S2/DW001/w01018/realtime/rtd"),
    key("S2/DW001/w01018/minute/avg"),
    key("S1/DA001/a21026/minute/max"),
]


def test_numbers_come_in_order_of_appearance() -> None:
    index = Index(SeriesTable(KEYS), FACTS)
    assert index.sites.names == ["S1", "S2"]
    assert index.points.names == [("S1", "DA001"), ("S2", "DW001")]
    assert [c[2] for c in index.channels.names] == ["a21026", "a19001", "w01018", "w00000"]
    assert index.channel.tolist() == [0, 0, 1, 2, 0, 3, 2, 2, 0]
    assert index.cell.tolist() == [0, 1, 2, -1, -1, 3, 4, 5, -1]
    assert index.role.tolist() == [1, 2, 1, 5, 5, 1, 1, 3, 0]
    assert index.point_facts[1].operator == "op-S2"


def test_companions_of_a_point() -> None:
    index = Index(SeriesTable(KEYS), FACTS)
    assert index.point_o2.tolist() == [1, -1]
    assert index.point_flow.tolist() == [-1, 3]
    assert index.cell_flow.tolist() == [-1, -1, -1, 3, 3, -1], "the flow in the same role only"
    assert index.base_o2[0] == 6.0
    assert np.isnan(index.base_o2[1])
    assert index.convertible.tolist() == [True, False, False, False]
    assert index.is_water.tolist() == [False, False, True, True]


def test_bounds_hold_for_what_is_measured_and_not_for_what_is_computed() -> None:
    index = Index(SeriesTable(KEYS), FACTS)
    assert [(index.low[i], index.high[i]) for i in (0, 4)] == [(0.0, 100.0)] * 2
    assert [(index.low[i], index.high[i]) for i in (1, 8, 2)] == [(-np.inf, np.inf)] * 3
    assert index.floor.tolist() == [0.5, 0.0, 0.0, 0.0]
    assert index.cell_interval.tolist() == [60.0, 60.0, 0.0, 0.0, 0.0, 0.0]
    np.testing.assert_array_equal(index.point_interval, [60.0, np.nan])


def test_roles_are_the_stats_of_the_standard() -> None:
    assert set(ROLES) <= {(p, s) for p in PERIODS for s in STATS}
    assert sorted(ROLES.values()) == list(range(1, 9))


def test_by_factor_is_extended_as_channels_come() -> None:
    table = SeriesTable(KEYS[:3])
    index = Index(table, FACTS)
    asked: list[str] = []

    def of(factor: str) -> float:
        asked.append(factor)
        return float(len(asked))

    assert index.by_factor("x", of).tolist() == [1.0, 2.0]
    table.id(KEYS[3])
    index.extend()
    assert index.by_factor("x", of).tolist() == [1.0, 2.0, 3.0]
    assert asked == ["a21026", "a19001", "w01018"]


ANY = st.builds(
    SeriesKey,
    st.sampled_from(["S1", "S2", "S3"]),
    st.sampled_from(["DA001", "DA002", "DW001"]),
    st.sampled_from(["a21026", "a19001", "w01018", "w00000"]),
    st.sampled_from(PERIODS),
    st.sampled_from(STATS),
)
COLUMNS = [
    "site",
    "point",
    "channel",
    "cell",
    "role",
    "period",
    "low",
    "high",
    "cell_channel",
    "cell_site",
    "cell_role",
    "floor",
    "channel_point",
    "channel_site",
    "point_site",
    "point_o2",
    "point_flow",
    "base_o2",
    "is_water",
    "convertible",
    "cell_flow",
    "cell_interval",
    "point_interval",
]


@given(st.lists(ANY, unique=True, max_size=25), st.lists(st.integers(0, 25), max_size=4))
def test_growing_gives_what_building_at_once_gives(keys: list[SeriesKey], cuts: list[int]) -> None:
    table = SeriesTable()
    index = Index(table, FACTS)
    for end in sorted({*cuts, len(keys)}):
        for k in keys[:end]:
            table.id(k)
        index.extend()
    whole = Index(SeriesTable(keys), FACTS)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(index, name), getattr(whole, name), err_msg=name)
    assert index.channels.names == whole.channels.names


@pytest.mark.parametrize("empty", [SeriesTable(), SeriesTable([])])
def test_an_empty_table_has_an_empty_index(empty: SeriesTable) -> None:
    assert len(Index(empty).site) == 0
