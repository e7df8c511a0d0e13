"""`offsite views`: what other departments may read, which key reads what, and who read what when."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from offsite.cli.common import config_option, data_option, failed, json_option, print_json, print_rows
from offsite.cli.person import person_option

if TYPE_CHECKING:
    from cases.views import Views
    from offsite.settings import Settings

EXAMPLES = """examples:
  offsite views list                                          # the catalogue: columns, readers, purpose, legal basis
  offsite views list --json
  offsite views grant 3f2a91c04b7e --view cases_open --view permit_limits --district 330102 --data offsite-data
  offsite views grant 3f2a91c04b7e --data offsite-data        # no views: takes all of them away
  offsite views grants --data offsite-data
  offsite views log --data offsite-data --json                # who read what, when, how many rows
A department reads with its API key (`offsite key create`): GET /api/v1/views/cases_open on the ingest port.
"""
LISTED = ("name", "zh", "en", "source", "personal", "readers", "purpose", "basis", "columns")
GRANTS = ("key", "name", "views", "districts", "enterprises", "industries")
LOG = ("at", "view", "key", "name", "rows", "asked")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    doing = parser.add_subparsers(dest="doing", metavar="DO", required=True)
    listing = doing.add_parser("list", help="list the views")
    grant = doing.add_parser("grant", help="let a key read these views and no others")
    grant.add_argument("key", metavar="KEY", help="the key's id, as `key list` shows it")
    grant.add_argument("--view", action="append", default=[], metavar="V", help="a view (repeat; `*`: all without personal data)")
    for name, words in (("district", "with those below it"), ("enterprise", "by its name"), ("industry", "by its name or code")):
        grant.add_argument(
            f"--{name}", action="append", default=[], metavar="X", help=f"only sites of this {name}, {words} (repeat)"
        )
    person_option(grant)
    grants = doing.add_parser("grants", help="list what each key may read")
    log = doing.add_parser("log", help="list who read what, the newest first")
    log.add_argument("name", nargs="?", metavar="VIEW", help="only this view")
    log.add_argument("--limit", type=int, default=200, metavar="N", help="at most N (default 200)")
    for one in (listing, grant, grants, log):
        config_option(one)
        data_option(one)
        one.set_defaults(data=None)
        json_option(one)


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    from connectors.core import ConnectorError
    from connectors.table import TableFaults
    from offsite.settings import SettingsFaults, load_settings

    try:
        settings = load_settings(args.config, {"data": args.data})
        if args.doing == "list":
            return _list(args, settings)
        with _views(settings) as views:
            return int({"grant": _grant, "grants": _grants, "log": _log}[args.doing](args, settings, views))
    except (ConnectorError, SettingsFaults, TableFaults) as error:
        return failed(error, f"views {args.doing}")


@contextmanager
def _views(settings: Settings) -> Iterator[Views]:
    """Open the views of a desk, running or stopped."""
    from cases.database import Database
    from cases.views import FILE, Views, load_views
    from offsite.cli.common import existing
    from offsite.data_dir import now, open_desk
    from offsite.registered import load_current

    if not settings.desk_url:
        with open_desk(existing(settings.data)):
            pass  # its tables are of this version now
    database = Database(settings.desk_database(), clock=now)
    try:
        yield Views(database, load_views(settings.data / FILE), lambda: load_current(settings.data))
    finally:
        database.close()


def _list(args: argparse.Namespace, settings: Settings) -> int:
    from cases.views import FILE, load_views, told

    rows = [told(view) for view in load_views(settings.data / FILE).values()]
    if args.json:
        for row in rows:
            print_json(row)
        return 0
    print_rows([row | {"columns": " ".join(row["columns"])} for row in rows], LISTED, as_json=False)
    return 0


def _grant(args: argparse.Namespace, settings: Settings, views: Views) -> int:
    from cases.store import Desk
    from cases.views import Grant
    from offsite.data_dir import actor, now

    grant = Grant(*(tuple(dict.fromkeys(given)) for given in (args.view, args.district, args.enterprise, args.industry)))
    with Desk(settings.desk_database(), clock=now, migrate=False) as desk:
        by = actor(desk, args.person)
    row = views.grant(args.key, grant, by)
    if args.json:
        print_json(row)
    else:
        scope = "  ".join(f"{name} {' '.join(row[name])}" for name in GRANTS[3:] if row[name]) or "all sites"
        print(f"key {args.key} reads {' '.join(grant.views) or 'nothing'}: {scope}")
    return 0


def _grants(args: argparse.Namespace, settings: Settings, views: Views) -> int:
    del settings
    print_rows(views.grants(), GRANTS, as_json=args.json)
    return 0


def _log(args: argparse.Namespace, settings: Settings, views: Views) -> int:
    del settings
    print_rows(views.readings(args.name, args.limit), LOG, as_json=args.json)
    return 0
