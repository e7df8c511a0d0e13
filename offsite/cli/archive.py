"""`offsite archive`: look after the archive of the distributed runtime: how far it reaches, merge, copy, replay."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from offsite.cli.common import config_option, failed, json_option, print_json, print_rows

if TYPE_CHECKING:
    from offsite.settings import Settings

EXAMPLES = """examples:
  offsite archive reach --config offsite.toml
  offsite archive compact --config offsite.toml --before 2026-11-24
  offsite archive copy --config offsite.toml --to /backup/archive
  offsite archive copy --config offsite.toml --from /backup/archive
  offsite archive replay --config offsite.toml --from /backup/archive
`reach` shows the next offset of each partition of the topic `history`. `compact` merges the small files of days that are over (run
it daily). `copy` brings what the other place lacks; it may be repeated, and the product may run. `replay` writes the frames of another
archive into empty input topics, from which workers make alerts, leads and a new archive again (docs/operations.md).
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    doing = parser.add_subparsers(dest="doing", metavar="DO", required=True)
    doing.add_parser("reach", help="how far each partition is archived")
    compact = doing.add_parser("compact", help="merge small files")
    compact.add_argument("--before", metavar="DAY", help="days before this one (default: today, China Standard Time)")
    copy = doing.add_parser("copy", help="copy to or from another place")
    other = copy.add_mutually_exclusive_group(required=True)
    other.add_argument("--to", metavar="PLACE", help="a path, or a URL with the options of [archive_options]")
    other.add_argument("--from", dest="source", metavar="PLACE", help="bring back from there what the archive lacks")
    replay = doing.add_parser("replay", help="write an archive's frames into empty input topics")
    replay.add_argument("--from", dest="source", required=True, metavar="PLACE", help="the archive to replay")
    for one in doing.choices.values():
        config_option(one, "settings in TOML, or OFFSITE_ARCHIVE and the like")
        json_option(one)


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    from connectors.core import ConnectorError
    from offsite.settings import SettingsFaults, load_settings

    try:
        return DOING[args.doing](args, load_settings(args.config, {}))
    except (ConnectorError, SettingsFaults) as error:
        return failed(error, "archive")


def _reach(args: argparse.Namespace, settings: Settings) -> int:
    from offsite.archived import open_for_writing

    archive = open_for_writing(settings)
    rows = [{"partition": partition, "next": archive.covered(partition)} for partition in range(archive.partitions)]
    print_rows(rows, ("partition", "next"), as_json=args.json)
    return 0


def _compact(args: argparse.Namespace, settings: Settings) -> int:
    from offsite.archived import open_archive
    from offsite.data_dir import now
    from streams.history import SORT
    from streams.identity import rfc3339

    archive = open_archive(settings)
    before = args.before or str(rfc3339(now()))[:10]
    days = sorted({day for kind in SORT for day in archive.days(kind) if day < before})
    told = {"days": len(days), "removed": sum(archive.compact(day) for day in days)}
    _tell(args, told, f"{told['days']} days, {told['removed']} files taken in")
    return 0


def _copy(args: argparse.Namespace, settings: Settings) -> int:
    from connectors.archive import ArchiveStore
    from offsite.archive_copy import copy

    here = ArchiveStore(settings.archive, settings.archive_storage())
    there = ArchiveStore(*_place(args.to or args.source, settings))
    size = [0]

    def told(name: str, count: int) -> None:
        size[0] += count
        if sys.stderr.isatty():
            print(f"\r{size[0] >> 20} MB  {name}", end="", file=sys.stderr)

    files = copy(here, there, told) if args.to else copy(there, here, told)
    _tell(args, {"files": files, "bytes": size[0]}, f"{files} files, {size[0] >> 10} KB")
    return 0


def _replay(args: argparse.Namespace, settings: Settings) -> int:
    from connectors.core import Refused
    from offsite.archive_replay import replay
    from streams.archive import Archive

    if args.source.rstrip("/") == settings.archive.rstrip("/"):
        raise Refused(
            "the replay fills an archive anew: name another place as `archive` in the settings, and keep this one as it is"
        )

    def told(count: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{count} records", end="", file=sys.stderr)

    count = replay(Archive(*_place(args.source, settings)).recorded(), settings.cluster(), told)
    _tell(args, {"records": count}, f"{count} records; now start workers and agents")
    return 0


def _place(place: str, settings: Settings) -> tuple[str, dict[str, Any]]:
    """Return a place with its options: those of the settings if it is a URL."""
    return place, settings.archive_storage() if "://" in place else {}


def _tell(args: argparse.Namespace, told: Mapping[str, int], words: str) -> None:
    if args.json:
        print_json(told)
    else:
        print(words)


DOING: Mapping[str, Callable[[argparse.Namespace, Settings], int]] = {
    "reach": _reach,
    "compact": _compact,
    "copy": _copy,
    "replay": _replay,
}
