"""InfluxDB 2: lines enter and are on the server's disk when `write` returns; a Flux query enters, an Arrow table leaves.

Promises: a write is idempotent, because the same series and timestamp overwrite, so it is repeated after any doubt; a line that the
server refuses costs no other line and comes back with the server's reason (promise 4). Built on the library `influxdb-client`.
"""

from __future__ import annotations

import io
import json
import string
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Self, TypeVar, cast

import pyarrow as pa
import pyarrow.csv
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.domain.dialect import Dialect
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService
from urllib3.exceptions import HTTPError, LocationParseError

from connectors.core import ConnectorError, Lost, Refused, Retry
from connectors.influx_lines import Lines

BATCH = 5000
"""Lines in one request: InfluxData's own advice, and what was measured."""
AWAY = 2.0
"""Seconds to wait where the server names none."""
PLAIN = frozenset(string.ascii_letters + string.digits + "_")
T = TypeVar("T")


class Unwritten(NamedTuple):
    """A line that the server refuses, and why."""

    line: bytes
    reason: str


def flux_text(text: str) -> str:
    r"""Return a text as a Flux string literal; every byte but ASCII letters, digits and `_` is escaped, so nothing can end it.

    InfluxDB 2 takes no parameters beside a query (its cloud does), so this is what keeps names from being read as Flux.

    >>> flux_text('a"b')
    '"a\\x22b"'
    """
    return '"' + "".join(chr(b) if chr(b) in PLAIN else f"\\x{b:02x}" for b in text.encode()) + '"'


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket and how long it keeps points: `keep` in seconds, 0 = for ever."""

    name: str
    keep: int


class Influx:
    """One organisation of an InfluxDB server. `ca` is the path of a PEM file; `timeout` in seconds, of one request."""

    def __init__(self, url: str, org: str, token: str, ca: str = "", timeout: float = 10) -> None:
        self.url, self.org = url, org
        self._client: Any = InfluxDBClient(url, token, org=org, ssl_ca_cert=ca or None, timeout=round(timeout * 1000))
        self._post: Any = cast("Any", WriteService)(self._client.api_client).post_write
        self._dialect = cast("Any", Dialect)(header=True, annotations=[], date_time_format="RFC3339Nano")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ensure(self, buckets: Sequence[Bucket]) -> None:
        """Create the buckets that are missing and give all of them their retention. Raises Retry or Lost."""
        api = self._client.buckets_api()
        for bucket in buckets:
            doing = f"preparing bucket {bucket.name}"
            rules = [{"type": "expire", "everySeconds": bucket.keep}]
            found = self._ask(partial(api.find_bucket_by_name, bucket.name), doing)
            if found is None:
                self._ask(partial(api.create_bucket, bucket_name=bucket.name, retention_rules=rules, org=self.org), doing)
            elif sum(rule.every_seconds for rule in found.retention_rules) != bucket.keep:
                found.retention_rules = rules
                self._ask(partial(api.update_bucket, found), doing)

    def write(self, bucket: str, lines: Lines) -> list[Unwritten]:
        """Write all lines (timestamps in ns); return those the server refuses. Raises Retry (repeat all of it) or Lost."""
        refused: list[Unwritten] = []
        waiting = [(first, min(first + BATCH, len(lines))) for first in range(0, len(lines), BATCH)][::-1]
        while waiting:
            first, last = waiting.pop()
            try:
                self._send(bucket, lines.body(first, last))
            except Refused as error:
                if last - first == 1:
                    line = bytes(lines.body(first, last)).rstrip(b"\n")
                    # The server repeats the line, which may be long, before it comes to the reason.
                    refused.append(Unwritten(line, str(error).replace(f"'{line.decode('utf-8', 'replace')}'", "it")))
                else:
                    middle = (first + last) // 2
                    waiting += [(middle, last), (first, middle)]
        return refused

    def query(self, flux: str, kinds: Mapping[str, pa.DataType]) -> pa.Table:
        """Return the columns `kinds` (name → type) of the rows of a query that ends in one table (`group()`).

        A tag that a row does not have is an empty text; CSV changes line breaks, so texts hold none (`tag`). Raises Retry, Lost, or
        Refused if the query is wrong.
        """
        answer = self._ask(lambda: self._client.query_api().query_raw(flux, dialect=self._dialect).data, "reading history")
        if not answer.strip():
            return pa.schema(list(kinds.items())).empty_table()
        convert = pyarrow.csv.ConvertOptions(
            column_types=dict(kinds), include_columns=list(kinds), include_missing_columns=True, strings_can_be_null=False
        )
        parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
        try:
            table = pyarrow.csv.read_csv(io.BytesIO(answer), parse_options=parse, convert_options=convert)
        except pa.ArrowInvalid as error:
            raise Retry(f"InfluxDB {self.url}, reading history: the answer broke off ({error})", AWAY) from error
        texts = {k for k, kind in kinds.items() if pa.types.is_string(kind)}
        return pa.table({k: table[k].fill_null("") if k in texts else table[k] for k in kinds})

    def _send(self, bucket: str, body: memoryview) -> None:
        # The library would compress at the highest level, which costs five times as much and saves a tenth.
        packer = zlib.compressobj(1, wbits=31)
        packed = packer.compress(body) + packer.flush()
        post = partial(self._post, self.org, bucket, packed, precision="ns", content_encoding="gzip")
        self._ask(post, f"writing to bucket {bucket}")

    def _ask(self, call: Callable[[], T], doing: str) -> T:
        try:
            return call()
        except ApiException as error:
            raise _translated(error, f"InfluxDB {self.url}, {doing}") from error
        except InfluxDBError as error:  # the library raises it for an organisation that it cannot find
            raise Lost(f"InfluxDB {self.url}, {doing}: {error}; {REMEDIES[404]}") from error
        except (HTTPError, OSError) as error:
            if isinstance(error, LocationParseError):
                raise Lost(f"InfluxDB {self.url} is no address: write http://HOST:8086 in the settings") from error
            raise Retry(f"InfluxDB {self.url}, {doing}: not reachable ({_cause(error)})", AWAY) from error


def _translated(error: ApiException, doing: str) -> ConnectorError:
    """Return the error by the reaction it demands."""
    status, text = error.status or 0, f"{doing}: {_reason(error)}"
    if status in REMEDIES:
        return Lost(f"{text}; {REMEDIES[status]}")
    if status in {408, 429} or status >= 500:
        return Retry(text, _after(error))
    return Refused(text)


REMEDIES = {
    0: "give the PEM file of the authority that signed its certificate as ca in [influx]",
    401: "give a token of this server as token in [influx]",
    403: "give a token that may read, write and create buckets of the organisation as token in [influx]",
    404: "name an organisation of this server as org in [influx]; its buckets are made when the agents start",
}
"""HTTP status (0: TLS failed before any) → what to do."""


def _reason(error: ApiException) -> str:
    body = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else error.body or ""
    with suppress(ValueError, TypeError, KeyError):
        return str(json.loads(body)["message"])
    return body or str(error.reason)


def _cause(error: Exception) -> str:
    """Return what happened without the connection object that urllib3 puts before it."""
    return str(error).rpartition(">: ")[2]


def _after(error: ApiException) -> float:
    headers: Any = error.headers or {}
    given = str(headers.get("Retry-After", ""))
    return float(given) if given.isdecimal() else AWAY
