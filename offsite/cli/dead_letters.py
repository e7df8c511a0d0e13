"""`offsite dead-letters`: what was refused, with its reason, and driving it again after a fix."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from offsite.cli.common import config_option, failed, json_option, print_json, print_rows

if TYPE_CHECKING:
    from offsite.letters import Found

EXAMPLES = """examples:
  offsite dead-letters list --config offsite.toml --reason unregistered
  offsite dead-letters show 3f2a --config offsite.toml
  offsite dead-letters redrive --config offsite.toml --reason unregistered --key 88888880000001
  offsite dead-letters redrive 3f2a 77b0 --config offsite.toml
Ids may be shortened as long as they name one letter. `redrive` writes the input to the topic it was meant for, under the site that the
registry in force gives it; what is refused again becomes a letter again, and nothing behind it waits. On one machine the letters are
`offsite show rejects`.
"""
COLUMNS = ("id", "arrived", "reason", "key", "topic", "partition", "offset", "bytes", "driven", "detail")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    doing = parser.add_subparsers(dest="doing", metavar="DO", required=True)
    for name, text in (("list", "list letters"), ("show", "show letters with their bytes"), ("redrive", "drive letters again")):
        one = doing.add_parser(name, help=text)
        one.add_argument("ids", nargs="*", metavar="ID", help="only these letters")
        config_option(one)
        one.add_argument("--reason", metavar="R", help="only letters of this reason")
        one.add_argument("--key", metavar="K", help="only letters of this source: site, MN or peer")
        one.add_argument("--all", action="store_true", help="those that were driven again, too")
        json_option(one)


def run(args: argparse.Namespace) -> int:
    """List, show or drive again."""
    from connectors.core import ConnectorError
    from offsite.letters import letters, redrive
    from offsite.settings import SettingsFaults, load_settings

    try:
        cluster = load_settings(args.config, {}).cluster()
        chosen = _chosen(args, letters(cluster))
        if args.doing == "redrive":
            print_json({"redriven": redrive(cluster, [each.letter for each in chosen])})
        elif args.doing == "show":
            for each in chosen:
                print_json(
                    _row(each) | {"content_type": each.letter.content_type, "rows": each.letter.rows} | _raw(each.letter.raw)
                )
        else:
            print_rows([_row(each) for each in chosen], COLUMNS, as_json=args.json)
    except (ConnectorError, SettingsFaults) as error:
        return failed(error, "dead-letters")
    return 0


def _chosen(args: argparse.Namespace, found: list[Found]) -> list[Found]:
    """Return the letters that the options name. Raises Refused for an id that names none, or several."""
    from connectors.core import Refused

    for short in args.ids:
        named = {each.letter.id for each in found if each.letter.id.startswith(short)}
        if len(named) != 1:
            raise Refused(f"{short} names {len(named)} letters; `offsite dead-letters list` shows their ids")
    return [
        each
        for each in found
        if (args.all or args.ids or not each.driven)
        and (not args.ids or each.letter.id.startswith(tuple(args.ids)))
        and args.reason in (None, each.letter.reason)
        and args.key in (None, each.letter.key)
    ]


def _row(each: Found) -> dict[str, Any]:
    from streams.identity import rfc3339

    letter = each.letter
    place = {"topic": letter.topic, "partition": letter.partition, "offset": letter.offset}
    told = {"id": letter.id, "arrived": rfc3339(letter.arrived), "reason": letter.reason, "key": letter.key}
    return told | place | {"bytes": len(letter.raw), "driven": each.driven, "detail": letter.detail}


def _raw(raw: bytes) -> dict[str, str]:
    try:
        return {"text": raw.decode()}
    except UnicodeDecodeError:
        return {"hex": raw.hex()}
