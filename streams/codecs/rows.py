"""One row of a Reading at a time: the exact, slow path shared by JSON, NDJSON and faulty CSV (design §3, Reading).

Enters: a mapping of fields, values as JSON types. Leaves: a reading added to `Rows`, or a `Reject` whose reason is a word of
REASONS. Nothing raises and nothing vanishes (promise 4).
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import orjson

from streams.model import PERIODS, UNKNOWN_FLAG, Decoded, Readings, Reject, SeriesKey, SeriesTable

REASONS = (
    "missing_field",
    "bad_time",
    "bad_number",
    "not_finite",
    "bad_period",
    "bad_name",
    "bad_json",
    "bad_csv",
    "bad_arrow",
    "not_utf8",
    "wrong_type",
    "wrong_key",
    "future_time",
    "bad_content_type",
)
"""Why a row of the Reading contract is refused. An unknown flag is none of them: it is kept as `?`, not usable (promise 5)."""

FLAGS = {"": 0, **{letter: ord(letter) for letter in "NFMSDCTB"}}
"""Canonical data flag of a letter (HJ 212-2017 table 8); anything else is UNKNOWN_FLAG."""

FIELDS = ("site", "point", "factor", "time", "period", "stat", "value", "flag", "unit", "revision")
NAMES = ("site", "point", "factor")
NAME_LENGTH = 128
"""Characters of a site, point or factor at most."""
CST = timezone(timedelta(hours=8))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:[0-5]\d)?\Z", re.ASCII)
_NAME = re.compile(rf"[^\x00-\x1f\x7f/\ud800-\udfff]{{1,{NAME_LENGTH}}}\Z")
_STAT = re.compile(r"[A-Za-z0-9_]{1,32}\Z")


class Fault(ValueError):
    """A row that cannot become a reading: the reason, and what exactly is wrong and how to put it right."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the message around some rows says of them; both are unknown where there is no message.

    `key`: the site whose key the message carries; rows of another are `wrong_key`. `ahead`: how far, in ms, event time may lie
    ahead of log time; rows beyond it are `future_time` (design §3, Log time and ticks).
    """

    key: str | None = None
    ahead: int | None = None

    def check_site(self, text: Any) -> str:
        """Return a site that may stand in this message; raises Fault."""
        site = check_name("site", text)
        if self.key is not None and site != self.key:
            raise Fault("wrong_key", f"site {site!r} came under the key {self.key[:140]!r}; the message key must be the site id")
        return site

    def beyond(self) -> Fault:
        """Return the fault of a time too far ahead."""
        assert self.ahead is not None
        return Fault("future_time", f"time lies more than {self.ahead / 60_000:g} min ahead of log time; set the sender's clock")


NO_ENVELOPE = Envelope()


def parse_time(text: str) -> int:
    """Read RFC 3339 with an offset as ms UTC, cut to the millisecond; raises Fault `bad_time`.

    >>> parse_time("2026-11-23T10:00:00+08:00")
    1795399200000
    """
    found = _TIME.match(text)
    if not found:
        raise Fault("bad_time", f"time {text[:40]!r} is not RFC 3339; write 2026-11-23T10:00:00+08:00")
    if not found[2]:
        raise Fault("bad_time", f"time {text!r} has no offset; add +08:00 (or Z for UTC)")
    try:
        return (datetime.fromisoformat(text.upper()) - EPOCH) // MILLISECOND
    except (ValueError, OverflowError) as error:
        raise Fault("bad_time", f"time {text!r} does not exist ({error})") from error


def format_time(time_ms: int) -> str:
    """Write ms UTC as RFC 3339 in China Standard Time, with milliseconds where there are any."""
    moment = (EPOCH + timedelta(milliseconds=time_ms)).astimezone(CST)
    return moment.isoformat(timespec="milliseconds" if time_ms % 1000 else "seconds")


def check_time(text: Any) -> int:
    """Return the ms UTC of an RFC 3339 text; raises Fault."""
    if text is None or text == "":
        raise Fault("missing_field", "time is missing")
    if not isinstance(text, str):
        raise Fault("bad_time", f"time must be text, not {type(text).__name__}; write 2026-11-23T10:00:00+08:00")
    return parse_time(text)


def check_name(field: str, text: Any) -> str:
    """Return a site, point or factor that can be part of a key; raises Fault."""
    if text is None or text == "":
        raise Fault("missing_field", f"{field} is missing")
    if not isinstance(text, str):
        raise Fault("wrong_type", f"{field} must be text, not {type(text).__name__}")
    if not _NAME.match(text):
        raise Fault("bad_name", f"{field} {text[:40]!r} must be 1–128 characters, none of them `/`, a control or a surrogate")
    return text


def check_period(text: Any) -> str:
    """Return one of PERIODS; raises Fault."""
    if text is None or text == "":
        raise Fault("missing_field", "period is missing")
    if not isinstance(text, str):
        raise Fault("wrong_type", f"period must be text, not {type(text).__name__}")
    if text not in PERIODS:
        raise Fault("bad_period", f"period {text[:40]!r} is not one of {', '.join(PERIODS)}")
    return text


def check_stat(text: Any, period: str) -> str:
    """Return the statistic in lower case; one that is not given is `rtd` for real-time and `avg` for all else; raises Fault."""
    if text is None or text == "":
        return "rtd" if period == "realtime" else "avg"
    if not isinstance(text, str):
        raise Fault("wrong_type", f"stat must be text, not {type(text).__name__}")
    if not _STAT.match(text):
        raise Fault("bad_name", f"stat {text[:40]!r} must be 1–32 letters, digits or _ (avg, zs_avg …)")
    return text.lower()


def check_value(value: Any) -> float:
    """Return a finite float; raises Fault. A bool is not a number."""
    if value is None:
        raise Fault("missing_field", "value is missing")
    if isinstance(value, str):
        raise Fault("bad_number", f"value {value[:40]!r} is not a number")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Fault("wrong_type", f"value must be a number, not {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Fault("not_finite", "value must be finite; leave the reading out if there is no value")
    return number


def check_flag(flag: Any) -> int:
    """Return the canonical flag byte; raises Fault only for what is not text."""
    if flag is None:
        return 0
    if not isinstance(flag, str):
        raise Fault("wrong_type", f"flag must be text, not {type(flag).__name__}")
    return FLAGS.get(flag.strip(), UNKNOWN_FLAG)


class Rows:
    """Collects readings and rejects of one body; `record` ≥ 0 is the log record they come from, else rows carry their number."""

    def __init__(self, table: SeriesTable, arrived: int, record: int = -1, envelope: Envelope = NO_ENVELOPE) -> None:
        self._table = table
        self._arrived = arrived
        self._record = record
        self._envelope = envelope
        self._series, self._time = array("i"), array("q")
        self._value, self._flag, self._frame = array("d"), array("B"), array("i")
        self._ids: dict[tuple[Any, ...], int] = {}
        self._times: dict[str, int] = {}
        self.rejects: list[Reject] = []

    def add(self, number: int, row: Any, raw: bytes | None = None) -> None:
        """Take one row, a mapping of fields, or refuse it; `raw` is its bytes as received (None: written again as JSON)."""
        try:
            self._take(number, row)
        except Fault as fault:
            self.refuse(fault.reason, str(fault), as_bytes(row) if raw is None else raw, number)

    def refuse(self, reason: str, detail: str, raw: bytes, number: int, rows: int = 1) -> None:
        """Put a row (or, with `rows` 0, a whole body) aside."""
        self.rejects.append(refusal(Fault(reason, detail), raw, number, self._record, rows))

    def done(self) -> Decoded:
        """Return everything collected."""
        n = len(self._series)
        readings = Readings.of(
            np.frombuffer(self._series, np.int32),
            np.frombuffer(self._time, np.int64),
            np.frombuffer(self._value, np.float64),
            np.frombuffer(self._flag, np.uint8),
            np.full(n, self._arrived, np.int64),
            np.frombuffer(self._frame, np.int32),
        )
        return Decoded(readings, [], self.rejects)

    def _take(self, number: int, row: Any) -> None:
        if not isinstance(row, Mapping):
            raise Fault("wrong_type", f"a reading must be an object, not {type(row).__name__}")
        names = (row.get("site"), row.get("point"), row.get("factor"), row.get("period"), row.get("stat"))
        try:
            series = self._ids.get(names)
        except TypeError:  # a list or an object where a name belongs: the checks below say which
            series = None
        key = None if series is not None else check_key(*names, self._envelope)
        time = self._moment(row.get("time"))
        if self._envelope.ahead is not None and time > self._arrived + self._envelope.ahead:
            raise self._envelope.beyond()
        value, flag = check_value(row.get("value")), check_flag(row.get("flag"))
        if key is not None:
            series = self._ids[names] = self._table.id(key)
        assert series is not None
        self._series.append(series)
        self._time.append(time)
        self._value.append(value)
        self._flag.append(flag)
        self._frame.append(self._record if self._record >= 0 else number)

    def _moment(self, text: Any) -> int:
        found = self._times.get(text) if isinstance(text, str) else None
        if found is None:
            found = self._times[text] = check_time(text)
        return found


def check_key(site: Any, point: Any, factor: Any, period: Any, stat: Any, envelope: Envelope = NO_ENVELOPE) -> SeriesKey:
    """Return the key of a row's series; raises Fault for the first part that is none."""
    site = envelope.check_site(site)
    point, factor = check_name("point", point), check_name("factor", factor)
    period = check_period(period)
    return SeriesKey(site, point, factor, period, check_stat(stat, period))


def refusal(fault: Fault, raw: bytes, number: int, record: int, rows: int = 1) -> Reject:
    """Return the reject of row `number`, told under its log record if there is one; `rows` 0 stands for a whole body."""
    detail = f"row {number}: {fault}" if record >= 0 and rows else str(fault)
    return Reject(fault.reason, detail, raw, record if record >= 0 else number, rows)


def as_bytes(row: Any) -> bytes:
    """Write a row as JSON; what JSON cannot say (an endless number, a broken character) is written as Python shows it."""
    try:
        return orjson.dumps(row)
    except TypeError:
        return repr(row).encode("utf-8", "backslashreplace")


def to_dicts(readings: Readings, table: SeriesTable) -> list[dict[str, Any]]:
    """Return a batch as Reading objects of the contract, time in +08:00."""
    columns = (readings.series.tolist(), readings.time.tolist(), readings.value.tolist(), readings.flag.tolist())
    return [
        {
            **table.keys[series]._asdict(),
            "time": format_time(time),
            "value": value,
            "flag": chr(flag) if flag else "",
        }
        for series, time, value, flag in zip(*columns, strict=True)
    ]
