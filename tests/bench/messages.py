"""Decoding JSON messages in runs, as a worker does: µs a reading at 1, 10, 100 and 1,000 readings a message.

    python -m tests.bench.messages [--readings 20000] [--run 5000] [--out build/bench/messages.json]

Prints one JSON object and writes it to `--out`. Times are processor time of the best of nine passes; the reference of the same
passes is a bare loop of orjson.loads over the same bodies, which decodes no time, checks no name and builds no column. `alone`
is the same decoder a record at a time. Budget: 300,000 messages of one reading a second.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import orjson

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from connectors.core import JSON  # noqa: E402 - run as a script from any folder
from streams.codecs.json_columns import KnownSeries  # noqa: E402
from streams.codecs.readings import decode_many, decode_readings  # noqa: E402
from streams.codecs.rows import Envelope, format_time  # noqa: E402
from streams.model import SeriesTable  # noqa: E402

SIZES = (1, 10, 100, 1000)
BUDGET_MESSAGES = 300_000
START = 1_795_399_200_000
AHEAD = 600_000
SITES = 500
FACTORS = ("a21026", "a21002", "a34013", "a01011")


def bodies_of(readings: int, size: int) -> tuple[list[bytes], list[str]]:
    """Return bodies and keys: real-time values, a time of its own each, one site a message."""
    rows = [
        {
            "site": f"S{i // size % SITES:04d}",
            "point": "DA001",
            "factor": FACTORS[i % len(FACTORS)],
            "time": format_time(START + i * 37),
            "period": "realtime",
            "value": round(20 + (i * 7919 % 1000) / 100, 2),
            "flag": "N",
        }
        for i in range(readings)
    ]
    groups = [rows[i : i + size] for i in range(0, readings, size)]
    return [orjson.dumps(group if size > 1 else group[0]) for group in groups], [str(group[0]["site"]) for group in groups]


def spent(work: Callable[[], Any]) -> float:
    """Return the processor time of one call, s."""
    before = process_time()
    work()
    return process_time() - before


def measure(readings: int, run: int, size: int) -> dict[str, float]:
    """Return µs a reading: of runs, of the bare loop, of records alone; and messages a second."""
    bodies, keys = bodies_of(readings, size)
    arrived = np.full(len(bodies), START + readings * 37)
    known, table = KnownSeries(SeriesTable()), SeriesTable()

    def runs() -> None:
        for at in range(0, len(bodies), run):
            part = slice(at, at + run)
            decode_many([JSON] * len(bodies[part]), bodies[part], known, arrived[part], keys=keys[part], ahead=AHEAD)

    def alone() -> None:
        for body, key, at in zip(bodies, keys, arrived.tolist(), strict=True):
            decode_readings(JSON, body, table, at, record=0, envelope=Envelope(key, AHEAD))

    def bare() -> None:
        for body in bodies:
            orjson.loads(body)

    best = {name: min(spent(work) for _ in range(9)) for name, work in (("runs", runs), ("bare", bare), ("alone", alone))}
    cost = {name: round(seconds / readings * 1e6, 3) for name, seconds in best.items()}
    return cost | {"ratio": round(best["runs"] / best["bare"], 2), "messages_s": round(len(bodies) / best["runs"])}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=20_000)
    parser.add_argument("--run", type=int, default=5_000)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench" / "messages.json")
    args = parser.parse_args()
    found = {str(size): measure(args.readings, args.run, size) for size in SIZES}
    result = {"benchmark": "messages", "budget_messages_s": BUDGET_MESSAGES, "readings_a_message": found}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
