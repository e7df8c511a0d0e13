"""`offsite db`: the version of the desk's tables, and their upgrade."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from offsite.cli.common import config_option, failed, json_option, print_json

if TYPE_CHECKING:
    from cases.migrate import Version

EXAMPLES = """examples:
  offsite db version --config offsite.toml     # of the tables and of this program
  offsite db check --config offsite.toml       # exit code 1 unless they fit
  offsite db upgrade --config offsite.toml     # back up first; several at once wait for one another
Without --config the environment counts (OFFSITE_DESK_URL). Tables newer than the program are refused and never touched.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    doing = parser.add_subparsers(dest="doing", metavar="DO", required=True)
    for name, text in (
        ("upgrade", "bring the tables up to date"),
        ("check", "say whether the tables fit this program"),
        ("version", "print the version of the tables and of this program"),
    ):
        one = doing.add_parser(name, help=text)
        config_option(one)
        json_option(one)


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    from cases.migrate import upgrade, version
    from connectors.core import ConnectorError
    from offsite.settings import SettingsFaults, load_settings

    try:
        url = load_settings(args.config, {}).desk_database()
        if args.doing == "upgrade":
            upgrade(url)
        found = version(url)
        if args.doing == "check":
            found.check()
    except (ConnectorError, SettingsFaults) as error:
        return failed(error, f"db {args.doing}")
    _tell(found, as_json=args.json)
    return 0


def _tell(found: Version, *, as_json: bool) -> None:
    if as_json:
        print_json({"tables": found.tables, "program": found.program, "state": found.state})
    else:
        print(f"tables {found.tables or 'none'}, program {found.program}: {found.state}")
