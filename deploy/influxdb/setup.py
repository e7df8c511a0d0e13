"""Make a new InfluxDB 2 ready for Offsite: its organisation, its operator and the operator's token; a server in use is left as it is.

    python deploy/influxdb/setup.py http://127.0.0.1:8086 --org offsite --bucket offsite-setup \
        --token-file /run/secrets/influx_token --password-file /run/secrets/influx_password

Needs Python alone. Exit code 0 if the server is ready, 1 with the reason if it cannot be made so. The token and the password are read
from files, never from the command line. Source: InfluxDB API v2, `GET` and `POST /api/v2/setup`.
"""

# ruff: noqa: INP001 — a script beside what it serves, no package

from __future__ import annotations

import argparse
import json
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

TIMEOUT_S = 30


def main() -> int:
    """Read the command line and set the server up; returns the exit code."""
    parser = argparse.ArgumentParser(description="Make a new InfluxDB 2 ready; a server in use is left as it is.")
    parser.add_argument("url", help="http://HOST:8086 or https://HOST:8086")
    parser.add_argument("--org", default="offsite")
    parser.add_argument("--bucket", default="offsite-setup", help="the bucket that a set-up must name; Offsite makes its own")
    parser.add_argument("--user", default="operator")
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--ca", help="PEM file of who signed the server's certificate")
    args = parser.parse_args()
    try:
        told = setup(args)
    except (OSError, ValueError) as error:
        print(f"{args.url}: {error}; is the server up, and are the two files there?", file=sys.stderr)  # noqa: T201
        return 1
    print(told)  # noqa: T201
    return 0


def setup(args: argparse.Namespace) -> str:
    """Set the server up unless it is; returns what was done. Raises OSError or ValueError."""
    context = ssl.create_default_context(cafile=args.ca) if args.url.startswith("https:") else None
    address = args.url.rstrip("/") + "/api/v2/setup"
    if not ask(urllib.request.Request(address), context)["allowed"]:  # noqa: S310
        return f"{args.url} is set up already; nothing was changed"
    names = {"org": args.org, "bucket": args.bucket, "username": args.user}
    secrets = {"token": word(args.token_file), "password": word(args.password_file)}
    headers = {"Content-Type": "application/json"}
    ask(urllib.request.Request(address, json.dumps(names | secrets).encode(), headers), context)  # noqa: S310
    return f"{args.url} is set up: organisation {args.org}, operator {args.user}"


def word(file: Path) -> str:
    """Return the secret in a file, without the line's end. Raises OSError, and ValueError if it is empty."""
    found = file.read_text(encoding="utf-8").strip()
    if not found:
        raise ValueError(f"{file} is empty")
    return found


def ask(request: urllib.request.Request, context: ssl.SSLContext | None) -> Any:
    """Ask the server; returns its JSON. Raises OSError with the server's own words."""
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            raise OSError(f"status {error.code}: {error.read(500).decode(errors='replace')}") from error


if __name__ == "__main__":
    sys.exit(main())
