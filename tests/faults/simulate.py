"""The seeded simulator: the whole product in one process and in virtual time, and its promises as invariants after each run.

    python tests/faults/simulate.py --seeds 2000 [--first N] [--jobs 2] [--broken NAME]
    python tests/faults/simulate.py --seed N --trace        # replay one seed and see what happened

A seed fixes everything: what devices send, when connections break, processes die, disks fill and clocks are set. The exit code
is 0 only if no seed broke a promise (with --broken: only if one did).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.faults.broken import BUILDS
from tests.faults.world.world import Report, simulate

REAL_DESK_EVERY = 25
"""One seed in so many runs against the real desk on SQLite in memory (slower)."""


def one(seed: int, broken: str | None = None) -> Report:
    """Run one seed of the product, or of a broken build. An exception is a broken promise, too."""
    build = None if broken is None else BUILDS[broken]
    try:
        return simulate(seed, build, real_desk=broken is None and seed % REAL_DESK_EVERY == 0)
    except Exception as error:  # noqa: BLE001 — whatever it is, it is told with its seed
        return Report(seed, [f"promise 4: the product failed with {type(error).__name__}: {error}"])


def runs(seeds: Iterable[int], broken: str | None, jobs: int) -> Iterator[Report]:
    """Run seeds, in order, in so many processes."""
    if jobs < 2:
        yield from (one(seed, broken) for seed in seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(partial(one, broken=broken), seeds, chunksize=4)


def show(report: Report, *, trace: bool) -> None:
    """Print what a seed broke, and how to see it again."""
    if trace:
        print("\n".join(report.trace))
    for sentence in report.broken:
        print(f"seed {report.seed}: {sentence}")
    if report.broken and not trace:
        print(f"seed {report.seed}: replay with  python {os.path.relpath(__file__)} --seed {report.seed} --trace")


def main(arguments: list[str] | None = None) -> int:
    """Run as told; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="run this seed only")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--trace", action="store_true", help="print what happened, event by event")
    parser.add_argument(
        "--broken", choices=sorted(BUILDS), help="run a deliberately broken build, up to the first seed that catches it"
    )
    given = parser.parse_args(arguments)
    seeds = range(given.first, given.first + given.seeds) if given.seed is None else [given.seed]
    started = time.monotonic()
    done, failed, totals = 0, 0, dict.fromkeys(("log", "sent", "outputs", "cases", "faults"), 0)
    for report in runs(seeds, given.broken, 1 if given.broken or given.seed is not None else given.jobs):
        done += 1
        failed += bool(report.broken)
        totals = {name: n + getattr(report, name) for name, n in totals.items()}
        show(report, trace=given.trace)
        if sys.stderr.isatty():
            print(f"\r{done}/{len(seeds)} seeds, {failed} failed", end="", file=sys.stderr, flush=True)
        if report.broken and given.broken:
            break
    seconds = time.monotonic() - started
    words = ", ".join(f"{n:,} {name}" for name, n in totals.items())
    print(f"{done} seeds, {failed} failed, {seconds:.1f} s ({seconds / max(done, 1):.2f} s a seed): {words}")
    return int(bool(failed) != bool(given.broken))


if __name__ == "__main__":
    sys.exit(main())
