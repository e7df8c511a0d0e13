"""Chart history in InfluxDB: points a second from an Arrow table, what a schema costs, and how long charts take to read.

    python -m tests.bench.influx [--series 20000] [--points 25] [--days 365]

References of the same run: the same lines sent bare by one HTTP connection, and influxdb-client's own `Point` objects. Schemas
compared: flag, quality and fate as tags (the product's), and the same as fields. Memory is what influxd holds resident.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from influxdb_client import InfluxDBClient, Point
from influxdb_client.client.write_api import SYNCHRONOUS

from connectors.influx import BATCH, Bucket, Influx
from connectors.influx_lines import Lines, table_lines
from streams.history import READINGS
from streams.history_influx import TAGS, InfluxHistory, _reading_points
from tests.real.influx import InfluxServer, find_influxd

OUT = Path(__file__).resolve().parents[2] / "build" / "bench"
START = 1_795_392_000_000
FOR_EVER = {"realtime": 0, "minute": 0, "hour": 0}


@contextmanager
def server() -> Iterator[InfluxServer]:
    with tempfile.TemporaryDirectory(prefix="influx", ignore_cleanup_errors=True) as folder:
        made = InfluxServer(find_influxd(), Path(folder))
        made.start()
        try:
            made.setup()
            yield made
        finally:
            made.stop()


def readings(series: int, points: int, step: int, period: str) -> pa.Table:
    """Return history of `series` series, each with a reading every `step` ms; one in fifty carries a flag."""
    n = series * points
    channel = np.tile(np.arange(series, dtype=np.int32), points)
    time_ms = START - np.repeat(np.arange(points, 0, -1), series) * step
    spoilt = np.random.default_rng(1).random(n) < 0.02

    def coded(codes: np.ndarray, words: list[str]) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), words)

    columns: dict[str, Any] = {
        "site": coded(channel // 20, [f"440100000{i:05d}" for i in range(series // 20 + 1)]),
        "point": coded(channel // 10 % 2, ["DA001", "DA002"]),
        "factor": coded(channel % 10, [f"a{21000 + i}" for i in range(10)]),
        "period": coded(np.zeros(n), [period]),
        "stat": coded(np.zeros(n), ["rtd" if period == "realtime" else "avg"]),
        "time": time_ms,
        "value": np.random.default_rng(2).normal(50, 5, n).round(2),
        "flag": coded(spoilt, ["N", "D"]),
        "quality": np.where(spoilt, 3, 1).astype(np.uint8),
        "fate": coded(np.zeros(n), ["accepted"]),
        "revision": np.zeros(n, np.int32),
        "arrived": time_ms + 5000,
        "offset": np.arange(n) // 20,
    }
    return pa.table(columns)


def seconds(act: Callable[[], Any]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def bare(made: InfluxServer, bucket: str, lines: Lines) -> None:
    connection = http.client.HTTPConnection(made.url.removeprefix("http://"))
    for first in range(0, len(lines), BATCH):
        path = f"/api/v2/write?org={made.org}&bucket={bucket}&precision=ns"
        body = bytes(lines.body(first, min(first + BATCH, len(lines))))
        connection.request("POST", path, body, {"Authorization": f"Token {made.token}"})
        answer = connection.getresponse()
        assert answer.status == 204, answer.read()
        answer.read()


def library(made: InfluxServer, bucket: str, table: pa.Table) -> None:
    with InfluxDBClient(made.url, made.token, org=made.org) as client:
        api = client.write_api(write_options=SYNCHRONOUS)
        for batch in table.to_batches(max_chunksize=BATCH):
            points = []
            for row in batch.to_pylist():
                point = Point(READINGS).time(row["time"] * 1_000_000).field("value", row["value"])
                for tag in TAGS[READINGS]:
                    point.tag(tag, str(row[tag]))
                points.append(point)
            api.write(bucket, record=points)


def writing(series: int, points: int) -> dict[str, Any]:
    table = readings(series, points, 60_000, "realtime")
    few = table.slice(0, 50_000)
    rates: dict[str, float] = {}
    with server() as made, Influx(made.url, made.org, made.token, timeout=60) as client:
        for name in ("ours", "bare", "library"):
            client.ensure([Bucket(name, 0)])
        kept = InfluxHistory(client, "kept", lambda: START, FOR_EVER)
        kept.prepare()
        before = cpu(made), time.process_time()
        rates["points_per_second"] = len(table) / seconds(lambda: kept.put(READINGS, table))
        work = {"server": cpu(made) - before[0], "product": time.process_time() - before[1]}
        lines = table_lines(READINGS, _reading_points(table).drop_columns(["ms"]), TAGS[READINGS])
        rates["bare_points_per_second"] = len(table) / seconds(lambda: bare(made, "bare", lines))
        rates["library_points_per_second"] = len(few) / seconds(lambda: library(made, "library", few))
    report: dict[str, float] = {name: round(rate) for name, rate in rates.items()}
    report |= {f"cpu_us_a_point_{name}": round(spent / len(table) * 1e6, 2) for name, spent in work.items()}
    return {"benchmark": "influx-write", "points": len(table), "series": series, **report}


def cpu(made: InfluxServer) -> float:
    """Return the seconds of processor time that the server has used: a measure that other work on the machine does not change."""
    assert made._process is not None
    used = Path(f"/proc/{made._process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


def resident(made: InfluxServer) -> int:
    assert made._process is not None
    status = Path(f"/proc/{made._process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024


def schema(name: str, table: pa.Table, tags: tuple[str, ...]) -> dict[str, Any]:
    with server() as made, Influx(made.url, made.org, made.token, timeout=60) as client:
        client.ensure([Bucket(name, 0)])
        before = resident(made)
        lines = table_lines(READINGS, table, tags)
        took = seconds(lambda: client.write(name, lines))
        span = "start: 1970-01-01T00:00:00Z, stop: 2200-01-01T00:00:00Z"
        flux = f'import "influxdata/influxdb"\ninfluxdb.cardinality(bucket: "{name}", {span})'
        [count] = client.query(flux, {"_value": pa.int64()})["_value"].to_pylist()
        memory = resident(made) - before
        size = sum(path.stat().st_size for path in (made.folder / "engine").rglob("*") if path.is_file())
    return {"schema": name, "series": count, "memory_mb": memory >> 20, "disk_mb": size >> 20, "seconds": round(took, 1)}


def schemas(series: int, points: int) -> dict[str, Any]:
    table = readings(series, points, 60_000, "realtime")
    tagged = _reading_points(table).drop_columns(["ms"])
    lean = tagged.drop_columns(["arrived", "offset"])
    full = lean.append_column("arrived", table["arrived"]).append_column("offset", table["offset"])
    key = ("site", "point", "factor", "period", "stat")
    quality = full["quality"].cast(pa.string()).cast(pa.int64())
    fields = full.set_column(full.schema.get_field_index("quality"), "quality", quality)
    for text in ("flag", "fate"):
        fields = fields.set_column(fields.schema.get_field_index(text), text, fields[text].cast(pa.string()))
    found = [
        schema("value alone", lean, TAGS[READINGS]),
        schema("log time and offset too", full, TAGS[READINGS]),
        schema("all as fields", fields, key),
    ]
    return {"benchmark": "influx-schema", "channels": series, "points": len(table), "schemas": found}


def charts(days: int) -> dict[str, Any]:
    hours, minutes = readings(20, days * 24, 3_600_000, "hour"), readings(20, 90 * 1440, 60_000, "realtime")
    key = ("44010000000000", "DA001", "a21003")
    report: dict[str, Any] = {}
    with server() as made, Influx(made.url, made.org, made.token, timeout=60) as client:
        kept = InfluxHistory(client, "kept", lambda: START, FOR_EVER)
        kept.prepare()
        for table in (hours, minutes):
            assert kept.put(READINGS, table).refused == []
        for name, period, span in (("year_of_hours", "hour", days), ("90_days_of_minutes", "realtime", 90), ("a_day", None, 1)):
            asked = (*key, START - span * 86_400_000, START, period)
            report[name] = {
                "rows": len(kept.series(*asked)),
                "series_ms": round(1000 * min(seconds(partial(kept.series, *asked)) for _ in range(5))),
                "points": len(kept.summary(*asked)),
                "summary_ms": round(1000 * min(seconds(partial(kept.summary, *asked)) for _ in range(5))),
            }
    return {"benchmark": "influx-charts", **report}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=20_000)
    parser.add_argument("--points", type=int, default=25)
    parser.add_argument("--days", type=int, default=365)
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    size = (args.series, args.points)
    for report in (made() for made in (partial(writing, *size), partial(schemas, *size), partial(charts, args.days))):
        (OUT / f"{report['benchmark']}.json").write_text(json.dumps(report, indent=1))
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
