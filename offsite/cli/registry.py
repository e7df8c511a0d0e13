"""`offsite registry`: check the registry's files, draft one from recorded traffic, show the one in force, publish one to Kafka."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from offsite.cli.common import config_option, data_option, existing, failed, json_option, print_json, print_table

if TYPE_CHECKING:
    from streams.registry_model import Registry

EXAMPLES = """examples:
  offsite registry check city/                         # every fault at once, with file and line
  offsite registry infer day/*.h212.xz --out city/     # a draft: then fill in names, districts and limits
  offsite registry show --data offsite-data
  offsite registry show city.xlsx --json
  offsite registry publish --registry city/ --config offsite.toml   # distributed runtime: it holds everywhere, or nowhere
"""
TABLES = ("sites", "points", "factors", "limits", "equipment", "people", "districts")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    doing = parser.add_subparsers(dest="doing", metavar="DO", required=True)
    check = doing.add_parser("check", help="check the files and list every fault")
    check.add_argument("path", type=Path, metavar="DIR_OR_XLSX")
    json_option(check)
    infer = doing.add_parser("infer", help="draft a registry from recorded traffic")
    infer.add_argument("files", nargs="+", type=Path, metavar="FILE")
    infer.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the CSV files; it must not hold a registry yet"
    )
    json_option(infer)
    show = doing.add_parser("show", help="show the registry in force, or the one at PATH")
    show.add_argument(
        "path", nargs="?", type=Path, metavar="PATH", help="folder, .xlsx or registry.json (default: that of --data)"
    )
    data_option(show)
    json_option(show)
    publish = doing.add_parser("publish", help="let a registry hold in the distributed runtime")
    publish.add_argument("--registry", type=Path, required=True, metavar="DIR_OR_XLSX", help="the registry's files")
    config_option(publish, "settings in TOML, with the cluster under [kafka]")
    json_option(publish)


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    from connectors.core import ConnectorError
    from offsite.settings import SettingsFaults
    from streams.registry_tables import RegistryFaults

    try:
        return int({"check": _check, "infer": _infer, "show": _show, "publish": _publish}[args.doing](args))
    except RegistryFaults as error:
        if args.json:
            print_json({"ok": False, "faults": error.faults})
            return 1
        return failed(error, f"registry {args.doing}")
    except (ConnectorError, OSError, SettingsFaults) as error:
        return failed(error, f"registry {args.doing}")


def _check(args: argparse.Namespace) -> int:
    from streams.registry import load

    _counts(load(args.path), as_json=args.json)
    return 0


def _infer(args: argparse.Namespace) -> int:
    from connectors.core import Refused
    from offsite.draft import draft
    from streams.registry import save

    if (args.out / "sites.csv").exists():
        raise Refused(f"{args.out} holds a registry already; a draft does not overwrite it: name another folder with --out")
    made = draft(args.files)
    save(made, args.out)
    _counts(made, as_json=args.json)
    return 0


def _counts(registry: Registry, *, as_json: bool) -> None:
    counts = {name: len(getattr(registry, name)) for name in TABLES}
    if as_json:
        print_json({"ok": True} | counts)
    else:
        print("  ".join(f"{name} {n}" for name, n in counts.items()))


def _show(args: argparse.Namespace) -> int:
    from streams.registry import to_json

    registry = _found(args)
    if args.json:
        print_json(json.loads(to_json(registry)))
        return 0
    factors, limits = (Counter((row.site, row.point) for row in table) for table in (registry.factors, registry.limits))
    rows = [
        (site.site, site.name, site.district, p.point, p.medium, p.mn, factors[p.site, p.point], limits[p.site, p.point])
        for p in registry.points
        if (site := registry.site(p.site)) is not None
    ]
    print_table(rows, ("site", "name", "district", "point", "medium", "mn", "factors", "limits"))
    return 0


def _publish(args: argparse.Namespace) -> int:
    from offsite import kafka_registry
    from offsite.reference_open import open_reference
    from offsite.settings import load_settings
    from streams.registry import load, registry_hash

    settings, registry = load_settings(args.config, {}), load(args.registry)
    cluster = settings.cluster()
    if settings.reference:  # the files are the base, other departments' data is laid over them
        with open_reference(settings) as reference:
            registry = reference.over(registry)
    partitions = kafka_registry.partitions_of(cluster)
    before = kafka_registry.current(cluster)
    changed = before is None or registry_hash(before) != registry_hash(registry)
    if changed:
        kafka_registry.publish(cluster, registry, partitions)
    counts = {name: len(getattr(registry, name)) for name in TABLES}
    if args.json:
        print_json({"ok": True, "changed": changed, "partitions": partitions} | counts)
    else:
        done = f"published to {partitions} partitions" if changed else "in force already, nothing was published"
        print(f"{done}: {'  '.join(f'{name} {n}' for name, n in counts.items())}")
    return 0


def _found(args: argparse.Namespace) -> Registry:
    from offsite.registered import load_current
    from streams.registry import from_json, load

    if args.path is None:
        return load_current(existing(args.data))
    return from_json(args.path.read_text(encoding="utf-8")) if args.path.suffix == ".json" else load(args.path)
