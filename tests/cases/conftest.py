"""Fixtures of the desk's tests: each runs on SQLite, and again on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cases.store import Desk
from tests.cases.made import Hand, ready


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def desk(request: pytest.FixtureRequest, tmp_path: Path, clock: Hand) -> Iterator[Desk]:
    if request.param == "sqlite":
        made = ready(tmp_path, clock)
    else:
        made = Desk(request.getfixturevalue("postgres").emptied(), clock=clock, migrate=False)
    with made:
        yield made
