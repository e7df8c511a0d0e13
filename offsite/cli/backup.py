"""`offsite backup`: copy a data directory, running or stopped, into one file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from offsite.cli.common import data_option, existing, failed, json_option, print_json

EXAMPLES = """examples:
  offsite backup --data offsite-data --out /backup/offsite-2026-11-24.tar.zst
The product may run meanwhile and loses nothing by it. The file holds the log, state, desk, history and registry with a manifest of
SHA-256; `offsite restore` puts it back. Settings, certificates and secrets are not in it.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    data_option(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.tar.zst", help="file to write; it must not exist")
    json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Write the backup."""
    from connectors.core import ConnectorError
    from offsite.backup import backup
    from offsite.data_dir import now

    bar = sys.stderr.isatty() and not args.json
    try:
        manifest = backup(existing(args.data), args.out, now(), _bar if bar else None)
    except ConnectorError as error:
        return failed(error, "backup")
    files = manifest["files"].values()
    if args.json:
        print_json({"out": str(args.out), "made": manifest["made"], "files": len(files), "bytes": args.out.stat().st_size})
    else:
        print(f"{args.out}: {len(files)} files, {sum(f['bytes'] for f in files) >> 10} KB as {args.out.stat().st_size >> 10} KB")
    return 0


def _bar(done: int, total: int) -> None:
    share = done / (total or 1)
    sys.stderr.write(f"\r[{'#' * round(30 * share):30}] {share:4.0%}" + ("\r" + " " * 40 + "\r" if done >= total else ""))
    sys.stderr.flush()
