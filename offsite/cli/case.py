"""`offsite case`: list, show, open and move cases. What a person may do is the move table's decision (rules F.2, F.3)."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import quote

from offsite.cli.common import failed, json_option, print_rows, print_table
from offsite.cli.on_desk import desk_options, opened, settings_of
from offsite.cli.person import person_option, values_of

EXAMPLES = """examples:
  offsite case list --state open
  offsite case list --config offsite.toml          # past one machine
  offsite case show 案-2026-000001
  offsite case open LEAD --as operator
  offsite case move 案-2026-000001 dispatch --as shift_lead assignee="第一执法组"
  offsite case move 案-2026-000001 verify --as officer verdict=属实 finding="采样管路被拆开"
`case show` lists the moves that are possible now, with the roles that may make them and the fields they need.
"""
COLUMNS = ("number", "opened", "site", "level", "state_zh", "assignee", "verdict", "due", "overdue")
FACTS = (
    "id",
    "number",
    "site",
    "point",
    "level",
    "state_zh",
    "type",
    "opened",
    "opened_by",
    "assignee",
    "verdict",
    "finding",
    "conclusion",
)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    doing = parser.add_subparsers(dest="doing", metavar="DO", required=True)
    listing = doing.add_parser("list", help="list cases, oldest first")
    listing.add_argument("--state", metavar="S", help="only this state: open, dispatched, verified or closed")
    listing.add_argument("--site", metavar="S", help="only this site")
    listing.add_argument("--limit", type=int, metavar="N", help="only the newest N")
    show = doing.add_parser("show", help="show one case with its ledger and possible moves")
    opening = doing.add_parser("open", help="open the case of a lead; asked again, it is the same case")
    opening.add_argument("lead", metavar="LEAD", help="the lead's id (`offsite show leads`)")
    move = doing.add_parser("move", help="make one move")
    for one in (show, move):
        one.add_argument("case", metavar="CASE", help="number or id")
    move.add_argument("move", metavar="MOVE", help="dispatch, return, verify, recheck, close, reopen, reply or note")
    move.add_argument("values", nargs="*", metavar="NAME=VALUE", help="the fields of the move")
    for one in (opening, move):
        person_option(one, required=True)
    for one in (listing, show, opening, move):
        desk_options(one)
        json_option(one)


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    from connectors.core import ConnectorError
    from offsite.settings import SettingsFaults

    try:
        return int({"list": _list, "show": _show, "open": _open, "move": _move}[args.doing](args))
    except (ConnectorError, SettingsFaults) as error:
        return failed(error, f"case {args.doing}")


def _list(args: argparse.Namespace) -> int:
    with opened(args) as desk:
        rows = desk.cases(state=args.state, site=args.site, limit=args.limit)[::-1]
    print_rows(rows, COLUMNS, as_json=args.json)
    return 0


def _show(args: argparse.Namespace) -> int:
    from connectors.core import Refused

    with opened(args) as desk:
        row = desk.case(args.case)
    if row is None:
        raise Refused(f"there is no case {args.case!r}; `offsite case list` shows all")
    return _told(row, as_json=args.json)


def _open(args: argparse.Namespace) -> int:
    answer = _asked(args, f"/api/v1/leads/{quote(args.lead, safe='')}/case", {}, args.person)
    if answer is None:
        from offsite.data_dir import actor

        with opened(args) as desk:
            answer = desk.open_case(args.lead, actor(desk, args.person))
    return _told(answer, as_json=args.json)


def _move(args: argparse.Namespace) -> int:
    body = values_of(args.values)
    answer = _asked(args, f"/api/v1/cases/{quote(args.case, safe='')}/moves", {"move": args.move, "body": body}, args.person)
    if answer is None:
        from offsite.data_dir import actor

        with opened(args) as desk:
            answer = desk.move(args.case, args.move, actor(desk, args.person), body)
    return _told(answer, as_json=args.json)


def _asked(args: argparse.Namespace, path: str, body: dict[str, Any], person: str) -> dict[str, Any] | None:
    """Let the running product's desk do it, by its own clock; None if no desk runs."""
    from offsite.data_dir import running
    from offsite.desk_client import call

    settings = settings_of(args)
    product = None if settings.desk_url else running(settings.data)
    if product is None or product.desk < 0:
        return None
    return dict(call(product.desk, "POST", path, body, person=person))


def _told(row: dict[str, Any], *, as_json: bool) -> int:
    from cases.db import canonical

    if as_json:
        print(canonical(row))
        return 0
    for name in FACTS:
        print(f"{name:11} {row.get(name) if row.get(name) is not None else ''}".rstrip())
    clock = row.get("clock")
    if clock:
        print(f"{'due':11} {clock['due']} ({clock['colour']})")
    print()
    print_table(
        ([e["at"], e["by"], e["role"], e["name_zh"], _said(e["body"])] for e in row["events"]),
        ("at", "by", "role", "move", "said"),
    )
    print()
    print_table(
        ([m["move"], m["name_zh"], " ".join(m["roles"]), " ".join(_form(m))] for m in row["moves"]),
        ("move now", "", "roles", "fields"),
    )
    return 0


def _said(body: dict[str, Any]) -> str:
    return "  ".join(f"{name}={value}" for name, value in body.items())


def _form(move: dict[str, Any]) -> list[str]:
    """Return the fields of a move; those that may be left out in brackets."""
    return [field["name"] if field["required"] else f"[{field['name']}]" for field in move["fields"]]
