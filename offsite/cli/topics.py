"""`offsite topics`: make the topics of the distributed runtime, check them, and show what is not yet read."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from offsite.cli.common import config_option, failed, json_option, print_json, print_rows

if TYPE_CHECKING:
    from connectors.kafka_admin import Admin, Lag, TopicState
    from offsite.topic_check import Finding, Wanted

EXAMPLES = """examples:
  offsite topics create --config offsite.toml --partitions 24
  offsite topics check --config offsite.toml
  offsite topics lag --config offsite.toml --group agents-archive --json
  offsite topics lag --config offsite.toml --extend
`create` makes what is missing and sets what differs; it deletes nothing and never changes a number of partitions. `check` names
each difference with its remedy. `lag` shows what each group has not yet read, and the age of the oldest unread record; with
--extend it keeps topics longer while somebody is behind by more than half of the retention (run it daily).
Exit code 1 if something is broken, refused or lost; warnings do not change it.
"""
LAG = ("group", "topic", "partition", "end", "committed", "lag", "age_s", "lost")
EXTENDED = ("topic", "kept_days")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = EXAMPLES
    doing = parser.add_subparsers(dest="doing", metavar="DO", required=True)
    create = doing.add_parser("create", help="make what is missing, set what differs")
    check = doing.add_parser("check", help="compare all topics with what they should be")
    lag = doing.add_parser("lag", help="what each group has not yet read")
    for one in (create, check):
        one.add_argument("--partitions", type=int, metavar="N", help="of each topic; fixed for ever (default: as it is, 12 anew)")
        one.add_argument(
            "--replication", type=int, metavar="N", help="copies of each record (default: 3, or the brokers there are)"
        )
        one.add_argument("--min-isr", type=int, metavar="N", help="copies that make a record durable (default: 2 of 3)")
        one.add_argument("--producer-time", action="store_true", help="producers stamp log time: for recorded input only")
    lag.add_argument("--group", action="append", metavar="G", help="a group without kafka.prefix (repeat; default: all)")
    lag.add_argument("--extend", action="store_true", help="raise retention.ms of topics that somebody is far behind in")
    for one in (create, check, lag):
        config_option(one, "settings in TOML; or OFFSITE_KAFKA_BOOTSTRAP and the like")
        json_option(one)


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    from connectors.core import ConnectorError
    from connectors.kafka_admin import Admin
    from offsite.settings import SettingsFaults, load_settings

    try:
        with Admin(load_settings(args.config, {}).cluster()) as admin:
            return int({"create": _create, "check": _check, "lag": _lag}[args.doing](admin, args))
    except (SettingsFaults, ConnectorError) as error:
        return failed(error, f"topics {args.doing}")


def _wanted(admin: Admin, args: argparse.Namespace, found: Mapping[str, TopicState]) -> Wanted:
    from connectors.core import Refused
    from offsite.topic_check import PARTITIONS, Wanted, common_count, usual_replication

    replication = args.replication or usual_replication(found, admin.brokers)
    min_isr = args.min_isr or max(1, replication - 1)
    partitions = args.partitions or common_count(found) or PARTITIONS
    if min(partitions, replication, min_isr) < 1 or min_isr > replication:
        raise Refused("--partitions, --replication and --min-isr are at least 1, and --min-isr is at most --replication")
    return Wanted(partitions, replication, min_isr, args.producer_time)


def _create(admin: Admin, args: argparse.Namespace) -> int:
    from offsite.topic_check import differences, miscounted
    from streams.topics import CATALOGUE

    found = admin.topics(CATALOGUE)
    wanted = _wanted(admin, args, found)
    if wrong := miscounted(found, wanted):
        return _tell(wrong, as_json=args.json)
    done = []
    for name, topic in CATALOGUE.items():
        if name not in found:
            admin.create(name, wanted.count(topic), wanted.replication, wanted.config(topic))
            done.append({"topic": admin.cluster.named(name), "done": "created", "partitions": wanted.count(topic)})
    left = []
    for finding in differences(found, wanted):
        if finding.settable is not None:
            admin.configure(finding.topic, finding.settable)
            done.append(
                {"topic": admin.cluster.named(finding.topic), "done": f"{finding.found} → {finding.wanted}", "partitions": ""}
            )
        elif finding.topic in found:
            left.append(finding)
    if done or args.json:
        print_rows(done, ("topic", "partitions", "done"), as_json=args.json)
    elif not left:
        print(f"nothing to do: {len(found)} topics are as they should be")
    return _tell(left, as_json=args.json) if left else 0


def _check(admin: Admin, args: argparse.Namespace) -> int:
    from connectors.kafka_admin import lag
    from offsite.data_dir import now
    from offsite.topic_check import at_risk, differences
    from streams.topics import CATALOGUE

    found = admin.topics(CATALOGUE)
    rows = [row for group in admin.groups() for row in lag(admin, group, found)]
    findings = [*differences(found, _wanted(admin, args, found)), *at_risk(rows, found, now())]
    return _tell(findings, as_json=args.json, well=f"{len(found)} topics are as they should be")


def _lag(admin: Admin, args: argparse.Namespace) -> int:
    from connectors.kafka_admin import lag
    from offsite.data_dir import now
    from offsite.topic_check import BROKEN, at_risk, extensions
    from streams.topics import CATALOGUE, DAY

    found, at = admin.topics(CATALOGUE), now()
    rows = [row for group in args.group or admin.groups() for row in lag(admin, group, found)]
    print_rows((_row(row, at) for row in rows), LAG, as_json=args.json)
    findings = at_risk(rows, found, at)
    if args.extend:
        for topic, retention in extensions(findings, found).items():
            admin.configure(topic, {"retention.ms": str(retention)})
            print_rows([{"topic": admin.cluster.named(topic), "kept_days": retention // DAY}], EXTENDED, as_json=args.json)
    elif not args.json and findings:
        _tell(findings, as_json=False)
    return int(any(finding.grade == BROKEN for finding in findings))


def _row(row: Lag, at: int) -> dict[str, object]:
    return asdict(row) | {"age_s": None if row.oldest is None else max(0, at - row.oldest) // 1000}


def _tell(findings: Sequence[Finding], *, as_json: bool, well: str = "") -> int:
    """Print findings; returns the exit code."""
    from offsite.topic_check import BROKEN

    if as_json:
        for one in findings:
            print_json({name: value for name, value in asdict(one).items() if name != "settable"})
    elif findings:
        same: dict[tuple[str, ...], list[str]] = {}
        for f in findings:
            same.setdefault((f.grade, f.check, f"{f.found}, not {f.wanted}", f.remedy), []).append(f.topic)
        for (grade, check, what, remedy), topics in same.items():
            print(f"{grade}: {check} of {', '.join(topics)}: {what} → {remedy}")
    elif well:
        print(well)
    return int(any(finding.grade == BROKEN for finding in findings))
