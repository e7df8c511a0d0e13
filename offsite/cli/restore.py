"""`offsite restore`: put a backup into an empty data directory."""

from __future__ import annotations

import argparse
from pathlib import Path

from offsite.cli.common import data_option, failed, json_option, print_json

EXAMPLES = """examples:
  offsite restore /backup/offsite-2026-11-24.tar.zst --data offsite-data
  offsite doctor --data offsite-data      # then look at it, and start it with `offsite run`
Every file is checked against the manifest; if one does not fit, nothing is restored.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    parser.add_argument("file", type=Path, metavar="FILE", help="what `offsite backup` wrote")
    data_option(parser)
    json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Restore."""
    from connectors.core import ConnectorError
    from offsite.backup import restore

    try:
        manifest = restore(args.file, args.data)
    except ConnectorError as error:
        return failed(error, "restore")
    if args.json:
        print_json({"data": str(args.data), "made": manifest["made"], "files": len(manifest["files"])})
    else:
        print(f"{args.data}: {len(manifest['files'])} files as of {manifest['made']}")
    return 0
