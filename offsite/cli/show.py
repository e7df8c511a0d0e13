"""`offsite show`: what a data directory or an archive holds, one row a line, oldest first. Reads only, beside the running product."""

from __future__ import annotations

import argparse
import base64
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from offsite.cli.common import config_option, data_option, existing, failed, json_option, print_json, print_table
from offsite.cli.times import moment

EXAMPLES = """examples:
  offsite show alerts --data out/ --json
  offsite show readings --data out/ --site S0001 --limit 100
  offsite show rejects --data out/
  offsite show readings --data out/ --as-of 2026-11-24T12:00:00+08:00
  offsite show frames --config offsite.toml --site S0001
--as-of shows what was known at that log time: what arrived later, revisions too, is left out. --config reads the archive of the
distributed runtime (readings, windows, frames).
--limit N shows the newest N rows, still oldest first. Times are China Standard Time (RFC 3339, +08:00).
What came as bytes (rejects, frames) is shown as text with backslash escapes; --json adds the exact bytes in base64.
"""
COLUMNS: dict[str, tuple[str, ...]] = {
    "readings": ("time", "site", "point", "factor", "period", "stat", "value", "flag", "fate", "quality"),
    "windows": ("start", "site", "point", "factor", "period", "mean", "count", "valid"),
    "alerts": (
        "opened",
        "closed",
        "id",
        "site",
        "point",
        "factor",
        "rule",
        "level",
        "state",
        "observed",
        "limit",
        "unit",
        "reason_zh",
    ),
    "leads": ("opened", "id", "site", "type", "level", "state", "probability", "grade", "reason_zh"),
    "cases": ("opened", "number", "site", "level", "state_zh", "assignee", "due", "type"),
    "rejects": ("id", "offset", "site", "reason", "detail", "rows", "raw"),
    "frames": ("offset", "arrived", "topic", "site", "content_type", "body"),
}
"""What a table shows of each kind; --json gives everything."""
PAGE = 1_000
_MN = re.compile(rb"MN=([^;,\s&]+)")

Row = dict[str, Any]


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    parser.add_argument("what", choices=sorted(COLUMNS), metavar="WHAT", help=f"one of {', '.join(COLUMNS)}")
    data_option(parser)
    config_option(parser, "settings in TOML: show the archive that they name instead")
    parser.add_argument("--site", metavar="S", help="only this site")
    parser.add_argument("--as-of", type=moment, metavar="TIME", help="as known then (readings, frames); RFC 3339 or a day")
    parser.add_argument("--limit", type=_count, metavar="N", help="only the newest N rows")
    json_option(parser)


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of rows; give 1 or more")
    return value


def run(args: argparse.Namespace) -> int:
    """Print the rows."""
    from connectors.core import ConnectorError
    from offsite.settings import SettingsFaults

    try:
        with ExitStack() as stack:
            rows = _rows(stack, args)
            kept: Iterable[Row] = rows if args.limit is None else deque(rows, args.limit)
            _print(kept, args.what, as_json=args.json)
    except (ConnectorError, SettingsFaults) as error:
        return failed(error, "show")
    return 0


def _rows(stack: ExitStack, args: argparse.Namespace) -> Iterator[Row]:
    """Return what was asked for. Raises Refused for what only history can answer."""
    from connectors.core import Refused

    if args.what in HISTORIES:
        return _history(stack, args)
    for name, given in (("--as-of", args.as_of), ("--config", args.config)):
        if given is not None:
            raise Refused(f"{name} is for {', '.join(HISTORIES)}; {args.what} are not kept there")
    return READERS[args.what](stack, existing(args.data), args.what, args.site)


def _print(rows: Iterable[Row], what: str, *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print_json(row)
    else:
        print_table(([_cell(row.get(name)) for name in COLUMNS[what]] for row in rows), COLUMNS[what])


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def _history(stack: ExitStack, args: argparse.Namespace) -> Iterator[Row]:
    from offsite.archived import open_history

    kept, _where = stack.enter_context(open_history(args.data, args.config))
    for row in kept.rows(args.what, args.site, as_of=args.as_of):
        yield _readable(row, "body") if "body" in row else row


def _desk(stack: ExitStack, data: Path, what: str, site: str | None) -> Iterator[Row]:
    from cases.clocks import parse_time
    from offsite.data_dir import open_desk

    rows = getattr(stack.enter_context(open_desk(data)), what)(site=site, limit=None)
    yield from sorted(rows, key=lambda row: (parse_time(row["opened"]), row["id"]))


def _rejects(stack: ExitStack, data: Path, _what: str, site: str | None) -> Iterator[Row]:
    from offsite.data_dir import open_state
    from offsite.registered import load_current

    store, registry = stack.enter_context(open_state(data)), load_current(data)
    after = 0
    while page := store.dead_letters(after, PAGE):
        after = page[-1]["id"]
        for row in page:
            found = _MN.search(row["raw"] or b"")
            mn = found[1].decode("utf-8", "replace") if found else None
            points = registry.by_mn.get(mn or "", [])
            own = points[0].site if points else mn
            if site is None or site == own:
                yield _readable(row | {"mn": mn, "site": own}, "raw")


def _readable(row: Row, name: str) -> Row:
    """Show bytes as text with backslash escapes, and exactly."""
    raw = bytes(row[name] or b"")
    text = raw.decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return row | {name: shown, f"{name}_base64": base64.b64encode(raw).decode("ascii")}


Reader = Callable[[ExitStack, Path, str, str | None], Iterator[Row]]
HISTORIES = ("readings", "windows", "frames")
READERS: dict[str, Reader] = {
    **dict.fromkeys(("alerts", "leads", "cases"), _desk),
    "rejects": _rejects,
}
"""What is shown → (open things, data directory, what, site) → rows, oldest first."""
