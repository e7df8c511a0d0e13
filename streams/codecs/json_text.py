"""JSON texts to values: what a body of JSON or NDJSON holds, and what of it is not JSON.

Enters: bytes. Leaves: one value a text; a text that is not JSON gives the `Fault` that says why, in its place. Nothing raises and
nothing is skipped (promise 4). Texts are never joined to be parsed at once: broken ones can be JSON together.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import orjson

from streams.codecs.rows import Fault

BLANK = b" \t\r\n"
BOM = b"\xef\xbb\xbf"
DEEP = 64
"""A reading is flat; deeper nesting than this is an attack on the parser, not data."""


def texts_of(body: bytes, *, lines: bool) -> list[bytes]:
    """Return the texts of a body: all of it, or its lines without the blank ones."""
    body = body.removeprefix(BOM)
    if not lines:
        return [body]
    line = body.strip(BLANK)
    if b"\n" not in line:
        return [line] if line else []
    return [line for line in (part.strip(BLANK) for part in line.split(b"\n")) if line]


def parse(texts: Sequence[bytes]) -> list[Any]:
    """Return the value, or the Fault, of each text."""
    try:
        return [orjson.loads(text) for text in texts]
    except orjson.JSONDecodeError:
        return [_value(text) for text in texts]


def _value(text: bytes) -> Any:
    """Parse one text; what the fast parser refuses for a number (NaN, 1e400) goes on, so that its row can be named.

    A byte order mark is read over: files that have one are put together.
    """
    text = text.removeprefix(BOM)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        told = Fault("bad_json", f"not JSON ({error})")
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        return Fault("not_utf8", f"not UTF-8 ({error.reason} at byte {error.start}); send JSON as UTF-8")
    if max(decoded.count("["), decoded.count("{")) > DEEP and _depth(decoded) > DEEP:
        return Fault("bad_json", f"nested deeper than {DEEP}; a reading is a flat object")
    try:
        return json.loads(decoded)
    except ValueError:
        return told


def _depth(text: str) -> int:
    """Return how deep brackets nest, those inside texts counted too."""
    depth = deepest = 0
    for sign in text:
        depth += (sign in "[{") - (sign in "]}")
        deepest = max(deepest, depth)
    return deepest
