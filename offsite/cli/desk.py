"""`offsite desk`: cases and console of the distributed runtime, as a process of its own."""

from __future__ import annotations

import argparse

from offsite.cli.common import config_option, failed, log_format, log_option

EXAMPLES = """examples:
  offsite desk --config offsite.toml
  OFFSITE_DESK_URL='postgresql+psycopg://offsite@db/offsite?sslmode=verify-full&sslrootcert=/etc/offsite/ca.pem' offsite desk --config offsite.toml
The settings name the cluster ([kafka]), the database (desk_url, desk_password) and the chart history ([influx], else archive). The
tables are brought up to date at the start. The first line on stdout is one JSON object with the port; the desk answers this machine only.
Exit code 1 if a part needs a person: a wrong password or certificate, a missing topic, tables newer than the program.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    config_option(parser)
    parser.add_argument("--desk", type=int, dest="desk_port", metavar="PORT", help="port (default 8213; 0 takes a free one)")
    log_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM."""
    from offsite.desk_process import run as serve
    from offsite.settings import SettingsFaults, load_settings

    log_format(args)
    try:
        return serve(load_settings(args.config, vars(args)))
    except SettingsFaults as error:
        return failed(error, "desk")
