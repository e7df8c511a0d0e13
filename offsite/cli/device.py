"""`offsite device`: list and adopt devices, send them commands; of a running product through its desk."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from offsite.cli.common import data_option, existing, failed, json_option, print_json, print_rows, print_table
from offsite.cli.on_desk import desk_options, opened, settings_of
from offsite.cli.person import person_option, values_of

EXAMPLES = """examples:
  offsite device list --data offsite-data
  offsite device adopt LD130124000122 LD130101000229
  offsite device adopt --all --json
  offsite device send LD130124000122 2061 BeginTime=2016-08-24T08:00:00+08:00 EndTime=20160824100000
  offsite device list --config offsite.toml            # past one machine: the running desk on this machine is asked
Adopting registers a device that is held under its own MN and judges again what it has sent; it returns when that is in the books.
Works on a running product and on a stopped one; send needs a running one. Exit code 1 if a device did not do what it was told.
Past one machine nothing is adopted: publish a registry that has the device, then drive its letters again (`offsite dead-letters`).
"""
COLUMNS = ("mn", "site", "point", "known", "online", "held", "last_seen")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    doing = parser.add_subparsers(dest="doing", metavar="DO", required=True)
    listing = doing.add_parser("list", help="list known and held devices")
    adopt = doing.add_parser("adopt", help="register held devices and judge what they sent")
    adopt.add_argument("mns", nargs="*", metavar="MN")
    adopt.add_argument("--all", action="store_true", help="adopt every held device")
    adopt.add_argument(
        "--plan", type=Path, metavar="FILE", help="plan to judge by if the product is stopped (default: the packaged one)"
    )
    adopt.add_argument("--wait", type=float, default=300.0, metavar="S", help="seconds to wait for a running judge (default 300)")
    send = doing.add_parser("send", help="give a device one command of HJ 212 and wait for its outcome")
    send.add_argument("mn", metavar="MN")
    send.add_argument("cn", metavar="CN", help="command code, e.g. 2061 (hours), 2051 (minutes), 1012 (set the clock)")
    send.add_argument("values", nargs="*", metavar="NAME=VALUE", help="parameters; times as RFC 3339 or as on the wire")
    for one in (adopt, send):
        person_option(one)
    data_option(adopt)
    for one in (listing, send):
        desk_options(one)
    for one in (listing, adopt, send):
        json_option(one)


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    from connectors.core import ConnectorError
    from offsite.settings import SettingsFaults
    from streams.plan import PlanFaults

    try:
        return int({"list": _list, "adopt": _adopt, "send": _send}[args.doing](args))
    except (ConnectorError, PlanFaults, SettingsFaults) as error:
        return failed(error, f"device {args.doing}")


def _list(args: argparse.Namespace) -> int:
    from offsite.adoption import devices
    from offsite.desk_client import call

    settings = settings_of(args)
    rows = call(settings.desk_port, "GET", "/api/v1/devices")["devices"] if settings.desk_url else devices(settings.data)
    print_rows(rows, COLUMNS, as_json=args.json)
    return 0


def _adopt(args: argparse.Namespace) -> int:
    from connectors.core import Refused
    from offsite.adoption import adopt

    if bool(args.mns) == args.all:
        raise Refused("name the MNs to adopt, or say --all; `offsite device list` shows who is held")
    found = adopt(existing(args.data), None if args.all else args.mns, person=args.person, plan=args.plan, wait=args.wait)
    if args.json:
        print_json({"adopted": found})
    else:
        print_table(found.items(), ("mn", "records judged"))
    return 0


def _send(args: argparse.Namespace) -> int:
    from connectors.hj212.exchange import FAULTS
    from offsite.data_dir import actor
    from offsite.desk_client import call

    port = _desk_port(args)
    with opened(args) as desk:
        by = actor(desk, args.person)
    body = {name: _wire(name, value) for name, value in values_of(args.values).items()}
    outcome: dict[str, Any] = call(port, "POST", f"/api/v1/devices/{args.mn}/commands/{args.cn}", body, person=by)
    fault = outcome["fault"]
    if args.json:
        print_json(outcome)
    else:
        print(f"{args.mn} {args.cn}: {f'{fault} {FAULTS[fault]}' if fault else 'done'}")
    return 1 if fault else 0


def _desk_port(args: argparse.Namespace) -> int:
    """Return the port of the desk that a command is asked of. Raises Refused if none runs."""
    from connectors.core import Refused
    from offsite.data_dir import desk_of, running

    settings = settings_of(args)
    if settings.desk_url:
        return settings.desk_port
    product = running(settings.data)
    if product is None:
        raise Refused(f"no product runs on {settings.data}; a command needs the device's connection: start it with `offsite run`")
    return desk_of(product)


def _wire(name: str, value: str) -> str | int:
    """Return a parameter as the gateway takes it: a time with an offset as ms UTC, all else as it will stand on the wire."""
    from cases.clocks import parse_time
    from connectors.core import Refused

    if not name.endswith("Time") or value.isdecimal():
        return value
    try:
        return parse_time(value)
    except ValueError as error:
        raise Refused(f"{name}={value} is no time: write it as 2016-08-24T08:00:00+08:00 or 20160824080000") from error
