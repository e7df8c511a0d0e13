"""The running product's desk, asked over its loopback API: a call enters, JSON leaves, a problem becomes a connector error."""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import quote

import orjson

from connectors.core import Lost, Refused, Retry

TIMEOUT = 600.0
"""Seconds for one call: a device may take ten seconds a step and four tries (HJ 212-2017 table 1), adoption reads the whole log."""


def call(port: int, method: str, path: str, body: Any = None, *, person: str = "", timeout: float = TIMEOUT) -> Any:
    """Ask the desk on 127.0.0.1:`port` in the name of `person`; return its JSON.

    Raises Refused with the desk's own words (4xx), Retry (503), or Lost if nobody answers there.
    """
    headers = {"Content-Type": "application/json", "X-Offsite-Person": quote(person)}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, None if body is None else orjson.dumps(body), headers)
        response = connection.getresponse()
        status, text = response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise Lost(
            f"the desk on port {port} does not answer ({error}); is `offsite run` still up? If not, repeat the command"
        ) from error
    finally:
        connection.close()
    answer = _json(text)
    if status < http.HTTPStatus.BAD_REQUEST:
        return answer
    told = answer if isinstance(answer, dict) else {}
    words = "; ".join(str(told[name]) for name in ("detail", "remedy") if told.get(name)) or f"the desk answered {status}"
    raise (Retry if status == http.HTTPStatus.SERVICE_UNAVAILABLE else Refused)(words)


def _json(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
