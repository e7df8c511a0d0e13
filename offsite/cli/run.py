"""`offsite run`: the product on one machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from offsite.cli.common import config_option, data_option, failed, log_format, log_option

EXAMPLES = """examples:
  offsite run --data /var/lib/offsite --registry city/ --hj212 9212 --http 8212 --desk 8213
  offsite run --config offsite.toml
The first line on stdout is one JSON object with the open ports. Port 0 takes a free one, -1 leaves the service out.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    config_option(parser)
    data_option(parser)
    parser.set_defaults(data=None)
    parser.add_argument("--registry", type=Path, metavar="DIR_OR_XLSX", help="registry to take up before starting")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="plan to judge by (default: the packaged one)")
    parser.add_argument("--host", help="address for devices and ingest (default 127.0.0.1; the desk is always on loopback)")
    parser.add_argument("--hj212", type=int, dest="hj212_port", metavar="PORT", help="HJ 212 over TCP (default 9212)")
    parser.add_argument("--tls", type=int, dest="tls_port", metavar="PORT", help="HJ 212 over TLS (default: off)")
    parser.add_argument("--http", type=int, dest="http_port", metavar="PORT", help="HTTP ingest (default 8212)")
    parser.add_argument("--desk", type=int, dest="desk_port", metavar="PORT", help="desk (default 8213)")
    parser.add_argument(
        "--metrics", type=int, dest="metrics_port", metavar="PORT", help="metrics and health, on loopback (default: off)"
    )
    log_option(parser)
    parser.add_argument("--clock", type=Path, metavar="FILE", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM."""
    from offsite.settings import SettingsFaults, load_settings
    from offsite.supervisor import run as supervise
    from streams.registry_tables import RegistryFaults

    log_format(args)
    try:
        return supervise(load_settings(args.config, vars(args)))
    except (SettingsFaults, RegistryFaults) as error:
        return failed(error, "run")
