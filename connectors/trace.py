"""Trace ids: one id follows what came in, from its receipt to the log, to Kafka and to every line that tells of it.

Enters: a `traceparent` that a sender may have given (W3C Trace Context, level 1). Leaves: the id for log lines, and the header
for messages and answers. The id lives in a context variable: a task that is started while it holds inherits it.
"""

from __future__ import annotations

import os
import re
from contextvars import ContextVar

HEADER = "traceparent"
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_current: ContextVar[str] = ContextVar("traceparent", default="")


def begin(given: str = "") -> str:
    """Begin a span in the sender's trace, or a trace of our own if it gave none that holds; return its `traceparent`.

    >>> begin("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")[:36]
    '00-4bf92f3577b34da6a3ce929d0e0e4736-'
    """
    chance = os.urandom(24).hex()
    trace, flags = _of(given) or (chance[16:], "01")
    made = f"00-{trace}-{chance[:16]}-{flags}"
    _current.set(made)
    return made


def follow(given: str) -> None:
    """Let what is done from here on belong to the trace of a message that was read; an empty or bad one ends the trace."""
    _current.set(given if _of(given) else "")


def _of(given: str) -> tuple[str, str] | None:
    """Return (trace id, flags), or None where the standard says that the header is to be ignored (§3.2.2)."""
    found = _FORM.fullmatch(given.strip()) if len(given) <= 512 else None
    if found is None:
        return None
    version, trace, parent, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace.strip("0") or not parent.strip("0"):
        return None
    return trace, flags


def current() -> str:
    """Return the `traceparent` that holds here, empty without one."""
    return _current.get()


def trace_id() -> str:
    """Return the 32 hex digits of the trace that holds here, empty without one."""
    return _current.get()[3:35]


def headers() -> list[tuple[str, bytes]]:
    """Return the Kafka message header of the trace that holds here, none without one."""
    held = _current.get()
    return [(HEADER, held.encode())] if held else []
