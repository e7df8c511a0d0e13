"""A long span in few points is the same from every store of history: Parquet beside the product, the archive, a real InfluxDB."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest

from connectors.influx import Influx
from connectors.kafka import partition_of
from streams import history
from streams.archive import Archive
from streams.commit import Step
from streams.history import READINGS, History
from streams.history_influx import InfluxHistory
from streams.store import StateStore
from streams.summary import SUMMARY, window_length
from tests.real.influx import InfluxServer
from tests.streams.archived import DAY, HOUR, PARTITIONS, T0, reading, table
from tests.streams.driven import span

MINUTE = 60_000
CHANNEL = ("S1", "DA001", "a21026")
START, END = T0 - DAY + 17, T0 + 2 * DAY


def rows() -> list[dict[str, Any]]:
    """Three days of a channel with everything that must not count, and a neighbour."""
    found = [reading("S1", T0 + m * 7 * MINUTE, 50 + m % 13 + m / 1000, offset=m) for m in range(-100, 300)]
    found += [reading("S1", T0 + h * HOUR, 60.0 + h, offset=1000 + h) | {"period": "hour", "stat": "avg"} for h in range(40)]
    found += [reading("S1", T0 + k * 7 * MINUTE, 9.0 + k, late=HOUR, fate="revised", offset=2000 + k) for k in (3, 40, 41)]
    found += [reading("S1", T0 + 3 * 7 * MINUTE, 8.0, late=2 * HOUR, fate="revised", offset=2100)]
    found += [reading("S1", T0 + 41 * 7 * MINUTE, 99.0, late=2 * HOUR, fate="revised", offset=2101) | {"quality": 4, "flag": "D"}]
    found += [reading("S1", T0 + k * MINUTE, 9999.0, offset=3000 + k) | {"quality": 3, "flag": "T"} for k in (1, 2, 500)]
    found += [reading("S1", T0 + 7 * MINUTE, 51.001, fate="duplicate", offset=4000), reading("S2", T0, 7.0, offset=4001)]
    return found


def expected(start: int, end: int, period: str | None, most: int) -> list[dict[str, Any]]:
    """Work the answer out, reading by reading."""
    step = window_length(start, end, most)
    newest: dict[Any, dict[str, Any]] = {}
    for row in sorted(rows(), key=lambda row: (row["revision"], row["arrived"], row["offset"])):
        if row["site"] == "S1" and row["fate"] != "duplicate" and start <= row["time"] < end and period in (None, row["period"]):
            newest[row["time"], row["period"], row["stat"]] = row
    windows = defaultdict(list)
    for row in newest.values():
        if row["quality"] <= 2:
            windows[start + (row["time"] - start) // step * step, row["period"], row["stat"]].append(row["value"])
    return [
        {"time": at, "period": p, "stat": s, "count": len(v), "mean": math.fsum(v) / len(v), "min": min(v), "max": max(v)}
        for (at, p, s), v in sorted(windows.items())
    ]


@pytest.fixture(params=["parquet", "archive", pytest.param("influx", marks=pytest.mark.servers)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    given: pa.Table = table(READINGS, rows())
    if request.param == "parquet":
        state = StateStore(tmp_path / "state.sqlite", durable=False)
        state.commit([Step(span(0, 1), history={READINGS: history.pack(given.slice(0, 333))})])
        kept = History(tmp_path, state)
        kept.flush()
        state.commit([Step(span(1, 2), history={READINGS: history.pack(given.slice(333))})])
        yield kept
        state.close()
    elif request.param == "archive":
        archive = Archive(str(tmp_path / "archive"), topic_id="t1", partitions=PARTITIONS)
        for site in ("S1", "S2"):
            mine = given.filter(pa.compute.equal(given["site"], site))
            archive.put(partition_of(site, PARTITIONS), [(0, READINGS, mine.slice(0, 333)), (1, READINGS, mine.slice(333))])
        yield archive
    else:
        influx: InfluxServer = request.getfixturevalue("influx")
        with Influx(influx.url, influx.org, influx.token) as client:
            made = InfluxHistory(client, f"t{uuid4().hex}", lambda: END, {"realtime": 0, "minute": 0, "hour": 0})
            made.prepare()
            made.put(READINGS, given)
            yield made


@pytest.mark.parametrize("period", [None, "realtime", "hour", "day"])
@pytest.mark.parametrize("most", [1, 50, 1000])
def test_every_store_sums_up_alike(store: Any, period: str | None, most: int) -> None:
    found = store.summary(*CHANNEL, START, END, period, most)
    assert found.schema == SUMMARY
    wanted = expected(START, END, period, most)
    assert bool(wanted) == (period != "day")
    mine = found.to_pylist()
    assert [row | {"mean": None} for row in mine] == [row | {"mean": None} for row in wanted]
    assert [row["mean"] for row in mine] == pytest.approx([row["mean"] for row in wanted], rel=1e-12)
