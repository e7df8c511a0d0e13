"""`offsite key`: make, list and revoke the API keys of HTTP ingest. A secret is shown once, when it is made."""

from __future__ import annotations

import argparse

from offsite.cli.common import failed, json_option, print_json, print_table
from offsite.cli.on_desk import desk_options, opened
from offsite.cli.person import person_option

EXAMPLES = """examples:
  offsite key create "city air stations" --site S0001 --site S0002
  offsite key create platform --json
  offsite key list
  offsite key create platform --config offsite.toml      # past one machine
  offsite key revoke 3f2a91c04b7e --as admin
A key without --site may write for every site. Keys hold at once, also on a running product.
"""
COLUMNS = ("id", "name", "sites", "created", "created_by", "revoked")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    doing = parser.add_subparsers(dest="doing", metavar="DO", required=True)
    create = doing.add_parser("create", help="make a key; its secret is printed once")
    create.add_argument("name", metavar="NAME", help="who holds the key")
    create.add_argument(
        "--site", action="append", dest="sites", metavar="S", help="a site it may write for (repeat; default: all)"
    )
    create.add_argument(
        "--read-only", action="store_true", help="it may write for no site; `offsite views grant` says what it reads"
    )
    person_option(create, default="system")
    listing = doing.add_parser("list", help="list all keys, without secrets")
    revoke = doing.add_parser("revoke", help="end a key at once")
    revoke.add_argument("key", metavar="KEY", help="the key's id, as `key list` shows it")
    person_option(revoke)
    for one in (create, listing, revoke):
        desk_options(one)
        json_option(one)


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    from connectors.core import ConnectorError
    from offsite.settings import SettingsFaults

    try:
        return int({"create": _create, "list": _list, "revoke": _revoke}[args.doing](args))
    except (ConnectorError, SettingsFaults) as error:
        return failed(error, f"key {args.doing}")


def _create(args: argparse.Namespace) -> int:
    with opened(args) as desk:
        made = desk.create_key(args.name, [] if args.read_only else args.sites, args.person or "system")
    if args.json:
        print_json(made)
    else:
        print(f"{made['secret']}\nkey {made['id']} for {_sites(made['sites'])}; this is the only time the secret is shown")
    return 0


def _list(args: argparse.Namespace) -> int:
    with opened(args) as desk:
        rows = desk.keys()
    if args.json:
        for row in rows:
            print_json(row)
    else:
        print_table(([(row | {"sites": _sites(row["sites"])})[name] for name in COLUMNS] for row in rows), COLUMNS)
    return 0


def _revoke(args: argparse.Namespace) -> int:
    from offsite.data_dir import actor

    with opened(args) as desk:
        row = desk.revoke_key(args.key, actor(desk, args.person))
    if args.json:
        print_json(row)
    else:
        print(f"key {row['id']} ({row['name']}) ended {row['revoked']}")
    return 0


def _sites(sites: list[str] | None) -> str:
    return "all sites" if sites is None else " ".join(sites) or "reading only"
