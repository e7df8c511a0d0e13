"""The way in, watched: the real gateway and the real ingest app behind the wrapper."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from connectors import trace
from connectors.core import Refused, Retry
from connectors.hj212.commands import build
from connectors.hj212.frame import Frame, Framer
from connectors.hj212.header import Header, parse
from offsite.receipts import Receipts

FRAME = build(st="31", cn="2011", pw="s3cret", mn="HOSTILE", qn="20261012000000000", flag=5, area="DataTime=2026;" + "x" * 600)


def frame() -> tuple[Frame, Header]:
    (found,) = Framer().feed(FRAME)
    assert isinstance(found, Frame)
    return found, parse(found.segment)


def taken(receipts: Receipts, outcome: Exception | None) -> str:
    seen = []

    async def accept(_frame: Frame, _header: Header, _peer: str) -> None:
        seen.append(trace.trace_id())
        if outcome is not None:
            raise outcome

    async def run() -> None:
        await receipts.frames(accept)(*frame(), "10.0.0.1:99")

    if outcome is None:
        asyncio.run(run())
    else:
        with pytest.raises(type(outcome)):
            asyncio.run(run())
    return str(seen[0])


def test_the_time_from_receipt_to_durability_is_counted() -> None:
    ticks = iter([10.0, 10.15])
    receipts = Receipts(lambda: next(ticks))
    assert len(taken(receipts, None)) == 32
    assert receipts.latency["hj212"].counts[7] == 1  # up to 0.2 s
    assert receipts.latency["hj212"].total == pytest.approx(0.15)


def test_a_refused_frame_leaves_one_line_with_its_trace_and_no_password(caplog: pytest.LogCaptureFixture) -> None:
    traces: list[str] = []

    class Keep(logging.Filter):
        def filter(self, _record: logging.LogRecord) -> bool:
            traces.append(trace.trace_id())
            return True

    receipts = Receipts(lambda: 0.0)
    caplog.handler.addFilter(Keep())
    inside = taken(receipts, Retry("the disk is full"))
    (record,) = caplog.records
    fields: dict[str, Any] = record.__dict__["fields"]
    told = bytes.fromhex(fields["hex"])
    assert traces == [inside]
    assert len(told) <= 120
    assert b"PW=*;MN=HOSTILE" in told
    assert b"s3cret" not in told
    assert fields["peer"] == "10.0.0.1:99"
    assert receipts.refused["hj212"] == 1
    assert receipts.failing == "the disk is full"


def test_input_that_is_bad_says_nothing_about_the_log() -> None:
    receipts = Receipts(lambda: 0.0)
    taken(receipts, Refused("no name"))
    assert receipts.failing == ""
    taken(receipts, Retry("the disk is full"))
    taken(receipts, None)
    assert receipts.failing == ""


def request(receipts: Receipts, status: int, headers: list[tuple[bytes, bytes]]) -> tuple[str, dict[str, Any]]:
    inner, sent = [], []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        inner.append(trace.trace_id())
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def keep(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": headers, "path": "/api/v1/readings", "query_string": b"key=s3cret", "client": ("::1", 7)}
    asyncio.run(receipts.asgi(app)(scope, None, keep))
    return inner[0], sent[0]


def test_a_callers_trace_goes_on_and_comes_back() -> None:
    given = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    receipts = Receipts(lambda: 0.0)
    inner, start = request(receipts, 200, [(b"traceparent", given)])
    assert inner == "4bf92f3577b34da6a3ce929d0e0e4736"
    answered = dict(start["headers"])[b"traceparent"]
    assert answered.startswith(given[:36])
    assert answered != given
    assert sum(receipts.latency["http"].counts) == 1


def test_a_refused_request_leaves_a_line_without_its_query(caplog: pytest.LogCaptureFixture) -> None:
    receipts = Receipts(lambda: 0.0)
    request(receipts, 401, [])
    assert receipts.failing == ""
    request(receipts, 503, [])
    assert receipts.failing
    assert [r.getMessage() for r in caplog.records] == ["a request was refused with 401", "a request was refused with 503"]
    assert "s3cret" not in str([r.__dict__ for r in caplog.records])
    assert receipts.refused["http"] == 2
