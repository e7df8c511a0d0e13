"""Print the part of requirements.lock that the product needs at run time: what tests and checks need stays behind.

    python deploy/bundle/runtime_lock.py requirements.lock > runtime.lock

The lock and the pyproject.toml beside it enter, and the metadata of the packages installed beside this interpreter; the same lines
leave, hashes and all, for `pip install --require-hashes`. Run it where the whole lock is installed: what is not there is an error.
Source: PEP 508 (markers), PEP 503 (names).
"""

# ruff: noqa: INP001 — a script beside what it serves, no package

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

EXTRAS = ("distributed", "mqtt")
"""Extras of the product that a bundle and an image have."""


def normal(name: str) -> str:
    """Return a package's name as PEP 503 writes it.

    >>> normal("Faust_Streaming")
    'faust-streaming'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(lock: str) -> Iterator[tuple[str, str]]:
    r"""Yield (name, its lines) of a lock; an entry goes on as long as a line ends in a backslash.

    >>> list(entries("a==1 \\\n    --hash=sha256:0\nB_c==2\n"))
    [('a', 'a==1 \\\n    --hash=sha256:0'), ('b-c', 'B_c==2')]
    """
    for entry in re.split(r"(?<!\\)\n", lock.strip()):
        if found := re.match(r"([A-Za-z0-9._-]+)==", entry):
            yield normal(found[1]), entry


def roots(project: Mapping[str, Any]) -> list[Requirement]:
    """Return what the product itself requires, by its pyproject.toml."""
    texts = [*project["dependencies"], *(text for extra in EXTRAS for text in project["optional-dependencies"][extra])]
    return [Requirement(text) for text in texts]


def closure(wanted: Iterable[Requirement]) -> set[str]:
    """Return the names of all that is required here, directly or not. Raises PackageNotFoundError."""
    found: set[tuple[str, str]] = set()
    waiting = list(wanted)
    while waiting:
        one = waiting.pop()
        for extra in ("", *one.extras):
            if (normal(one.name), extra) not in found:
                found.add((normal(one.name), extra))
                waiting += needed(one.name, extra)
    return {name for name, _ in found}


def needed(name: str, extra: str) -> Iterator[Requirement]:
    """Yield what a package requires here, with one of its extras or (empty) without."""
    for text in requires(name) or ():
        one = Requirement(text)
        if one.marker is None or one.marker.evaluate({"extra": extra}):
            yield one


def part(lock: str, names: Iterable[str]) -> str:
    """Return the entries of the named packages. Raises ValueError if the lock lacks one."""
    wanted = set(names)
    kept = [(name, entry) for name, entry in entries(lock) if name in wanted]
    if missing := wanted - {name for name, _ in kept}:
        raise ValueError(f"the lock lacks {', '.join(sorted(missing))}; make it anew from pyproject.toml")
    return "".join(f"{entry}\n" for _, entry in kept)


if __name__ == "__main__":
    lock = Path(sys.argv[1])
    project = tomllib.loads((lock.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    sys.stdout.write(part(lock.read_text(encoding="utf-8"), closure(roots(project))))
