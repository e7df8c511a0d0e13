"""The command line: a module a verb, found by name; nothing heavy is imported before the verb is known."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

VERBS = {
    "demo": "a simulated city through the whole product, in the browser",
    "run": "the product: gateway, HTTP ingest, judge and desk on one machine",
    "gateway": "past one machine: devices, HTTP and further inputs into Kafka",
    "worker": "past one machine: a judge, in Kafka transactions",
    "agents": "past one machine: what surrounds the judges, run by Faust",
    "desk": "past one machine: cases and console on a database of their own",
    "replay": "recorded input through the whole pipeline at full speed",
    "show": "readings, windows, alerts, leads, cases or rejects of a data directory",
    "registry": "check, infer and show the registry",
    "plan": "show a plan, and let it hold past one machine",
    "device": "list and adopt devices, send them commands",
    "case": "list, show, open and move cases",
    "reference": "data of other departments into the registry: fetch, look first, and what was not taken",
    "views": "what other departments may read, which key reads what, and who read what when",
    "outputs": "targets that alerts, cases and frames are sent to: their books, what was sent, and letting one go on",
    "topics": "make and check the topics of Kafka, and show what is not yet read",
    "dead-letters": "list, show and drive again what was refused",
    "selftest": "check samples, or messages of a topic, before going live: every fault with its remedy",
    "evidence": "export raw frames and what was read from them, and verify such a file offline",
    "archive": "how far the archive reaches; merge, copy and replay it",
    "rewind": "let a consumer group read again, after a store that it fills was restored",
    "db": "bring the desk's database up to date, and say what it is",
    "key": "make, list and revoke API keys",
    "audit": "verify the audit chain",
    "backup": "copy a data directory, running or stopped, into one file",
    "restore": "put a backup into an empty data directory",
    "doctor": "look for what is wrong with a data directory or this machine",
    "check-config": "check the settings, plan and registry without starting anything",
}
"""Verb → what it does; the module is offsite/cli/<verb with _>.py and has `add(parser)` and `run(args) -> int`."""


def parser_of(verb: str | None) -> argparse.ArgumentParser:
    """Build the parser; only the verb's own module is imported."""
    parser = argparse.ArgumentParser(
        prog="offsite",
        description="Non-site environmental monitoring and early warning: readings → windows → alerts → leads → cases → closure.",
        epilog="`offsite VERB --help` shows the options of a verb, with examples. Exit codes: 0 done, 1 failed, 2 wrong usage.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for name, text in VERBS.items():
        own = verbs.add_parser(name, help=text, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == verb:
            importlib.import_module(f"offsite.cli.{name.replace('-', '_')}").add(own)
    return parser


def parse(given: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; exits with code 2 and the usage if it is wrong. NAME=VALUE may stand behind an option too."""
    parser = parser_of(next((a for a in given if a in VERBS), None))
    args, rest = parser.parse_known_args(given)
    if rest and hasattr(args, "values") and not any(word.startswith("-") for word in rest):
        args.values += rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `offsite`; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    args = parse(given)
    if args.version:
        from importlib.metadata import version

        print(version("offsite"))
        return 0
    if args.verb is None:
        parser_of(None).print_help()
        return 2
    module = importlib.import_module(f"offsite.cli.{args.verb.replace('-', '_')}")
    try:
        return int(module.run(args))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
