"""`offsite demo`: a simulated city through the whole product."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from offsite.cli.common import failed

EXAMPLES = """examples:
  offsite demo                  open http://127.0.0.1:8213/ and watch
  offsite demo --speed 1        real time
  offsite demo --visitor        nobody but you works at the desk
Everything is invented and made on this machine; nothing is downloaded. Ctrl-C stops it.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep the data here (default: a temporary directory)")
    parser.add_argument("--seed", type=int, default=1, help="the city is the same for the same seed (default 1)")
    parser.add_argument("--enterprises", type=int, default=210, help="how many enterprises (default 210)")
    parser.add_argument("--days", type=int, default=7, help="generated days poured before it goes live (default 7)")
    parser.add_argument("--speed", type=float, default=60.0, help="virtual seconds a second once live (default 60)")
    parser.add_argument("--visitor", action="store_true", help="leave answering, checking and closing to the visitor")
    parser.add_argument("--hj212", type=int, default=9212, dest="hj212_port", metavar="PORT")
    parser.add_argument("--http", type=int, default=8212, dest="http_port", metavar="PORT")
    parser.add_argument("--desk", type=int, default=8213, dest="desk_port", metavar="PORT")


def run(args: argparse.Namespace) -> int:
    """Run until Ctrl-C."""
    from connectors.core import Refused
    from offsite.demo import Demo
    from offsite.demo import run as run_demo

    names = ("data", "hj212_port", "http_port", "desk_port", "seed", "enterprises", "days", "speed", "visitor")
    try:
        return run_demo(Demo(**{name: getattr(args, name) for name in names}), _say)
    except Refused as error:
        return failed(error, "demo")


def _say(text: str) -> None:
    """Print a line; draw pouring as a bar on a terminal."""
    if not text.startswith("pour "):
        print(text, flush=True)
        return
    _, share, frames = text.split()
    if sys.stderr.isatty():
        bar = "#" * round(40 * float(share))
        sys.stderr.write(f"\r[{bar:40}] {float(share):4.0%}  {frames} frames{chr(10) if float(share) >= 1 else ''}")
        sys.stderr.flush()
    elif float(share) >= 1:
        print(f"seven days poured: {frames} frames; the city is live", flush=True)
