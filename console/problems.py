"""Errors as people and programs read them: problem+json (RFC 9457), each naming the thing and the remedy.

Enters: an exception. Leaves: a response of type `application/problem+json`.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from connectors.core import Lost, Refused, Retry

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A request that cannot be served as asked; `status` is the HTTP status."""

    def __init__(self, status: int, detail: str, remedy: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.remedy = remedy


def missing(kind: str, name: str) -> Problem:
    """Return the problem of something that is not there."""
    return Problem(404, f"there is no {kind} {name!r}", f"list what exists with GET /api/v1/{kind}s")


def response(status: int, detail: str, remedy: str = "", headers: dict[str, str] | None = None) -> Response:
    """Render one problem."""
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    if remedy:
        body["remedy"] = remedy
    return Response(json.dumps(body, ensure_ascii=False), status, headers, MEDIA_TYPE)


def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return response(error.status, error.detail, error.remedy)


def _refused(_: Request, error: Exception) -> Response:
    return response(409, str(error))


def _retry(_: Request, error: Exception) -> Response:
    assert isinstance(error, Retry)
    return response(503, str(error), "try again shortly", {"Retry-After": str(max(1, round(error.after)))})


def _lost(_: Request, error: Exception) -> Response:
    return response(503, str(error), "restart the desk; what was acknowledged is kept")


def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors())
    return response(422, faults, "see /api/v1/openapi.json")


def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return response(error.status_code, str(error.detail), headers=dict(error.headers or {}))


HANDLERS = {
    Problem: _problem,
    Refused: _refused,
    Retry: _retry,
    Lost: _lost,
    RequestValidationError: _invalid,
    HTTPException: _http,
}


def install(app: FastAPI) -> None:
    """Let the application answer every known error as problem+json."""
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
