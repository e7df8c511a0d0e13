"""`offsite reference`: fetch other departments' data into the registry, look at it first, and see what was not taken and why."""

from __future__ import annotations

import argparse
import csv
import sys
from typing import TYPE_CHECKING, Any

from offsite.cli.common import config_option, data_option, failed, json_option, print_json, print_rows
from offsite.cli.person import person_option

if TYPE_CHECKING:
    from offsite.reference import Reference
    from offsite.settings import Settings

EXAMPLES = """examples:
  offsite reference check --config offsite.toml                       # the tables of the settings; nothing is fetched
  offsite reference pull permits --config offsite.toml --dry-run      # fetch, and show what would change
  offsite reference pull --config offsite.toml                        # all sources
  offsite reference show --config offsite.toml                        # sources and their last imports
  offsite reference show --site S0001 --config offsite.toml --json    # facts, where each field comes from, conflicts
  offsite reference faults permits --config offsite.toml --csv        # what was not taken of the last import, and why
"""
SOURCES = ("source", "department", "table", "kind", "precedence", "schedule", "at", "outcome", "rows", "faulty")
FAULTS = ("source", "place", "column", "reason", "detail", "remedy")
DIFF = ("change", "key", "before", "after")
FACTS = ("date", "kind", "number", "authority", "result", "source", "row")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    doing = parser.add_subparsers(dest="doing", metavar="DO", required=True)
    pull = doing.add_parser("pull", help="fetch a source, or all, and apply it")
    pull.add_argument("--dry-run", action="store_true", help="show what would change and apply nothing")
    pull.add_argument("--allow-ended", action="store_true", help="apply although more rows disappeared than max_ended allows")
    person_option(pull)
    check = doing.add_parser("check", help="check the [[reference]] tables; nothing is fetched")
    show = doing.add_parser("show", help="show sources, the rows of one, or what they say of a site")
    show.add_argument("--site", metavar="S", help="facts, origins of fields and conflicts of this site")
    show.add_argument("--conflicts", action="store_true", help="where sources differ, and which one holds")
    faults = doing.add_parser("faults", help="show what was not taken of the last import, with reason and remedy")
    faults.add_argument("--csv", action="store_true", help="print CSV")
    for one in (pull, check, show, faults):
        one.add_argument("source", nargs="?", metavar="SOURCE", help="its name (default: all)")
        config_option(one)
        data_option(one)
        one.set_defaults(data=None)
        json_option(one)


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    from connectors.core import ConnectorError
    from offsite.reference_open import open_reference
    from offsite.settings import SettingsFaults, load_settings

    try:
        settings = load_settings(args.config, {"data": args.data})
        if args.doing == "check":
            return _check(args, settings)
        with open_reference(settings, make=args.doing == "pull") as reference:
            return int({"pull": _pull, "show": _show, "faults": _faults}[args.doing](args, settings, reference))
    except (ConnectorError, SettingsFaults) as error:
        if args.json and args.doing != "faults":
            print_json({"ok": False, "faults": getattr(error, "faults", None) or [str(error)]})
            return 1
        return failed(error, f"reference {args.doing}")


def _check(args: argparse.Namespace, settings: Settings) -> int:
    from offsite.reference_sources import faults
    from offsite.settings import SettingsFaults

    found = faults(settings)
    if found:
        raise SettingsFaults(found)
    if args.json:
        print_json({"ok": True, "sources": len(settings.reference)})
    else:
        print(f"{len(settings.reference)} sources, no faults")
    return 0


def _names(args: argparse.Namespace, reference: Reference) -> list[str]:
    """Return the source that is named; else all that are fetched, those first that make rows."""
    if args.source:
        reference.source(args.source)
        return [args.source]
    found = [source for source, fetcher in reference.configured.values() if fetcher is not None or args.doing != "pull"]
    return [source.name for source in sorted(found, key=lambda one: (not one.create, one.table != "sites"))]


def _pull(args: argparse.Namespace, settings: Settings, reference: Reference) -> int:
    from connectors.core import ConnectorError

    code = 0
    for name in _names(args, reference):
        try:
            books, diff = _pulled(args, settings, reference, name)
        except ConnectorError as error:  # the other sources are another matter
            code = 1
            if args.json:
                rows = getattr(error, "rows", [])
                print_json({"source": name, "outcome": "refused", "objections": [str(error)], "faults": rows})
            else:
                failed(error, f"reference pull {name}")
            continue
        if args.json:
            print_json(books | {"diff": diff} if args.dry_run else books)
            continue
        words = "  ".join(f"{k} {v}" for k, v in books.items() if isinstance(v, int))
        print(f"{name}: {'would be ' if args.dry_run else ''}{books['outcome']}  {words}")
        if args.dry_run:
            print_rows(diff, DIFF, as_json=False)
        if books["faults"]:
            print(f"{len(books['faults'])} rows were not taken: offsite reference faults {name}")
    return code


def _pulled(
    args: argparse.Namespace, settings: Settings, reference: Reference, name: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Fetch and apply one source: by the running product if there is one, else by this process."""
    from offsite import desk_client
    from offsite.data_dir import DESK, actor, desk_of, open_desk, running

    product = None if settings.kafka.bootstrap else running(settings.data)
    if product is not None and not args.dry_run:
        path = f"/api/v1/reference/{name}/pull"
        return desk_client.call(desk_of(product), "POST", path, {"may_end": args.allow_ended}, person=args.person or ""), []
    by, there = args.person or "command line", (settings.data / DESK).exists() and not settings.desk_url
    if there and not args.dry_run:
        with open_desk(settings.data) as desk:
            by = actor(desk, args.person)
    report = reference.pull(name, by, dry=args.dry_run, may_end=args.allow_ended)
    if there and not args.dry_run:
        with open_desk(settings.data) as desk:
            desk.record(by, "reference.pull", name, {"sha256": report.done.digest, **report.done.counts})
    return report.books(), [dict(row) for row in report.diff]


def _show(args: argparse.Namespace, settings: Settings, reference: Reference) -> int:
    from cases import reference_store
    from offsite.reference_card import card, conflict, provenance
    from streams.identity import rfc3339

    del settings
    if args.site:
        found = card(reference, args.site)
        if args.json:
            print_json(found)
        else:
            print_rows([dict.fromkeys(FACTS) | fact for fact in found["facts"]], FACTS, as_json=False)
            print_rows(found["fields"], ("table", "key", "field", "value", "source", "fetched", "row"), as_json=False)
            print_rows(found["left_out"], ("source", "row", "reason"), as_json=False)
            print_rows(found["conflicts"], ("table", "key", "field", "value", "source", "others"), as_json=False)
        return 0
    if args.conflicts:
        rows = [
            conflict(one) for one in reference.fitted().composed.conflicts if args.source in (None, one.source, *dict(one.others))
        ]
        print_rows(rows, ("table", "key", "field", "value", "source", "others"), as_json=args.json)
        return 0
    with reference.store.read() as tx:
        if args.source:
            kept = reference_store.kept(tx, source=args.source)
            more = ("table", "state", "since", "until")
            rows = [{n: getattr(k, n) for n in more} | {"cells": dict(k.cells)} | provenance(reference, k) for k in kept]
            print_rows(rows, (*more, "cells", "row", "fetched"), as_json=args.json)
            return 0
        rows = []
        for name in _names(args, reference):
            source, last = reference.configured[name][0], reference_store.last(tx, name)
            counts = last["counts"] if last else {}
            facts = {"source": name, "at": rfc3339(last["at"]) if last else None, "outcome": last["outcome"] if last else None}
            facts |= {n: getattr(source, n) for n in ("department", "table", "kind", "precedence", "schedule")}
            rows.append(facts | {"rows": counts.get("rows"), "faulty": counts.get("faulty")} | {"counts": counts})
    print_rows(rows, SOURCES, as_json=args.json)
    return 0


def _faults(args: argparse.Namespace, settings: Settings, reference: Reference) -> int:
    from cases import reference_store
    from offsite.reference import shown

    del settings
    rows: list[dict[str, Any]] = []
    with reference.store.read() as tx:
        for name in _names(args, reference):
            last = reference_store.last(tx, name)
            found = reference_store.faults_of(tx, last["id"]) if last else []
            rows += [{"source": name} | shown(fault) for fault in found]
    if args.csv:
        writer = csv.DictWriter(sys.stdout, FAULTS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        print_rows(rows, FAULTS, as_json=args.json)
    return 0
