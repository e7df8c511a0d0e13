"""Columnar input: Arrow readings of many series through the whole pipeline, and what the state of 100,000 series costs.

    python -m tests.bench.columnar [--series 10000] [--minutes 100] [--state-series 100000]

Reference: reading the same file with pyarrow into numpy columns, without meaning. The second part measures bytes of state a
series, and the seconds from an opened data directory to the first judged reading after a restart.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from connectors.memory import MemoryLog
from connectors.process import calm_collector
from offsite.replayer import replay
from streams.commit import Step
from streams.embedded import open_embedded
from streams.engine import Engine
from streams.model import Decoded, Readings, SeriesKey
from streams.plan import load_plan
from streams.plan.load import MINUTE
from streams.store import StateStore

OUT = Path(__file__).resolve().parents[2] / "build" / "bench"
START = 1_795_392_000_000


def write(path: Path, series: int, minutes: int) -> None:
    """Write a minute of all series after the other, as an integrator would send them."""
    numbers = np.arange(series)
    names = {
        "site": [f"S{n // 20:05d}" for n in numbers],
        "point": ["DA001"] * series,
        "factor": [f"x{n % 20:05d}" for n in numbers],
    }
    values = np.random.default_rng(1)
    schema = pa.schema(
        [
            *((n, pa.string()) for n in ("site", "point", "factor", "period", "stat")),
            ("time", pa.int64()),
            ("value", pa.float64()),
        ]
    )
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as out:
        for minute in range(minutes):
            columns = {**names, "period": ["realtime"] * series, "stat": ["rtd"] * series}
            columns |= {"time": np.full(series, START + minute * MINUTE), "value": values.normal(50, 5, series).round(2)}
            out.write_table(pa.table(columns, schema))


def columnar(series: int, minutes: int) -> dict[str, Any]:
    """Compare a replay of the file with reading it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "readings.arrow"
        write(path, series, minutes)
        started = time.perf_counter()
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
            _ = [np.asarray(column.combine_chunks().to_numpy(zero_copy_only=False)) for column in table.columns]
        bare = time.perf_counter() - started
        calm_collector()
        books = replay([path], data=None, registry=None, plan=None, progress=False)
    return {
        "benchmark": "columnar",
        "readings": books["readings"]["received"],
        "readings_per_second": books["readings_per_second"],
        "bare_seconds": round(bare, 3),
        "ratio": round(books["seconds"] / bare, 1),
        "budget": {"readings_per_second": 1_000_000},
    }


def state(series: int) -> dict[str, Any]:
    """Feed `series` series a few minutes, store the state, restart, judge one more minute."""
    plan = load_plan()
    engine = Engine(plan, infer=True)
    sid = np.array(
        [
            engine.state.table.id(SeriesKey(f"S{n // 20:05d}", "DA001", f"a2{n % 20:04d}", "realtime", "rtd"))
            for n in range(series)
        ]
    )

    def minute(number: int) -> Decoded:
        time_ms = np.full(series, START + number * MINUTE)
        columns = (sid, time_ms, np.full(series, 50.0 + number), np.full(series, 78), time_ms + 1000, np.arange(series))
        return Decoded(Readings.of(*columns))

    for number in range(20):
        engine.advance(minute(number))
    with tempfile.TemporaryDirectory() as folder:
        store = StateStore(Path(folder) / "state.sqlite")
        store.commit(Step(0, 0, (), engine.state.changes()))
        store.close()
        slabs = sum(slab.nbytes for slab in engine.state.slabs.values())
        del engine
        started = time.perf_counter()
        judge = open_embedded(Path(folder), MemoryLog(lambda: 0), plan)
        judge.engine.advance(minute(20))
        seconds = time.perf_counter() - started
        judge.store.close()
    return {
        "benchmark": "state",
        "series": series,
        "bytes_a_series": round(slabs / series),
        "restart_seconds": round(seconds, 2),
        "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "budget": {"bytes_a_series": 1536, "restart_seconds": 10},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--minutes", type=int, default=100)
    parser.add_argument("--state-series", type=int, default=100_000)
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    for report in (columnar(args.series, args.minutes), state(args.state_series)):
        (OUT / f"{report['benchmark']}.json").write_text(json.dumps(report, indent=1))
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
