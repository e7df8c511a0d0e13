"""`offsite audit`: verify the hash chain of what people changed, and list it (promise 9)."""

from __future__ import annotations

import argparse

from offsite.cli.common import failed, json_option, print_json, print_table
from offsite.cli.on_desk import desk_options, opened

EXAMPLES = """examples:
  offsite audit verify --data offsite-data     # exit code 1 and the first bad row if anything was altered
  offsite audit list --subject CASE_ID --json
  offsite audit verify --config offsite.toml   # past one machine
"""
COLUMNS = ("seq", "at", "by", "role", "what", "subject", "body")
ENTRY = (*COLUMNS, "prev_hash", "hash")
PAGE = 1_000


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    doing = parser.add_subparsers(dest="doing", metavar="DO", required=True)
    verify = doing.add_parser("verify", help="recompute the chain from its first row")
    listing = doing.add_parser("list", help="list entries, oldest first")
    listing.add_argument("--subject", metavar="ID", help="only what was done to this alert, lead, case, key or person")
    listing.add_argument("--after", type=int, default=0, metavar="SEQ", help="only entries after this number")
    listing.add_argument("--limit", type=int, metavar="N", help="at most N entries")
    for one in (verify, listing):
        desk_options(one)
        json_option(one)


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    from connectors.core import ConnectorError
    from offsite.settings import SettingsFaults

    try:
        return _verify(args) if args.doing == "verify" else _list(args)
    except (ConnectorError, SettingsFaults) as error:
        return failed(error, f"audit {args.doing}")


def _verify(args: argparse.Namespace) -> int:
    from connectors.core import Lost

    with opened(args) as desk:
        found = desk.audit_verify()
    if args.json:
        print_json(found._asdict())
    elif found.ok:
        print(f"the chain of {found.rows} entries holds")
    if found.ok:
        return 0
    broken = Lost(
        f"the chain breaks at entry {found.first_bad}: it or its tail was altered; compare with a backup (`offsite restore`)"
    )
    return failed(broken, "audit verify")


def _list(args: argparse.Namespace) -> int:
    rows = []
    with opened(args) as desk:
        after, left = args.after, args.limit
        while page := desk.audit_entries(subject=args.subject, after=after, limit=PAGE if left is None else min(left, PAGE)):
            rows += page
            after, left = page[-1]["seq"], None if left is None else left - len(page)
            if left == 0:
                break
    if args.json:
        for row in rows:
            print_json({name: row[name] for name in ENTRY})
    else:
        print_table(([row[name] for name in COLUMNS] for row in rows), COLUMNS)
    return 0
