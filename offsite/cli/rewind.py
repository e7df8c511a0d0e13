"""`offsite rewind`: let a consumer group read topics again from a log time on, after a store that it fills was restored."""

from __future__ import annotations

import argparse

from offsite.cli.common import config_option, failed, json_option, print_rows
from offsite.cli.times import moment

EXAMPLES = """examples:
  offsite rewind --config offsite.toml --group agents-desk --topic alerts --topic leads --to 2026-11-24T02:00:00+08:00
  offsite rewind --config offsite.toml --group agents-archive --topic history --to 2026-11-24
Stop the group's processes first; start them again afterwards. Everything the agents do may be done again: rows and alerts that are
there already stay as they are. Judging is never set back this way: its position is part of its state.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    config_option(parser, "settings in TOML; or OFFSITE_KAFKA_BOOTSTRAP and the like")
    parser.add_argument("--group", required=True, metavar="G", help="without kafka.prefix")
    parser.add_argument("--topic", action="append", required=True, metavar="T", help="without kafka.prefix (repeat)")
    parser.add_argument("--to", type=moment, required=True, metavar="TIME", help="RFC 3339 or a day")
    json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Set the group back."""
    from connectors.core import ConnectorError
    from connectors.kafka_rewind import rewind
    from offsite.settings import SettingsFaults, load_settings

    try:
        found = rewind(load_settings(args.config, {}).cluster(), args.group, args.topic, args.to)
    except (ConnectorError, SettingsFaults) as error:
        return failed(error, "rewind")
    rows = [{"topic": topic, "partition": partition, "next": offset} for (topic, partition), offset in sorted(found.items())]
    print_rows(rows, ("topic", "partition", "next"), as_json=args.json)
    return 0
