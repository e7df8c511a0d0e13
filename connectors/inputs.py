"""The catalogue of inputs: a table of the settings enters, an input that is ready to run leaves.

An input takes what a source offers and hands it to the doors it was given; it acknowledges its source only once the data is
durable (promise 1), repeats in order what could not be stored yet, and puts aside what never can be, with its reason.
To add one: a module, a line in `CATALOGUE`, an example configuration in `deploy/examples`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from starlette.routing import BaseRoute

from connectors.accept import Doors, InputCounters
from connectors.drop_folder import DropFolder
from connectors.gat1400 import ViewLibrary
from connectors.hj212.mirror import Mirror
from connectors.http import Ingest
from connectors.line_write import LineWrite
from connectors.mqtt import Mqtt
from connectors.table import Secret, Table, TableFaults


class Input(Protocol):
    """One source. `counters` are its books, readable at any time."""

    name: str
    counters: InputCounters

    def routes(self, ingest: Ingest) -> Sequence[BaseRoute]:
        """Return what it serves on the ingest port; most inputs serve nothing."""

    async def run(self) -> None:
        """Take data until cancelled. Raises Lost if the log or what the input needs is gone: the process has to end."""


CATALOGUE: Mapping[str, Callable[[Table, str, Doors], Input]] = {
    "mqtt": Mqtt.from_table,
    "influx": LineWrite.from_table,
    "drop-folder": DropFolder.from_table,
    "gat1400": ViewLibrary.from_table,
    "hj212-mirror": Mirror.from_table,
}
"""`kind` of a table → how the input is made of it."""


def from_table(values: Mapping[str, Any], place: str, doors: Doors, secret: Secret) -> Input:
    """Make the input that a table describes. Raises TableFaults with every fault of it."""
    kind = values.get("kind")
    make = CATALOGUE.get(kind) if isinstance(kind, str) else None
    if make is None:
        raise TableFaults([f"{place}.kind: {kind!r} is no kind of input; known are {', '.join(CATALOGUE)}"])
    return make(Table(values, place, secret), name_of(values), doors)


def name_of(values: Mapping[str, Any]) -> str:
    """Return the name of an input: its `name`, else its kind."""
    return str(values.get("name") or values.get("kind"))
