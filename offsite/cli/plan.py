"""`offsite plan`: which plan holds, and letting another one hold past one machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from offsite.cli.common import config_option, failed, json_option, print_json

EXAMPLES = """examples:
  offsite plan show --plan plan.toml
  offsite plan publish --plan plan.toml --config offsite.toml
`publish` writes to every partition from where on the plan holds. Workers that have another plan end there and have to be started with
it (`offsite worker --plan`); what lies before is judged by the plan that held then. The hash is pinned on every alert.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    doing = parser.add_subparsers(dest="doing", metavar="DO", required=True)
    for name, text in (("show", "show hash, version and rules of a plan"), ("publish", "let a plan hold from now on")):
        one = doing.add_parser(name, help=text)
        one.add_argument("--plan", type=Path, metavar="FILE", help="the plan (default: the packaged one)")
        json_option(one)
    config_option(one)


def run(args: argparse.Namespace) -> int:
    """Show or publish."""
    from connectors.core import ConnectorError
    from offsite import kafka_registry
    from offsite.settings import SettingsFaults, load_settings
    from streams.plan import load_plan
    from streams.plan.load import PlanFaults

    try:
        plan = load_plan(args.plan)
        told = {"hash": plan.hash, "version": plan.version, "rules": [rule.id for rule in plan.rules]}
        if args.doing == "publish":
            cluster = load_settings(args.config, {}).cluster()
            kafka_registry.publish_plan(cluster, plan.hash, kafka_registry.partitions_of(cluster))
        print_json(told)
    except (ConnectorError, SettingsFaults, PlanFaults) as error:
        return failed(error, "plan")
    return 0
