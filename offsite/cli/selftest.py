"""`offsite selftest`: an integrator's samples through the product's own decoders; every fault is listed, nothing is stored."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offsite.cli.common import config_option, failed, json_option, print_json

if TYPE_CHECKING:
    from offsite.selftest import Selftest

EXAMPLES = """examples:
  offsite selftest sample.json --registry city/
  curl -s http://sender/export | offsite selftest - --content-type text/csv --json
  offsite selftest day.h212.xz --registry city/
  offsite selftest --topic emission-monitoring --listen 100 --config offsite.toml
Files are JSON, NDJSON, CSV, Arrow, Parquet or HJ 212 by their name, plain or packed; - is standard input. With --topic the newest
messages of a topic are read, and key, partition, size and header are checked too; nothing is committed. Rows count from 0.
Exit code 0: nothing to put right; 1: there are faults or warnings; 2: wrong usage.
"""
CHOICES = ("readings", "events", "hj212")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    parser.add_argument("files", nargs="*", metavar="FILE", help="samples; - is standard input")
    parser.add_argument(
        "--registry", type=Path, metavar="DIR_OR_XLSX", help="check sites, points, MNs, factors and units against it"
    )
    parser.add_argument("--plan", type=Path, metavar="FILE", help="plan (default: the packaged one)")
    parser.add_argument("--kind", choices=CHOICES, help="what the samples hold (default: what they look like)")
    parser.add_argument("--content-type", metavar="TYPE", help="of standard input (default: what it looks like)")
    parser.add_argument("--topic", metavar="T", help="read messages of this Kafka topic instead of files")
    parser.add_argument("--listen", type=int, default=100, metavar="N", help="how many messages (default: 100)")
    parser.add_argument("--wait", type=float, default=0.0, metavar="S", help="seconds to wait for that many (default: 0)")
    config_option(parser, "settings in TOML, for the cluster and the registry")
    json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Check the samples and tell what is to be put right."""
    from connectors.core import ConnectorError
    from offsite.settings import SettingsFaults
    from streams.plan.load import PlanFaults
    from streams.registry import RegistryFaults

    if bool(args.files) == bool(args.topic) or args.listen < 1:
        print("offsite selftest: give files (or -), or --topic; --listen is at least 1", file=sys.stderr)
        return 2
    try:
        test = _test(args)
        if args.topic:
            _listen(test, args)
        for name in args.files:
            _file(test, args, name)
    except (ConnectorError, SettingsFaults, PlanFaults, RegistryFaults) as error:
        return failed(error, "selftest")
    found = test.done()
    if args.json:
        print_json(found)
    else:
        _told(found)
    return int(not found["ok"])


def _test(args: argparse.Namespace) -> Selftest:
    import time

    from offsite.selftest import Selftest
    from offsite.settings import load_settings
    from streams import registry as registries
    from streams.plan import load_plan

    settings = load_settings(args.config, {}) if args.config else None
    registry = args.registry or (settings.registry if settings else None)
    plan = load_plan(args.plan or (settings.plan if settings else None))
    return Selftest(plan, time.time_ns() // 1_000_000, None if registry is None else registries.load(registry))


def _file(test: Selftest, args: argparse.Namespace, name: str) -> None:
    from connectors.files import bodies
    from offsite.selftest import kind_of, type_of

    if name == "-":
        body = sys.stdin.buffer.read()
        kind = args.content_type or type_of(body)
        test.body("-", args.kind or kind_of(kind, body), kind, body)
        return
    first = 0
    for kind, body in bodies(Path(name)):
        first += test.body(name, args.kind or kind_of(kind, body), kind, body, first=first)


def _listen(test: Selftest, args: argparse.Namespace) -> None:
    import time

    from connectors.core import Refused
    from connectors.kafka_tail import newest
    from offsite.settings import load_settings
    from streams.topics import INPUTS

    if args.topic not in INPUTS:
        raise Refused(f"topic {args.topic!r} takes no input; give one of {', '.join(INPUTS)}")
    seen = newest(load_settings(args.config, {}).cluster(), args.topic, args.listen, args.wait, clock=time.monotonic)
    test.counts["messages"] = len(seen)
    for message in seen:
        test.message(message)


def _told(found: dict[str, Any]) -> None:
    for one in found["findings"]:
        row = "" if one["row"] is None else f" row {one['row']}"
        fix = f"; {one['fix']}" if one["fix"] else ""
        print(f"{one['source']}{row}: {one['level']} {one['reason']}: {one['found']}{fix}")
    if found["findings"]:
        print()
    for reason, count in sorted(found["summary"].items()):
        print(f"{count:>8}  {reason}")
    counted = ", ".join(f"{count} {what}" for what, count in sorted(found["counts"].items()) if count)
    print(f"{'clean' if found['ok'] else 'not clean'}: {counted or 'nothing was found'}")
