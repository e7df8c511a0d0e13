"""What `offsite doctor` asks beside its own looks: the conditions that a running product sees, and when certificates end.

A `Patient` enters, findings leave. The running product is asked at its metrics port, which it notes in the data directory.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.error import URLError

from offsite.checkup import Finding, Grade, Patient
from offsite.monitor import certificate_ends
from offsite.self_seen import Memory, Snapshot
from offsite.self_watch import Condition, look
from offsite.settings import RUN_FILE

GRADES: dict[str, Grade] = {"critical": "broken", "warning": "warning"}
TIMEOUT = 5.0


def conditions(patient: Patient) -> Iterator[Finding]:
    """Tell what the platform says of itself."""
    if patient.settings.tls_cert is not None:
        seen = Snapshot(patient.now, expires=certificate_ends([patient.settings.tls_cert]))
        for one in look(seen, Memory())[0]:
            yield _finding(one)
    port = _port(patient)
    if port < 0:
        return
    try:
        standing = _ask(port)
    except (URLError, OSError, ValueError) as error:
        yield Finding("conditions", "broken", f"the product does not answer at its metrics port {port}: {error}", "restart it")
        return
    for row in standing:
        yield _finding(Condition(**row))
    if not standing:
        yield Finding("conditions", "ok", "the product sees nothing wrong with itself")


def _finding(one: Condition) -> Finding:
    return Finding("conditions", GRADES[one.severity], one.en, one.remedy_en)


def _port(patient: Patient) -> int:
    """Return the metrics port of the running product, -1 if there is none to ask."""
    if patient.product is None:
        return -1
    try:
        return int(json.loads((patient.data / RUN_FILE).read_bytes()).get("metrics", -1))
    except (OSError, ValueError):  # it has just been stopped
        return -1


def _ask(port: int) -> list[dict[str, Any]]:
    with closing(urllib.request.urlopen(f"http://127.0.0.1:{port}/conditions", timeout=TIMEOUT)) as answer:
        found: list[dict[str, Any]] = json.load(answer)
        return found
