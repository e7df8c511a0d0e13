"""`offsite worker`: a judge of the distributed runtime."""

from __future__ import annotations

import argparse
from pathlib import Path

from offsite.cli.common import config_option, failed, log_format, log_option

EXAMPLES = """examples:
  offsite worker --config offsite.toml
  OFFSITE_INSTANCE=worker-2 offsite worker --config offsite.toml --plan plan.toml
Start as many as there are cores to spare, at most one a partition; each needs a name of its own (instance), which it keeps over restarts.
A worker ends with exit code 1 whenever it was replaced or could not commit: whatever started it starts it again, and nothing is lost or
judged twice. At SIGTERM it finishes its step and gives its partitions to the others.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    config_option(parser)
    parser.add_argument(
        "--name", dest="instance", metavar="NAME", help="its name among the workers (default: instance of the settings)"
    )
    parser.add_argument("--plan", type=Path, metavar="FILE", help="plan to judge by (default: the packaged one)")
    parser.add_argument("--infer", action="store_true", help="let unregistered sites in, each under its own name")
    parser.add_argument(
        "--session-ms", type=int, default=10_000, metavar="MS", help="silence after which others take over (default 10000)"
    )
    log_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM."""
    from offsite.settings import SettingsFaults, load_settings
    from offsite.worker_process import run as work
    from streams.plan.load import PlanFaults

    log_format(args)
    try:
        return work(load_settings(args.config, vars(args)), infer=args.infer, session_ms=args.session_ms)
    except (SettingsFaults, PlanFaults) as error:
        return failed(error, "worker")
