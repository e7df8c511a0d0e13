"""`make bench`: every benchmark, one after the other, each with its reference from the same run; results in build/bench/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = (["detectors"], ["columnar"], ["replay"], ["gateway"], ["gateway", "--burn"])


def main() -> int:
    """Run all; the exit code says whether all ran, never whether a budget held."""
    codes = []
    for name, *options in BENCHMARKS:
        print(f"== {name} {' '.join(options)}", flush=True)
        codes.append(subprocess.call([sys.executable, "-m", f"tests.bench.{name}", *options], cwd=ROOT))
    return max(codes)


sys.exit(main())
