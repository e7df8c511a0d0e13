"""`offsite agents`: what surrounds the judges of the distributed runtime, run by Faust."""

from __future__ import annotations

import argparse
from pathlib import Path

from offsite.cli.common import config_option, failed, log_format, log_option

EXAMPLES = """examples:
  offsite agents --config offsite.toml
The agents project alerts and leads into the desk's database, fill the archive and InfluxDB, compare the silence of sites, and send what
leaves for others ([[outputs]]). Start as many as are needed; Faust shares the work among them. While a database is away its agent
waits, and the others go on. The first line on stdout is one JSON object with the sinks.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    config_option(parser)
    parser.add_argument("--plan", type=Path, metavar="FILE", help="plan whose cross-site rule holds (default: the packaged one)")
    log_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM."""
    from offsite.agents_process import serve_agents
    from offsite.serving import foreground
    from offsite.settings import SettingsFaults, load_settings

    log_format(args)
    try:
        settings = load_settings(args.config, vars(args))
        return foreground("agents", lambda stop: serve_agents(settings, stop))
    except SettingsFaults as error:
        return failed(error, "agents")
