"""Cost of all detectors of reading cadence together, a reading, in rounds of 10,000 series (design §10: at most 0.5 µs).

    python -m tests.bench.detectors [--series 10000] [--rounds 200] [--out build/bench/detectors.json]

Prints one JSON object and writes it to `--out`. Times are processor time of the median round, so that a busy machine
distorts little. The reference of the same run is one bare numpy copy of the columns of each detector, which is
what any program pays to touch them. Smaller rounds are shown beside it: they cost more, so judge many sites together.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from time import process_time

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from detectors.catalog import CATALOG  # noqa: E402 - run as a script from any folder
from streams.rounds import cut, run  # noqa: E402
from streams.slab import Slab  # noqa: E402

BUDGET_US = 0.5
MINUTE = 60_000
START = 1_767_225_600_000
CONSTANTS = {
    "floor": 1.0,
    "window_ms": 60.0 * MINUTE,
    "usable": 1.0,
    "limit": 50.0,
    "low": np.nan,
    "high": 50.0,
    "interval_ms": np.nan,
}


def measure(names: list[str], series: int, rounds: int, *, shuffled: bool = True) -> dict[str, float]:
    """Return µs a reading in the median round: of each detector, of `cut`, of the bare copy, and of cut + all detectors ("together")."""
    random = np.random.default_rng(7)
    members = random.permutation(series) if shuffled else np.arange(series)
    slabs = {name: Slab(name, CATALOG[name].record) for name in names}
    spent: dict[str, list[float]] = {key: [] for key in (*names, "cut", "copy")}
    for number in range(rounds):
        value = np.round(20.0 + random.normal(0.0, 2.0, series), 2)
        time = np.full(series, START + number * MINUTE)
        given = {**CONSTANTS, "value": value, "arrived": time.astype(np.float64)}
        tables = {n: np.column_stack([np.broadcast_to(given[c], series) for c in CATALOG[n].inputs]) for n in names}
        before = process_time()
        plan = cut(members)
        spent["cut"].append(process_time() - before)
        copied = 0.0
        for name in names:
            before = process_time()
            tables[name].copy()
            between = process_time()
            run(CATALOG[name], slabs[name], members, time, tables[name], rounds=plan)
            spent[name].append(process_time() - between)
            copied += between - before
        spent["copy"].append(copied)
    cost = {key: float(np.median(seconds)) / series * 1e6 for key, seconds in spent.items()}
    cost["together"] = sum(cost[name] for name in names) + cost["cut"]
    return {key: round(us, 4) for key, us in cost.items()}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=10_000, help="series a round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=200, help="rounds (default %(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench/detectors.json", help="result file (default %(default)s)")
    args = parser.parse_args()
    names = [n for n, d in CATALOG.items() if d.cadence == "reading" and n != "null"]
    cost = measure(names, args.series, args.rounds)
    result = {
        "bench": "detectors",
        "series": args.series,
        "rounds": args.rounds,
        "us_per_reading": cost,
        "budget_us": BUDGET_US,
        "within_budget": cost["together"] <= BUDGET_US,
        "ratio_to_bare_copy": round(cost["together"] / max(cost["copy"], 1e-9), 1),
        "together_by_round_size": {str(n): measure(names, n, max(20, 20_000 // n))["together"] for n in (50, 500, 5_000, 50_000)},
        "state_bytes_a_series": sum(CATALOG[n].record.itemsize for n in names if CATALOG[n].scope == "series"),
    }
    text = json.dumps(result, indent=1)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
