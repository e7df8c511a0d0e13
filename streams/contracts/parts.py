"""What the schemas share: names, times, numbers, and objects made of them (JSON Schema 2020-12).

Enters: the rules of the decoders. Leaves: schemas that refuse what a decoder refuses, as far as a schema can say it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from streams.codecs.rows import NAME_LENGTH

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
END = r"$(?!\n)"
"""The end of a text and nothing behind it, in every dialect of regular expressions."""

_LONG, _SHORT = "(0[13578]|1[02])", "(0[469]|11)"
_LEAP = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
_DATE = rf"((?!0000)[0-9]{{4}}-({_LONG}-(0[1-9]|[12][0-9]|3[01])|{_SHORT}-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|(?!0000){_LEAP}-02-29)"
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
_OFFSET = r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"

TIME: Schema = {
    "type": "string",
    "pattern": f"^{_DATE}[Tt ]{_CLOCK}{_OFFSET}{END}",
    "description": "RFC 3339 with an offset, cut to the millisecond",
}
NAME: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": NAME_LENGTH,
    "pattern": rf"^[^\u0000-\u001f\u007f/\ud800-\udfff]*{END}",
    "description": "1 to 128 characters, none of them a slash, a control or a surrogate",
}
NUMBER: Schema = {"type": "number", "minimum": -sys.float_info.max, "maximum": sys.float_info.max, "description": "finite"}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
MILLISECONDS: Schema = {"type": "integer", "description": "milliseconds since 1970-01-01T00:00:00Z"}
HEX_ID: Schema = {"type": "string", "pattern": f"^[0-9a-f]{{32}}{END}", "description": "by content: 16 bytes of SHA-256 in hex"}
OUT_TIME: Schema = {
    "type": "string",
    "pattern": f"^{_DATE}T{_CLOCK}\\+08:00{END}",
    "description": "RFC 3339, China Standard Time",
}


def nullable(schema: Schema) -> Schema:
    """Return a schema that takes null too."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return schema | {"type": [*kinds, "null"]}


def told(schema: Schema, description: str) -> Schema:
    """Return a schema with its own words."""
    return schema | {"description": description}


def objects(properties: Mapping[str, Schema], *, required: Iterable[str] | None = None, more: bool = False) -> Schema:
    """Return the schema of an object; all properties are required unless told, others are forbidden unless `more`."""
    found: Schema = {"type": "object", "properties": dict(properties)}
    found["required"] = list(properties if required is None else required)
    return found if more else found | {"additionalProperties": False}


def document(name: str, title: str, description: str, schema: Schema, examples: Iterable[Any]) -> Schema:
    """Return a whole document; `name` is that of its file."""
    head = {"$schema": DIALECT, "$id": f"{name}.schema.json", "title": title, "description": description}
    return head | schema | {"examples": list(examples)}
