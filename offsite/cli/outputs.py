"""`offsite outputs`: which targets there are, their books, what left and with what answer, and letting one go on."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from offsite.cli.common import config_option, data_option, failed, json_option, print_json, print_rows

if TYPE_CHECKING:
    from connectors.outbound import Queue
    from offsite.settings import Settings

EXAMPLES = """examples:
  offsite outputs list --config offsite.toml
  offsite outputs books --data offsite-data
  offsite outputs sent province --data offsite-data --state refused --json
  offsite outputs retry city-platform --data offsite-data
Books: queued = sent + waiting + refused + expired, always. `retry` lets a stopped target go on and sends again what it had refused.
"""
LISTED = ("name", "kind", "takes", "start", "bound", "when_full", "expire_hours")
BOOKS = ("target", "queued", "sent", "waiting", "refused", "expired", "missed", "oldest", "trouble")
SENT = ("id", "target", "state", "kind", "key", "ident", "size", "at", "done", "attempts", "answer")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    doing = parser.add_subparsers(dest="doing", metavar="DO", required=True)
    listing = doing.add_parser("list", help="list the outputs of the settings")
    books = doing.add_parser("books", help="show the books of every target")
    sent = doing.add_parser("sent", help="show the log of a target: what left, when, the answer, the attempts")
    again = doing.add_parser("retry", help="let a target go on at once, and send again what it refused")
    sent.add_argument("target", nargs="?", metavar="NAME", help="only this target")
    sent.add_argument("--state", choices=("waiting", "sent", "refused", "expired"), help="only what is in this state")
    sent.add_argument("--after", type=int, default=0, metavar="ID", help="only what was queued after this id")
    sent.add_argument("--limit", type=int, default=200, metavar="N", help="at most N (default 200)")
    again.add_argument("target", metavar="NAME", help="the target")
    again.add_argument("--key", metavar="K", help="only the refused entries of this site, MN or person")
    for one in (listing, books, sent, again):
        config_option(one)
        data_option(one)
        one.set_defaults(data=None)
        json_option(one)


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    from connectors.core import ConnectorError
    from offsite.settings import SettingsFaults, load_settings

    try:
        settings = load_settings(args.config, {"data": args.data})
        return int({"list": _list, "books": _books, "sent": _sent, "retry": _retry}[args.doing](args, settings))
    except (ConnectorError, SettingsFaults) as error:
        return failed(error, f"outputs {args.doing}")


@contextmanager
def _queue(settings: Settings) -> Iterator[Queue]:
    """Open the queue; raises Refused if there is none, so that asking makes no empty one."""
    from connectors.core import Refused
    from connectors.outbound import Queue
    from offsite.outputs import FILE, queue_url

    if not settings.desk_url and not (settings.data / FILE).exists():
        raise Refused(f"{settings.data} has no outputs yet; add [[outputs]] to the settings and start the product")
    queue = Queue(queue_url(settings))
    try:
        yield queue
    finally:
        queue.close()


def _list(args: argparse.Namespace, settings: Settings) -> int:
    from connectors.outputs import HOUR
    from offsite.data_dir import now
    from offsite.outputs import made

    rows = []
    for table, output in zip(settings.outputs, made(settings, now), strict=True):
        common = output.common
        facts = {name: getattr(common, name) for name in ("name", "start", "bound", "when_full")}
        rows.append(facts | {"kind": table["kind"], "takes": output.takes, "expire_hours": common.expire / HOUR})
    print_rows(rows, LISTED, as_json=args.json)
    return 0


def _books(args: argparse.Namespace, settings: Settings) -> int:
    with _queue(settings) as queue:
        books = queue.books()
    rows = [{"target": name} | _timed(row, "oldest", "fault_at") for name, row in books.items()]
    if not args.json:
        rows = [row | {"trouble": row["stopped"] or row["full"] or row["fault"]} for row in rows]
    print_rows(rows, BOOKS, as_json=args.json)
    return 0


def _sent(args: argparse.Namespace, settings: Settings) -> int:
    with _queue(settings) as queue:
        rows = queue.log(args.target, state=args.state, after=args.after, limit=args.limit)
    print_rows([_timed(row, "at", "done") for row in rows], SENT, as_json=args.json)
    return 0


def _retry(args: argparse.Namespace, settings: Settings) -> int:
    from connectors.core import Refused

    with _queue(settings) as queue:
        if args.target not in queue.books():
            raise Refused(f"there is no target {args.target!r}; `offsite outputs books` shows all")
        back = queue.again(args.target, args.key)
    if args.json:
        print_json({"target": args.target, "again": back})
    else:
        print(f"{args.target} goes on; {back} refused entries are sent again")
    return 0


def _timed(row: dict[str, Any], *names: str) -> dict[str, Any]:
    from streams.identity import rfc3339

    return row | {name: rfc3339(row[name]) for name in names}
