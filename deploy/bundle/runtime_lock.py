"""Print the part of requirements.lock that the product needs at run time: what tests and checks need stays behind.

    python deploy/bundle/runtime_lock.py requirements.lock > runtime.lock

The lock enters, and the metadata of the packages installed beside this interpreter; the same lines leave, hashes and all, for
`pip install --require-hashes`. Run it where the whole lock is installed: a requirement that is not installed is an error.
Source: PEP 508 (markers), PEP 503 (names).
"""

# ruff: noqa: INP001 — a script beside what it serves, no package

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = "offsite[distributed,mqtt]"


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


def closure(root: str) -> set[str]:
    """Return the names of all that `root` requires here, itself left out. Raises PackageNotFoundError."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(root)]
    while waiting:
        wanted = waiting.pop()
        for extra in ("", *wanted.extras):
            if (normal(wanted.name), extra) not in found:
                found.add((normal(wanted.name), extra))
                waiting += needed(wanted.name, extra)
    return {name for name, _ in found} - {normal(Requirement(root).name)}


def needed(name: str, extra: str) -> Iterator[Requirement]:
    """Yield what a package requires here, with one of its extras or (empty) without."""
    environment: Mapping[str, str] = {"extra": extra}
    for text in requires(name) or ():
        one = Requirement(text)
        if one.marker is None or one.marker.evaluate(dict(environment)):
            yield one


def part(lock: str, names: Iterable[str]) -> str:
    """Return the entries of the named packages. Raises ValueError if the lock lacks one."""
    wanted = set(names)
    kept = [(name, entry) for name, entry in entries(lock) if name in wanted]
    if missing := wanted - {name for name, _ in kept}:
        raise ValueError(f"the lock lacks {', '.join(sorted(missing))}; make it anew from pyproject.toml")
    return "".join(f"{entry}\n" for _, entry in kept)


if __name__ == "__main__":
    sys.stdout.write(part(Path(sys.argv[1]).read_text(encoding="utf-8"), closure(ROOT)))
