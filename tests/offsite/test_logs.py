from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from connectors import trace
from offsite import logs

HELD = ("uvicorn", "uvicorn.error")


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:], level, logging.raiseExceptions = before
    root.setLevel(level)
    trace.follow("")


def said(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_object_with_time_trace_and_fields() -> None:
    stream = io.StringIO()
    logs.setup("json", "gateway", stream=stream)
    trace.begin("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    logging.getLogger("offsite").warning("the disk is full: %d MB\nare left", 12, extra={"fields": {"mn": "A" * 999, "n": 7}})
    (line,) = said(stream)
    assert datetime.fromisoformat(line["ts"]).utcoffset() is not None
    assert line["level"] == "warning"
    assert line["logger"] == "offsite"
    assert line["process"] == "gateway"
    assert line["msg"] == "the disk is full: 12 MB\nare left"
    assert line["trace"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert line["n"] == 7
    assert len(line["mn"]) < 550


def test_a_field_never_hides_who_said_what() -> None:
    stream = io.StringIO()
    logs.setup("json", "run", stream=stream)
    logging.getLogger("x").warning("true", extra={"fields": {"msg": "false", "level": "debug"}})
    assert said(stream)[0]["msg"] == "true"
    assert said(stream)[0]["level"] == "warning"


def test_tracebacks_and_messages_are_bounded() -> None:
    stream = io.StringIO()
    logs.setup("json", "run", stream=stream)
    fault = ValueError("x" * 100_000)
    logging.getLogger("offsite").error("y" * 100_000, exc_info=fault)
    assert len(stream.getvalue()) < 10_000
    assert said(stream)[0]["error"].endswith("x")


def test_uvicorn_and_libraries_speak_in_the_same_form(monkeypatch: pytest.MonkeyPatch) -> None:
    import uvicorn

    for name in HELD:  # other tests start servers that speak for themselves
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    stream = io.StringIO()
    logs.setup("json", "desk", stream=stream)
    uvicorn.Config(lambda: None, log_config=None)
    logging.getLogger("uvicorn.error").warning("trouble")
    logging.getLogger("uvicorn.error").info("started")  # its own steps are no news
    assert [line["msg"] for line in said(stream)] == ["trouble"]


def test_text_is_one_line_for_people() -> None:
    stream = io.StringIO()
    logs.setup("text", "run", stream=stream)
    logging.getLogger("offsite").info("two\nlines", extra={"fields": {"mn": "A1"}})
    (line,) = stream.getvalue().splitlines()
    assert "INFO offsite: two lines mn=A1" in line


def test_a_flood_from_one_place_is_held_and_counted_and_others_pass() -> None:
    stream, now = io.StringIO(), [0.0]
    flood = logs.setup("json", "gateway", stream=stream)
    flood._clock = lambda: now[0]
    log = logging.getLogger("offsite")
    for number in (*range(10_000), -1):
        if number < 0:
            now[0] += 60.0
        log.warning("bad frame %d", number)
    log.warning("something else")
    told = said(stream)
    assert len(told) <= 52
    assert told[-2]["msg"] == "bad frame -1"
    assert told[-2]["suppressed"] == flood.dropped == 10_001 - len(told) + 1
    assert told[-1]["msg"] == "something else"


def test_a_stream_that_cannot_be_written_ends_nothing() -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(28, "No space left on device")

    logs.setup("json", "run", stream=Full())
    logging.getLogger("offsite").warning("nobody hears this")
