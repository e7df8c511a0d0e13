"""Log time of recorded input: the running maximum of each site, and broken clocks (design §3)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.core import CSV
from streams.codecs.readings import decode_readings
from streams.engine import Engine
from streams.identity import rfc3339
from streams.model import Decoded, Readings, SeriesKey
from streams.plan.load import HOUR, MINUTE
from streams.replay import LogTime
from streams.state import State
from tests.streams.driven import PLAN, T0

KEYS = {site: SeriesKey(site, "DA001", "a21026", "realtime", "rtd") for site in ("S1", "S2")}
YEAR_2040 = T0 + 14 * 365 * 24 * HOUR


def stamped(
    rows: Iterable[tuple[str, int]], *, time: LogTime | None = None, state: State | None = None, frames: list[int] | None = None
):
    """Stamp rows (site, ms after T0), one record each; return the readings."""
    rows = list(rows)
    state = state or State(PLAN)
    series = [state.table.id(KEYS[site]) for site, _ in rows]
    state.grow()
    n = len(rows)
    batch = Readings.of(series, [T0 + t for _, t in rows], [1.0] * n, [0] * n, [-1] * n, frames or list(range(n)))
    return (time or LogTime()).stamp(Decoded(batch), state.index).readings


def arrivals(*rows: tuple[str, int]) -> list[int]:
    return (stamped(rows).arrived - T0).tolist()


def test_it_is_the_running_maximum_of_each_site() -> None:
    rows = [("S1", 0), ("S2", 5000), ("S1", 60_000), ("S1", 30_000), ("S2", 4000), ("S1", 61_000)]
    assert arrivals(*[("S1", 0)] * 2, *rows)[2:] == [0, 5000, 60_000, 60_000, 5000, 61_000]


def test_a_site_s_clock_begins_at_the_middle_of_its_first_three() -> None:
    assert arrivals(("S1", 0), ("S1", 60_000), ("S1", 120_000), ("S1", 180_000)) == [60_000, 60_000, 120_000, 180_000]


def test_a_jump_counts_once_three_in_a_row_lie_beyond_it() -> None:
    far = HOUR + 1
    assert arrivals(("S1", 0), ("S1", 0), ("S1", far), ("S1", far + 5), ("S1", 10)) == [0, 0, 0, 0, 10]
    assert arrivals(*[("S1", 0)] * 3, ("S1", far + 9), ("S1", far + 5), ("S1", far + 20), ("S1", far + 21))[3:] == [
        0,
        0,
        far + 5,
        far + 21,
    ]


def test_an_hour_ahead_is_no_jump() -> None:
    assert arrivals(*[("S1", 0)] * 3, ("S1", HOUR))[3:] == [HOUR]


def test_one_broken_clock_is_no_beginning() -> None:
    assert arrivals(("S1", YEAR_2040 - T0), ("S1", 0), ("S1", 60_000)) == [60_000, 60_000, 60_000]


def test_the_ends_are_each_site_s_own() -> None:
    time = LogTime()
    stamped([("S1", 0), ("S2", 7000)], time=time)
    assert (time.ends(2, 10 * MINUTE) - T0).tolist() == [10 * MINUTE, 7000 + 10 * MINUTE]


def test_the_clock_goes_on_from_file_to_file() -> None:
    time, state = LogTime(), State(PLAN)
    stamped([("S1", 60_000)], time=time, state=state)
    assert (stamped([("S1", 0)], time=time, state=state).arrived - T0).tolist() == [60_000]


def test_rows_of_a_file_are_records_of_their_own() -> None:
    """A file of rows has one frame number; what follows one another of one site and time is one record."""
    found = stamped([("S1", 0), ("S1", 0), ("S1", 60_000), ("S2", 60_000), ("S1", 120_000)], frames=[0] * 5)
    assert (found.arrived - T0).tolist() == [60_000, 60_000, 60_000, 60_000, 120_000]
    assert found.frame.tolist() == [0, 0, 1, 2, 3]


def test_a_long_csv_is_judged_as_it_would_have_been_live() -> None:
    lines = ["site,point,factor,time,period,stat,value,flag"]
    lines += [f"{s},DA001,a21026,{rfc3339(T0 + m * MINUTE)},realtime,rtd,{m % 7},N" for m in range(400) for s in ("S1", "S2")]
    engine = Engine(PLAN, infer=True)
    decoded = decode_readings(CSV, "\n".join(lines).encode(), engine.state.table, -1, record=0)
    engine.state.grow()
    engine.advance(LogTime().stamp(decoded, engine.state.index))
    books = engine.state.books
    assert (books["readings.accepted"], books["readings.late"]) == (800, 0)
    assert books["alerts"] == 0


def test_nothing_is_stamped_as_nothing() -> None:
    assert len(stamped([])) == 0


@given(st.lists(st.tuples(st.sampled_from(["S1", "S2"]), st.integers(0, 5 * HOUR)), min_size=1, max_size=40), st.integers(0, 40))
@settings(max_examples=50)
def test_log_time_never_runs_back_and_a_later_cut_changes_nothing(rows: list[tuple[str, int]], cut: int) -> None:
    whole = stamped(rows)
    for site in (0, 1):
        assert (np.diff(whole.arrived[whole.series == site]) >= 0).all()
    warm = [("S1", 0)] * 3 + [("S2", 0)] * 3
    time, state = LogTime(), State(PLAN)
    stamped(warm, time=time, state=state)
    parts = [stamped(part, time=time, state=state).arrived.tolist() for part in (rows[:cut], rows[cut:])]
    assert [*parts[0], *parts[1]] == stamped([*warm, *rows]).arrived.tolist()[6:]
