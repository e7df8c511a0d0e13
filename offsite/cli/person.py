"""What verbs share in which a person acts: --as PERSON, and NAME=VALUE arguments."""

from __future__ import annotations

import argparse
from collections.abc import Iterable


def person_option(parser: argparse.ArgumentParser, *, required: bool = False, default: str = "the first administrator") -> None:
    """Add --as, the person who acts and stands in the audit."""
    text = "who acts, as the audit will say" + ("" if required else f" (default: {default})")
    parser.add_argument("--as", dest="person", required=required, metavar="PERSON", help=text)


def values_of(texts: Iterable[str]) -> dict[str, str]:
    """Read NAME=VALUE arguments. Raises Refused for one that has no name or no `=`."""
    from connectors.core import Refused

    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise Refused(f"{text!r} is not NAME=VALUE; quote a value that contains blanks")
        found[name] = value
    return found
