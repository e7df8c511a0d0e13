"""Replay beside a bare decode loop: the real hours, and a generated day of five million readings.

    python -m tests.bench.replay [--readings 5000000] [--skip-hours] [--skip-day]

The reference is what plain Python needs to read the same files and nothing else: unpack, find frames by their length, check the
checksum byte by byte, one compiled pattern over the data area, `float`. Both run in this process's children, one after the other.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "bench"
HOURS = ROOT.parent / "shared" / "data" / "hj212"
BUDGETS = {"hours": {"ratio": 2.5, "memory_mb": 1024}, "day": {"seconds": 20.0, "memory_mb": 1024}}
_PAIR = re.compile(rb"([A-Za-z0-9]+)-([A-Za-z]+)=([^,;&]*)")


def bare_decode(files: Sequence[Path]) -> dict[str, Any]:
    """Decode the files and keep nothing; return frames, readings and seconds."""
    from connectors.files import chunks
    from connectors.hj212.crc import TABLE

    started, frames, readings = time.perf_counter(), 0, 0
    for path in files:
        buffer, at = b"".join(chunks(path)), 0
        while (at := buffer.find(b"##", at)) >= 0:
            length = buffer[at + 2 : at + 6]
            end = at + 6 + (int(length) if length.isdigit() else -6)
            segment, state, register = buffer[at + 6 : end], 0xFF, 0xFFFF
            for byte in segment:
                register = TABLE[state ^ byte]
                state = register >> 8
            if b"%04X" % register != buffer[end : end + 4]:
                at += 2
                continue
            frames += 1
            for _factor, suffix, value in _PAIR.findall(segment):
                if suffix != b"Flag":
                    try:
                        float(value)
                    except ValueError:
                        continue
                    readings += 1
            at = end + 4
    return {"frames": frames, "readings": readings, "seconds": time.perf_counter() - started}


def product(files: Sequence[Path]) -> dict[str, Any]:
    """Replay the files through the whole product, cases persisted; return the books."""
    from connectors.process import calm_collector
    from offsite.replayer import replay

    calm_collector()
    return replay(files, data=None, registry=None, plan=None, progress=False)


def child(what: str, files: Sequence[Path]) -> dict[str, Any]:
    """Run one side in a process of its own, so that its peak memory is its own; seconds include start-up."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.replay", "--side", what, *map(str, files)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    return json.loads(done.stdout.splitlines()[-1]) | {"wall": time.perf_counter() - started}


def compare(name: str, files: Sequence[Path], repeats: int) -> dict[str, Any]:
    """Run both sides alternately; report the best of each and their ratio."""
    runs = [(child("bare", files), child("product", files)) for _ in range(repeats)]
    bare = min((r[0] for r in runs), key=lambda r: r["seconds"])
    ours = min((r[1] for r in runs), key=lambda r: r["seconds"])
    report = {
        "benchmark": f"replay-{name}",
        "readings": ours["readings"]["received"],
        "seconds": round(ours["seconds"], 2),
        "readings_per_second": round(ours["readings"]["received"] / ours["seconds"]),
        "bare_seconds": round(bare["seconds"], 2),
        "ratio": round(ours["seconds"] / bare["seconds"], 2),
        "memory_mb": ours["memory_mb"],
        "alerts": ours["alerts"],
        "budget": BUDGETS[name],
    }
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"replay-{name}.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report))
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=("bare", "product"), help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--readings", type=int, default=5_000_000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--skip-hours", action="store_true")
    parser.add_argument("--skip-day", action="store_true")
    args = parser.parse_args()
    if args.side:
        result = bare_decode(args.files) if args.side == "bare" else product(args.files)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(result | {"memory_mb": round(peak)}))
        return
    hours = sorted(HOURS.glob("*.h212.xz"))
    if hours and not args.skip_hours:
        compare("hours", hours, args.repeats)
    if not args.skip_day:
        from offsite.city.days import write_day
        from offsite.city.model import City

        with tempfile.TemporaryDirectory(prefix="bench-day-") as folder:
            path = Path(folder) / "day.h212.zst"
            write_day(City(seed=1), path, 0, args.readings)
            compare("day", [path], 1)


if __name__ == "__main__":
    main()
