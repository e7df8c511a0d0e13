"""Influx line protocol over HTTP: what Telegraf and other InfluxDB clients write becomes readings.

Enters: `POST /api/v2/write` and `/write` (InfluxDB 2.7 and 1.x write APIs) with `precision`, gzip, `Authorization: Token KEY`.
Leaves: 204 once every line is durable (promise 1); 400 naming the lines that were not taken, the others being kept; 503 with
Retry-After while nothing can be stored, upon which these clients send the same again. Measurement, tags and fields become site,
point, factor and value by a small table; line protocol has no other place for them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from connectors.accept import Batch, Doors, InputCounters, Refusal
from connectors.core import JSON, NDJSON, Clock, Refused
from connectors.http import Ingest, key_of
from connectors.http_body import Problem, inflate
from connectors.line_protocol import PRECISIONS, Point, parse
from connectors.table import Table

MS = 1_000_000
CODES = {401: "unauthorized", 403: "forbidden", 413: "request too large", 429: "too many requests", 503: "unavailable"}
"""HTTP status → InfluxDB's word for it; every other status is `invalid`."""
FLAGS = ("flag", "stat", "unit")
"""Tags that are handed on under their own name."""
TOLD = 5
"""Lines that an answer names; all of them are put aside."""


@dataclass(frozen=True, slots=True)
class Words:
    """Which tag holds what. A line with the factor's tag has its value in the field `value`; without it each field is a factor.

    `factors`: `measurement.field` or `field` → factor · `sites`: value of the site's tag → site · `point`, `period`: where the
    tag is absent.
    """

    site_tag: str = "site"
    point_tag: str = "point"
    factor_tag: str = "factor"
    period_tag: str = "period"
    value_field: str = "value"
    point: str = ""
    period: str = "realtime"
    factors: Mapping[str, str] = field(default_factory=dict)
    sites: Mapping[str, str] = field(default_factory=dict)

    def rows(self, point: Point, now: int) -> Iterator[dict[str, Any]]:
        """Yield the readings of a point as rows of the contract; `now` (ms UTC) stands for a time that is absent.

        Raises Refused if the point has no site or no number.
        """
        tags = point.tags
        site = tags.get(self.site_tag, "")
        if not site:
            raise Refused(f"tag {self.site_tag} is missing; set it, or name another tag as site_tag")
        row = {
            "site": self.sites.get(site, site),
            "point": tags.get(self.point_tag, self.point),
            "period": tags.get(self.period_tag, self.period),
            "time": _rfc3339(now if point.time is None else point.time // MS),
            **{name: tags[name] for name in FLAGS if name in tags},
        }
        numbers = {k: v for k, v in point.fields.items() if not isinstance(v, str | bool)}
        factor = tags.get(self.factor_tag)
        if factor is not None:
            numbers = {factor: numbers[self.value_field]} if self.value_field in numbers else {}
        if not numbers:
            wanted = f"number in field {self.value_field}" if factor is not None else "field with a number"
            raise Refused(f"the line has no {wanted}")
        for name, value in numbers.items():
            known = self.factors.get(f"{point.measurement}.{name}", self.factors.get(name, name))
            yield {**row, "factor": known, "value": value}


class LineWrite:
    """The write APIs of InfluxDB on the ingest port; made from a table `kind = "influx"`."""

    def __init__(self, name: str, words: Words, clock: Clock) -> None:
        self.name, self.counters = name, InputCounters("listening")
        self._words, self._clock = words, clock

    @staticmethod
    def from_table(table: Table, name: str, doors: Doors) -> LineWrite:
        """Make it from its settings. Raises TableFaults."""
        standard = Words()
        names = ("site_tag", "point_tag", "factor_tag", "period_tag", "value_field", "period")
        texts = {key: table.text(key, getattr(standard, key)) for key in names}
        words = Words(**texts, point=table.text("point", ""), factors=table.mapping("factors"), sites=table.mapping("sites"))
        table.done()
        return LineWrite(name, words, doors.clock)

    async def run(self) -> None:
        """Do nothing: the ingest port serves the routes."""

    def routes(self, ingest: Ingest) -> Sequence[BaseRoute]:
        """Return the routes of both APIs, and `/ping`, by which 1.x clients look whether anybody is there."""

        async def second(request: Request) -> Response:
            return await ingest.answer(partial(self._write, ingest, request, key_of(request)), _second)

        async def first(request: Request) -> Response:
            return await ingest.answer(partial(self._write, ingest, request, _first_key(request)), _first)

        async def ping(_request: Request) -> Response:
            return Response(status_code=204)

        return [
            Route("/api/v2/write", second, methods=["POST"]),
            Route("/write", first, methods=["POST"]),
            Route("/ping", ping, methods=["GET"]),
        ]

    async def _write(self, ingest: Ingest, request: Request, key: str) -> Response:
        scope = ingest.caller(key)
        precision = request.query_params.get("precision", "ns") or "ns"
        if precision not in PRECISIONS:
            raise Problem(400, "Unknown precision", f"precision {precision!r} is unknown; use one of {', '.join(PRECISIONS)}")
        sent = await ingest.body(request)
        encoding = request.headers.get("content-encoding", "")

        def decode() -> tuple[Sequence[Batch], Sequence[Refusal]]:
            return self.decode(ingest, inflate(sent, encoding, ingest.limits.inflated), precision)

        self.counters.messages += 1
        taken = await ingest.store(scope, "readings", decode, small=False)
        self.counters.rows.update(accepted=taken.accepted, rejected=len(taken.rejected))
        self.counters.rejected.update(refusal.reason for refusal in taken.rejected)
        if taken.rejected:
            words = "; ".join(f"line {refusal.row}: {refusal.detail}" for refusal in taken.rejected[:TOLD])
            more = f" and {len(taken.rejected) - TOLD} more" if len(taken.rejected) > TOLD else ""
            raise Problem(400, "Partial write", f"partial write, {taken.accepted} readings taken: {words}{more}")
        return Response(status_code=204)

    def decode(self, ingest: Ingest, body: bytes, precision: str) -> tuple[Sequence[Batch], Sequence[Refusal]]:
        """Return the batches of the lines and what was refused, by the number of the line from 1."""
        points, faults = parse(body, precision)
        refused = [Refusal(fault.line, "bad_line", fault.reason, fault.raw) for fault in faults]
        numbers = _line_numbers(body, {fault.line for fault in faults}, len(points))
        rows: list[bytes] = []
        lines: list[int] = []
        for line, point in zip(numbers, points, strict=True):
            try:
                made = [orjson.dumps(row) for row in self._words.rows(point, self._clock())]
            except Refused as error:
                refused.append(Refusal(line, "missing_field", str(error)))
                continue
            rows += made
            lines += [line] * len(made)
        if not rows:
            return [], refused
        batches, bad = ingest.decode(NDJSON, b"\n".join(rows), "readings")
        refused += [replace(refusal, row=lines[refusal.row]) for refusal in bad]
        return [replace(batch, rows=tuple(lines[row] for row in batch.rows)) for batch in batches], refused


def _line_numbers(body: bytes, faulty: set[int], count: int) -> Sequence[int]:
    """Return the line of each point; where a string holds line breaks, its place among the points, for lines can't be counted."""
    lines = enumerate(body.split(b"\n"), 1)
    found = [n for n, line in lines if n not in faulty and line.strip() and not line.lstrip().startswith(b"#")]
    return found if len(found) == count else range(1, count + 1)


def _rfc3339(ms: int) -> str:
    """Return ms UTC as text."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def _first_key(request: Request) -> str:
    """Return the key of a 1.x client: the password of `p`, of Basic, or as a 2.x client sends it."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(token, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return key_of(request) or request.query_params.get("p", "")


def _second(problem: Problem) -> Response:
    """Return an answer of the 2.x API."""
    body = {"code": CODES.get(problem.status, "invalid"), "message": problem.detail}
    return Response(orjson.dumps(body), problem.status, problem.headers, JSON)


def _first(problem: Problem) -> Response:
    """Return an answer of the 1.x API."""
    headers = {**problem.headers, "X-Influxdb-Error": problem.title}
    return Response(orjson.dumps({"error": problem.detail}), problem.status, headers, JSON)
