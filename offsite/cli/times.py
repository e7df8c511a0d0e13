"""Times on the command line: RFC 3339 with an offset, or a day of China Standard Time."""

from __future__ import annotations

import argparse


def moment(text: str) -> int:
    """Return ms UTC of an RFC 3339 time, or of the first instant of a day.

    >>> moment("2026-11-24"), moment("2026-11-24T08:00:00+08:00")
    (1795449600000, 1795478400000)
    """
    from cases.clocks import parse_time

    try:
        return parse_time(text if "T" in text else f"{text}T00:00:00+08:00")
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write 2026-11-24T08:00:00+08:00, or a day as 2026-11-24"
        ) from error
