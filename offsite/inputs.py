"""The inputs of the settings, built and run: `[[inputs]]` tables enter, running inputs leave, each with its own way into the log.

Faults are listed before anything starts. An input that fails for good ends the process with its error; recovery takes over.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from connectors.accept import Accept, Doors
from connectors.inputs import CATALOGUE, Input, from_table, name_of
from connectors.table import Secret, TableFaults
from offsite.settings import secret

FOLDER = "inputs"
"""Sub-folder of the data directory in which inputs keep their progress."""
NAME = re.compile(r"[\w.-]{1,64}\Z")


def build(
    tables: Sequence[Mapping[str, Any]],
    doors: Doors,
    accept_of: Callable[[str], Accept] | None = None,
    secrets: Secret = secret,
) -> list[Input]:
    """Make the inputs of the `[[inputs]]` tables. Raises TableFaults with the faults of all of them.

    `accept_of` gives an input its own `accept` by its name, so that what it refuses is kept under that name.
    """
    faults: list[str] = []
    made: list[Input] = []
    names: list[str] = []
    for number, table in enumerate(tables):
        place, name = f"inputs[{number}]", name_of(table)
        if not NAME.match(name):
            faults.append(f"{place}.name: {name!r} is no name; use letters, digits, '.', '_' and '-'")
        if name in names:
            faults.append(f"{place}.name: {name!r} is there twice; give each input a name of its own")
        names.append(name)
        own = doors if accept_of is None else replace(doors, accept=accept_of(name))
        try:
            made.append(from_table(table, place, own, secrets))
        except TableFaults as error:
            faults += error.faults
    if faults:
        raise TableFaults(faults)
    return made


def check(tables: Sequence[Mapping[str, Any]], data: Path, secrets: Secret = secret) -> list[str]:
    """Return every fault of the tables; connects to nothing and starts nothing."""

    async def nowhere(*_: object) -> None:
        raise AssertionError("an input that is only checked takes nothing")

    from connectors.hj212.frame import strict

    doors = Doors(nowhere, lambda *_: ([], []), nowhere, nowhere, strict, lambda: 0, data / FOLDER)
    try:
        build(tables, doors, None, secrets)
    except TableFaults as error:
        return error.faults
    return []


async def run_inputs(inputs: Sequence[Input]) -> None:
    """Run all inputs until cancelled. Raises what one of them ends with: the process has to end."""
    if not inputs:
        await asyncio.Event().wait()
    tasks = [asyncio.create_task(one.run(), name=f"input {one.name}") for one in inputs]
    try:
        await asyncio.gather(*tasks)
        await asyncio.Event().wait()  # inputs that the ingest port serves have nothing to do here
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def counted(inputs: Sequence[Input]) -> dict[str, Any]:
    """Return the books of the inputs, by name, as plain JSON."""
    return {
        one.name: {
            "state": one.counters.state,
            "fault": one.counters.fault,
            "messages": one.counters.messages,
            "rows": dict(one.counters.rows),
            "rejected": dict(one.counters.rejected),
            "retries": one.counters.retries,
            "reconnects": one.counters.reconnects,
        }
        for one in inputs
    }


__all__ = ["CATALOGUE", "build", "check", "counted", "run_inputs"]
