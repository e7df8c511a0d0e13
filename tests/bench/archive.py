"""The archive: rows put a second, and what a chart of one site, factor and day reads of a city's day, on a path and on S3.

    python -m tests.bench.archive [--sites 80] [--minutes 480]

One partition out of 12 of a city; the other eleven are never opened for a chart. Reference: the bytes of the partition's day, and
reading all of them with pyarrow.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.kafka import partition_of
from streams.archive import Archive
from streams.history import READINGS
from tests.bench.columnar import OUT
from tests.real.s3 import S3, program

PARTITIONS, MINE, FACTORS, MINUTE = 12, 1, 76, 60_000
START, DAY = 1_795_449_600_000, 86_400_000
BATCH = 10
"""Minutes a batch."""


def batch(sites: list[str], minute: int) -> pa.Table:
    """Return ten minutes of all factors of the sites, as a worker writes them."""
    series = [(site, f"a{k:05d}") for site in sites for k in range(FACTORS)]
    count = len(series) * BATCH
    times = np.tile(START + (minute + np.arange(BATCH)) * MINUTE, len(series))
    columns: dict[str, Any] = {
        "site": np.repeat([site for site, _ in series], BATCH),
        "point": ["DA001"] * count,
        "factor": np.repeat([factor for _, factor in series], BATCH),
        "period": ["minute"] * count,
        "stat": ["avg"] * count,
        "time": times,
        "value": np.random.default_rng(minute).normal(50, 5, count).round(2),
        "flag": ["N"] * count,
        "quality": np.ones(count, np.uint8),
        "fate": ["accepted"] * count,
        "revision": np.zeros(count, np.int32),
        "arrived": times + 30_000,
        "offset": times // MINUTE,
    }
    return pa.table(columns)


def measure(url: str, options: dict[str, Any], sites: list[str], minutes: int) -> dict[str, Any]:
    """Fill one partition, merge it, and read a chart before and after."""
    archive = Archive(url, options, topic_id="bench", partitions=PARTITIONS)
    rows, spent = 0, 0.0
    for minute in range(0, minutes, BATCH):
        table = batch(sites, minute)
        started = time.perf_counter()
        rows += archive.put(MINE, [(minute, READINGS, table)])
        spent += time.perf_counter() - started
    told: dict[str, Any] = {"rows": rows, "rows_per_s": round(rows / spent), "fresh": chart(archive, sites[7])}
    started = time.perf_counter()
    for day in archive.days(READINGS):
        archive.compact(day)
    told |= {"compact_s": round(time.perf_counter() - started, 2), "merged": chart(archive, sites[7])}
    day = archive.days(READINGS)[0]
    [name] = archive.store.names(f"{READINGS}/day={day}")
    started = time.perf_counter()
    body = archive.store.read(f"{READINGS}/day={day}/{name}")
    pq.read_table(pa.BufferReader(body))
    return told | {"day_bytes": len(body), "read_all_ms": round(1000 * (time.perf_counter() - started))}


def chart(archive: Archive, site: str) -> dict[str, Any]:
    """Read one factor's day; return rows, files, milliseconds, and on a remote store requests and bytes."""
    reads: list[int] = []
    remote = getattr(archive.store, "_remote", None)
    if remote is not None:
        opened = remote.open

        def counted(*args: Any, **more: Any) -> Any:
            file = opened(*args, **more)
            fetch = file.cache.fetcher
            file.cache.fetcher = lambda start, end: reads.append(end - start) or fetch(start, end)
            return file

        remote.open = counted
    files = len(archive.store.names(f"{READINGS}/day={archive.days(READINGS)[0]}"))
    started = time.perf_counter()
    found = archive.series(site, "DA001", "a00007", START, START + DAY)
    spent = round(1000 * (time.perf_counter() - started))
    if remote is not None:
        del remote.open
    return {"rows": len(found), "files": files, "ms": spent} | ({"reads": len(reads), "bytes": sum(reads)} if remote else {})


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, default=80)
    parser.add_argument("--minutes", type=int, default=480)
    args = parser.parse_args()
    found = (f"S{k:05d}" for k in range(100_000))
    sites = [site for site, _ in zip((s for s in found if partition_of(s, PARTITIONS) == MINE), range(args.sites), strict=False)]
    told: dict[str, Any] = {"sites": args.sites, "factors": FACTORS, "minutes": args.minutes}
    with tempfile.TemporaryDirectory() as folder:
        told["path"] = measure(f"{folder}/archive", {}, sites, args.minutes)
        server = program()
        if server is not None:
            for part in ("objects", "meta"):
                (Path(folder) / part).mkdir()
            s3 = S3(server, Path(folder))
            s3.start()
            told["s3"] = measure(s3.bucket(), s3.options, sites, args.minutes)
            s3.stop()
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "archive.json").write_text(json.dumps(told, indent=2) + "\n")
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
