"""The published contracts as files: `python -m streams.schemas docs/contracts` writes what the code says today.

Enters: a folder. Leaves: one `*.schema.json` a kind of message (JSON Schema 2020-12) and `asyncapi.json`. A test compares them with
the code, so that neither changes without the other.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from streams.asyncapi import asyncapi
from streams.contracts import inputs, outputs
from streams.contracts.parts import Schema

SCHEMAS: Mapping[str, Callable[[], Schema]] = {
    "reading": inputs.reading,
    "readings": inputs.readings,
    "event": inputs.event,
    "context": inputs.context,
    "alert": outputs.alert,
    "lead": outputs.lead,
    "case-event": outputs.case_event,
    "dead-letter": outputs.dead_letter,
    "device-command": inputs.device_command,
    "device-reply": outputs.device_reply,
    "device-presence": outputs.device_presence,
    "site-summary": outputs.summary,
    "registry": outputs.registry,
}
"""Name of the file → the schema."""


def files() -> dict[str, str]:
    """Return file name → text of every contract."""
    documents: dict[str, Any] = {f"{name}.schema.json": make() for name, make in SCHEMAS.items()}
    return {
        name: json.dumps(body, ensure_ascii=False, indent=1) + "\n"
        for name, body in [*documents.items(), ("asyncapi.json", asyncapi())]
    }


def write(folder: Path) -> None:
    """Write every contract into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
