"""`offsite gateway`: devices, HTTP and further inputs of the distributed runtime, into Kafka."""

from __future__ import annotations

import argparse
from pathlib import Path

from offsite.cli.common import config_option, failed, log_format, log_option

EXAMPLES = """examples:
  offsite gateway --config offsite.toml
  OFFSITE_INSTANCE=gateway-2 offsite gateway --config offsite.toml --hj212 9312 --http -1
The settings name the cluster ([kafka]), the desk's database (API keys) and the spool. A device is answered once every in-sync replica has
its frame, or, while Kafka is away, once it is in the spool. Several gateways share the devices; a command reaches the one that holds the
connection. The first line on stdout is one JSON object with the open ports.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    config_option(parser)
    parser.add_argument("--data", type=Path, metavar="DIR", help="where inputs keep their progress (default: offsite-data)")
    parser.add_argument("--host", help="address for devices and ingest (default 127.0.0.1)")
    parser.add_argument("--hj212", type=int, dest="hj212_port", metavar="PORT", help="HJ 212 over TCP (default 9212; -1: none)")
    parser.add_argument("--tls", type=int, dest="tls_port", metavar="PORT", help="HJ 212 over TLS (default: none)")
    parser.add_argument("--http", type=int, dest="http_port", metavar="PORT", help="HTTP ingest (default 8212; -1: none)")
    log_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM."""
    from offsite.gateway_process import serve
    from offsite.serving import foreground
    from offsite.settings import SettingsFaults, load_settings

    log_format(args)
    try:
        settings = load_settings(args.config, vars(args))
        return foreground("gateway", lambda stop: serve(settings, stop))
    except SettingsFaults as error:
        return failed(error, "gateway")
