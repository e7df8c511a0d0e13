"""Logs of a process: one line a record, as JSON or as text, with the trace it belongs to; nothing unbounded, nothing in floods.

Records of any logger enter (uvicorn's too); lines leave on one stream. JSON: `ts` (RFC 3339, UTC), `level`, `logger`, `msg`, `process`,
`trace` (32 hex digits, W3C Trace Context), `error` (the end of a traceback), and the `fields` a call has given with
`extra={"fields": {...}}`. A stream that cannot be written (a full disk) ends nothing.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from connectors.bucket import Bucket
from connectors.trace import trace_id

Format = Literal["json", "text"]
FORMATS: tuple[Format, ...] = ("json", "text")
VARIABLE = "OFFSITE_LOG_FORMAT"
"""Environment variable by which a process tells the ones it starts."""
MESSAGE, FIELD, ERROR = 2_000, 500, 4_000
"""Characters of a message, of a field, and of the end of a traceback that are kept."""
RATE, BURST, KEYS = 10.0, 50.0, 256
"""Lines a second of one place in the code, how many at once, and how many places are told apart."""


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": _cut(record.getMessage(), MESSAGE),
            "process": self._process,
        }
        if trace := trace_id():
            line["trace"] = trace
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)[-ERROR:]
        return json.dumps(line | {k: v for k, v in _fields(record).items() if k not in line}, ensure_ascii=False, default=str)


class TextLines(logging.Formatter):
    """One line for people: time, level, message, fields; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created, UTC).astimezone().isoformat(timespec="milliseconds")
        told = [at, record.levelname, f"{record.name}:", _cut(record.getMessage(), MESSAGE).replace("\n", " ")]
        told += [f"{name}={value}" for name, value in _fields(record).items()]
        if trace := trace_id():
            told.append(f"trace={trace}")
        error = "\n" + self.formatException(record.exc_info)[-ERROR:] if record.exc_info else ""
        return " ".join(told) + error


class Flood(logging.Filter):
    """Let one place in the code say only so much: a device that sends rubbish must not fill the disk with lines about it.

    The next line that passes says in `suppressed` how many did not. `clock` gives monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._buckets: dict[tuple[str, int], Bucket] = {}
        self._held: dict[tuple[str, int], int] = {}
        self.dropped = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the line passes."""
        place = (record.pathname, record.lineno)
        if place not in self._buckets and len(self._buckets) >= KEYS:
            place = ("", 0)
        bucket = self._buckets.setdefault(place, Bucket(RATE, BURST))
        if bucket.take(1.0, self._clock()) > 0.0:
            bucket.give_back(1.0)
            self._held[place] = self._held.get(place, 0) + 1
            self.dropped += 1
            return False
        if held := self._held.pop(place, 0):
            record.__dict__["fields"] = {**record.__dict__.get("fields", {}), "suppressed": held}
        return True


def form_of(environment: Mapping[str, str]) -> Format:
    """Return the form that the environment names; text unless it says json."""
    return "json" if environment.get(VARIABLE) == "json" else "text"


def setup(form: Format, process: str, *, stream: TextIO | None = None, level: int = logging.INFO) -> Flood:
    """Send every logger's lines to `stream` (default stderr) in this form; return the filter, which counts what it dropped.

    Call it once, first thing in a process. uvicorn must be given `log_config=None`, or it makes handlers of its own.
    """
    flood = Flood()
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(process) if form == "json" else TextLines())
    handler.addFilter(flood)
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    return flood


QUIET = ("uvicorn", "faust", "aiokafka", "kafka", "mode", "alembic", "asyncio")
"""Libraries that tell of every step they take: their warnings are enough."""


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    given: Mapping[str, Any] = record.__dict__.get("fields", {})
    return {name: _cut(value, FIELD) if isinstance(value, str) else value for name, value in given.items()}


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"
