"""The seeded simulator: the whole product in one process and in virtual time, and its promises as invariants after each run.

    python tests/faults/simulate.py --seeds 2000 [--first N] [--jobs 2] [--broken NAME] [--world machine|cluster]
    python tests/faults/simulate.py --seed N --trace        # replay one seed and see what happened

Two worlds: `machine` is the embedded product from the device's socket to the desk; `cluster` is workers on Kafka, with partitions,
rebalances, zombies and outages.

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
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.faults import broken as machine_broken
from tests.faults.cluster import broken as cluster_broken
from tests.faults.cluster import world as cluster_world
from tests.faults.world import world as machine_world
from tests.faults.world.world import Report

REAL_DESK_EVERY = 25
"""One seed in so many runs against the real desk on SQLite in memory (slower)."""


BUILDS = {"machine": machine_broken.BUILDS, "cluster": cluster_broken.BUILDS}
"""World → name → broken build."""


def one(seed: int, broken: str | None = None, world: str = "machine") -> Report:
    """Run one seed of the product, or of a broken build. An exception is a broken promise, too."""
    try:
        if world == "cluster":
            return cluster_world.simulate(seed, None if broken is None else cluster_broken.BUILDS[broken])
        build = None if broken is None else machine_broken.BUILDS[broken]
        return machine_world.simulate(seed, build, real_desk=broken is None and seed % REAL_DESK_EVERY == 0)
    except Exception as error:  # noqa: BLE001 — whatever it is, it is told with its seed
        return Report(seed, [f"promise 4: the product failed with {type(error).__name__}: {error}"])


def runs(seeds: Iterable[int], broken: str | None, jobs: int, world: str = "machine") -> Iterator[Report]:
    """Run seeds, in order, in so many processes."""
    if jobs < 2:
        yield from (one(seed, broken, world) for seed in seeds)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:  # a fork would copy the threads of other tests' clients
        yield from pool.map(partial(one, broken=broken, world=world), seeds, chunksize=4)


def show(report: Report, *, trace: bool) -> None:
    """Print what a seed broke, and how to see it again."""
    if trace:
        print("\n".join(report.trace))
    for sentence in report.broken:
        print(f"seed {report.seed}: {sentence}")
    if report.broken and not trace:
        print(
            f"seed {report.seed}: replay with  python {os.path.relpath(__file__)} --seed {report.seed} --trace (and its --world)"
        )


def main(arguments: list[str] | None = None) -> int:
    """Run as told; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="run this seed only")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--trace", action="store_true", help="print what happened, event by event")
    parser.add_argument("--world", choices=sorted(BUILDS), default="machine", help="what is simulated")
    names = sorted(name for builds in BUILDS.values() for name in builds)
    parser.add_argument("--broken", choices=names, help="run a deliberately broken build, up to the first seed that catches it")
    given = parser.parse_args(arguments)
    if given.broken and given.broken not in BUILDS[given.world]:
        parser.error(f"--broken: the world {given.world} has {', '.join(sorted(BUILDS[given.world]))}")
    seeds = range(given.first, given.first + given.seeds) if given.seed is None else [given.seed]
    started = time.monotonic()
    done, failed, totals = 0, 0, dict.fromkeys(("log", "sent", "outputs", "cases", "faults"), 0)
    for report in runs(seeds, given.broken, 1 if given.broken or given.seed is not None else given.jobs, given.world):
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
