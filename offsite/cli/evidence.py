"""`offsite evidence`: export raw frames with the rows parsed from them, and verify such a file offline."""

from __future__ import annotations

import argparse
from pathlib import Path

from offsite.cli.common import config_option, data_option, failed, json_option, print_json
from offsite.cli.times import moment

EXAMPLES = """examples:
  offsite evidence frames --data offsite-data --site S0001 --from 2026-11-24 --to 2026-11-25 --out S0001.zip
  offsite evidence frames --config offsite.toml --site S0001 --from 2026-11-24T08:00:00+08:00 --to 2026-11-24T12:00:00+08:00 --out a.zip
  offsite evidence verify S0001.zip
The span is event time of the readings: [from, to). A day stands for its first instant, China Standard Time. With --as-of the file
holds only what had arrived by then. `verify` needs no data and no network; FILE.sha256 beside it can also be checked by sha256sum -c.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    doing = parser.add_subparsers(dest="doing", metavar="DO", required=True)
    frames = doing.add_parser("frames", help="export frames and rows of a site and span")
    data_option(frames)
    config_option(frames, "take them from the archive that these settings name")
    frames.add_argument("--site", required=True, metavar="S")
    frames.add_argument("--from", dest="start", type=moment, required=True, metavar="TIME", help="RFC 3339 or a day")
    frames.add_argument("--to", dest="end", type=moment, required=True, metavar="TIME")
    frames.add_argument("--as-of", type=moment, metavar="TIME", help="only what had arrived by then")
    frames.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write; it must not exist")
    verify = doing.add_parser("verify", help="check a file against itself")
    verify.add_argument("file", type=Path, metavar="FILE")
    for one in (frames, verify):
        json_option(one)


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    from connectors.core import ConnectorError
    from offsite.settings import SettingsFaults

    try:
        return _frames(args) if args.doing == "frames" else _verify(args)
    except (ConnectorError, SettingsFaults) as error:
        return failed(error, "evidence")


def _frames(args: argparse.Namespace) -> int:
    from offsite.archived import open_history
    from offsite.data_dir import now
    from offsite.evidence import FRAMES, ROWS, Asked, export

    with open_history(args.data, args.config) as (kept, _where):
        told = export(kept, Asked(args.site, args.start, args.end, args.as_of), args.out, now())
    if args.json:
        print_json(told)
    else:
        frames, rows = (told["files"][name]["lines"] for name in (FRAMES, ROWS))
        print(f"{args.out}: {frames} frames, {rows} readings, SHA-256 {told['sha256']}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from offsite.evidence import verify

    manifest, faults = verify(args.file)
    if args.json:
        print_json(manifest | {"faults": faults})
    else:
        for fault in faults:
            print(fault)
        print(
            f"{args.file}: site {manifest['site']}, {manifest['from']} to {manifest['to']}: {'ALTERED' if faults else 'intact'}"
        )
    return 1 if faults else 0
