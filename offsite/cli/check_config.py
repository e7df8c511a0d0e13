"""`offsite check-config`: the settings, the plan and the registry, with every fault at once; nothing is started."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from offsite.cli.common import json_option, print_json

if TYPE_CHECKING:
    from offsite.settings import Settings

EXAMPLES = """examples:
  offsite check-config offsite.toml
  offsite check-config offsite.toml --registry city/ --json
Environment variables OFFSITE_… count as they do for `offsite run`. Exit code 1 if there is any fault.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="settings in TOML (default: the defaults and the environment)"
    )
    parser.add_argument("--registry", type=Path, metavar="DIR_OR_XLSX", help="registry to check (default: that of the settings)")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="plan to check (default: that of the settings)")
    json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Check, and list what is wrong."""
    import sys

    from offsite.config_check import check

    faults, settings = check(args.file, {"registry": args.registry, "plan": args.plan})
    if args.json:
        print_json({"ok": not faults, "faults": faults})
    elif settings is not None:
        print(_told(settings))
    else:
        for fault in faults:
            print(f"offsite check-config: {fault}", file=sys.stderr)
    return int(bool(faults))


def _told(settings: Settings) -> str:
    places = {"hj212": settings.hj212_port, "tls": settings.tls_port, "http": settings.http_port, "desk": settings.desk_port}
    served = "  ".join(f"{name} {port}" for name, port in places.items() if port >= 0)
    return f"no fault: data {settings.data}, {served}, plan {settings.plan or 'packaged'}, registry {settings.registry or 'as in the data directory'}"
