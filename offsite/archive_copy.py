"""Copying an archive: files that the other place lacks are copied, each whole; the running product may write and merge meanwhile.

Files never change, so a copy can be repeated and goes on where it stopped. What a merge removes while it is copied is listed
again. Marks of how far the archive reaches are read first and written last: a copy never claims more than it holds.
"""

from __future__ import annotations

from collections.abc import Callable

from connectors.archive import PARQUET, ArchiveStore, Vanished
from connectors.core import Retry
from streams.archive import REACH, TRIES
from streams.history import SORT

Told = Callable[[str, int], object]
"""(name, bytes) of each file that was copied."""


def copy(source: ArchiveStore, target: ArchiveStore, told: Told) -> int:
    """Copy what `target` lacks; return how many files. Raises Retry or Lost; repeat it then."""
    marks = source.names(REACH)
    copied = 0
    for kind in SORT:
        for day in source.names(kind):
            copied += _folder(source, target, f"{kind}/{day}", told)
    for mark in marks:
        target.write(f"{REACH}/{mark}", b"")
    return copied


def _folder(source: ArchiveStore, target: ArchiveStore, folder: str, told: Told) -> int:
    copied = 0
    for _attempt in range(TRIES):
        there = set(target.names(folder))
        try:
            for name in source.names(folder):
                if name.endswith(PARQUET) and name not in there:
                    body = source.read(f"{folder}/{name}")
                    target.write(f"{folder}/{name}", body)
                    told(f"{folder}/{name}", len(body))
                    copied += 1
        except Vanished:
            continue
        return copied
    raise Retry(f"{source.url}: files of {folder} changed while they were copied; copy again", 1)
