"""`offsite replay`: recorded input through the whole pipeline, and the books."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from offsite.cli.common import failed, json_option, print_json

EXAMPLES = """examples:
  offsite replay day/*.h212.xz --json
  offsite replay readings.csv --registry city/ --data out/
Inputs: .h212 (also .xz .gz .zst), .csv, .ndjson, .json, .parquet, .arrow. Without --registry one is inferred (MN = site).
Without --data nothing is kept but the books.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep readings, windows, alerts, leads and cases here")
    parser.add_argument("--registry", type=Path, metavar="DIR_OR_XLSX", help="registry (default: inferred)")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="plan to judge by (default: the packaged one)")
    json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Replay the files in the order given."""
    from connectors.core import ConnectorError
    from connectors.process import calm_collector
    from offsite.replayer import replay
    from streams.plan import PlanFaults
    from streams.registry_tables import RegistryFaults

    calm_collector()
    try:
        books = replay(args.files, data=args.data, registry=args.registry, plan=args.plan, progress=not args.json)
    except (ConnectorError, PlanFaults, RegistryFaults) as error:
        return failed(error, "replay")
    if args.json:
        print_json(books)
    else:
        _show(books)
    for words in books.get("damaged", ()):
        print(f"offsite replay: {words}", file=sys.stderr)
    return 1 if "damaged" in books else 0


def _show(books: dict[str, object]) -> None:
    for name, value in books.items():
        text = "  ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        print(f"{name:20} {text}")
