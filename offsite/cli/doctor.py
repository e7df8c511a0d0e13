"""`offsite doctor`: what is wrong with a data directory or this machine, and what to do about it; or the books."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from offsite.cli.common import config_option, existing, failed, json_option, print_json, print_table

EXAMPLES = """examples:
  offsite doctor --data offsite-data
  offsite doctor --books --data offsite-data --json
  offsite doctor --config offsite.toml
Looks at disk, plan, ports, files, schema, positions of log and judge, registry, books and audit. Changes nothing; the product may run.
Exit code 1 if anything is broken; warnings do not change it.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    parser.add_argument("--data", type=Path, metavar="DIR", help="data directory (default: that of the settings, offsite-data)")
    config_option(parser, "settings in TOML: data directory, plan and ports")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="plan to load (default: that of the settings)")
    parser.add_argument("--books", action="store_true", help="print the books instead, from the stores")
    json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Examine, or print the books."""
    from connectors.core import ConnectorError
    from offsite.settings import SettingsFaults, load_settings

    try:
        settings = load_settings(args.config, {"data": args.data, "plan": args.plan})
        if args.data is not None:
            existing(args.data)
        if args.books:
            return _books(existing(settings.data), as_json=args.json)
    except (SettingsFaults, ConnectorError) as error:
        return failed(error, "doctor")
    from offsite.checkup import Patient, examine
    from offsite.data_dir import now, running
    from offsite.self_check import conditions

    patient = Patient(settings, running(settings.data), now())
    findings = [*examine(patient), *conditions(patient)]
    if args.json:
        for finding in findings:
            print_json(asdict(finding))
    else:
        print_table(
            ([f.grade, f.check, f.detail + (f" → {f.remedy}" if f.remedy else "")] for f in findings), ("", "check", "finding")
        )
    return int(any(finding.grade == "broken" for finding in findings))


def _books(data: Path, *, as_json: bool) -> int:
    from offsite.books import of_stores
    from offsite.data_dir import open_desk, open_state

    with open_state(data) as store, open_desk(data) as desk:
        found = of_stores(store, desk)
    if as_json:
        print_json(found)
    else:
        print_table(((name, _line(value)) for name, value in found.items()), ("books", ""))
    return 0


def _line(value: object) -> object:
    return "  ".join(f"{name} {n}" for name, n in value.items()) if isinstance(value, dict) else value
