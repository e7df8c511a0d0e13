"""An import in a process of its own: mapping and composing take seconds of computing, which sockets must not wait for.

Enters: settings, the registry in force as text, the time, and what to import. Leaves: the books and the registry to put, as text, or
the error. The child fetches, compares and keeps in the store; only the parent lets a registry hold.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from cases.reference_store import ReferenceStore
from connectors.core import ConnectorError, Lost, Refused, Retry
from connectors.reference import Part
from offsite.reference import ExportRefused, Reference
from offsite.reference_sources import sources_of, store_url
from offsite.settings import Settings
from streams.registry import from_json, to_json
from streams.registry_model import Registry

NICE = 10
"""The child gives way to the processes that take and judge data."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to import, in whose name; without a name only what is kept is composed again."""

    name: str = ""
    by: str = ""
    part: Part | None = None
    may_end: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """Books and the registry to put (None: the one in force stays); or the kind, words and details of an error."""

    books: Mapping[str, Any]
    registry: str | None = None
    error: tuple[str, str, Any] | None = None

    def check(self) -> None:
        """Raise the error, if there was one."""
        if self.error is None:
            return
        kind, words, more = self.error
        if kind == "ExportRefused":
            raise ExportRefused(words, more)
        raise Retry(words, more) if kind == "Retry" else {"Refused": Refused}.get(kind, Lost)(words)


def carry_out(settings: Settings, text: str, now: int, order: Order) -> Outcome:
    """Import in this process. `text`: the registry in force, canonical JSON · `now`: ms UTC."""
    registry, made = from_json(text), list[Registry]()
    with closing(ReferenceStore(store_url(settings), clock=lambda: now)) as store:
        reference = Reference(
            sources_of(settings.reference), store, lambda: now, lambda: registry, lambda _, after: made.append(after)
        )
        try:
            books = {}
            if order.name:
                books = reference.pull(order.name, order.by, order.part, may_end=order.may_end).books()
            else:
                reference.settle()
        except ConnectorError as error:
            details = error.rows if isinstance(error, ExportRefused) else getattr(error, "after", 0.0)
            return Outcome({}, None, (type(error).__name__, str(error), details))
    return Outcome(books, to_json(made[-1]) if made else None)


def elsewhere(settings: Settings, text: str, now: int, order: Order) -> Outcome:
    """Import in a child process and wait for it. Raises Retry if the child was ended."""
    context = multiprocessing.get_context("spawn")  # a fork would take the locks of this process's threads along
    try:
        with ProcessPoolExecutor(1, context, os.nice, (NICE,)) as pool:
            return pool.submit(carry_out, settings, text, now, order).result()
    except BrokenProcessPool as error:
        raise Retry(
            "the process of the import was ended; nothing has changed that the next import does not repair", 60.0
        ) from error
