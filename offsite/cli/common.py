"""What verbs share: options, output, and how an error is told."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from connectors.core import Refused


def data_option(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add --data, the directory that holds everything."""
    parser.add_argument(
        "--data",
        type=Path,
        required=required,
        default=None if required else Path("offsite-data"),
        metavar="DIR",
        help="data directory (default: offsite-data)",
    )


def config_option(parser: argparse.ArgumentParser, text: str = "settings in TOML") -> None:
    """Add --config, the settings; `text` is the help."""
    parser.add_argument("--config", type=Path, metavar="FILE", help=text)


def json_option(parser: argparse.ArgumentParser) -> None:
    """Add --json for programs."""
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def log_option(parser: argparse.ArgumentParser) -> None:
    """Add --log-format."""
    parser.add_argument(
        "--log-format", choices=("text", "json"), help="form of the lines on stderr (default: OFFSITE_LOG_FORMAT, or text)"
    )


def log_format(args: argparse.Namespace) -> None:
    """Let --log-format hold for this process and those that it starts."""
    if args.log_format is not None:
        os.environ["OFFSITE_LOG_FORMAT"] = args.log_format


def existing(data: Path) -> Path:
    """Return `data` if it is a data directory; raises Refused that says how to make one."""
    if not (data / "state.sqlite").exists() and not (data / "desk.sqlite").exists():
        raise Refused(
            f"{data} is no data directory; name one with --data, or make it with `offsite run` or `offsite replay --data`"
        )
    return data


def print_json(value: Any) -> None:
    """Print one JSON object on a line."""
    sys.stdout.buffer.write(orjson.dumps(value, default=str) + b"\n")
    sys.stdout.flush()


def print_table(rows: Iterable[Iterable[object]], head: Iterable[str]) -> None:
    """Print rows in aligned columns."""
    table = [[str(c) for c in head], *([("" if c is None else str(c)) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_rows(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print rows for programs, one JSON object a line, or their `columns` as a table for people."""
    if as_json:
        for row in rows:
            print_json(row)
    else:
        print_table(([row[name] for name in columns] for row in rows), columns)


def failed(error: Exception, verb: str) -> int:
    """Tell an error in one line; returns the exit code."""
    for line in getattr(error, "faults", None) or [str(error)]:
        print(f"offsite {verb}: {line}", file=sys.stderr)
    return 1
