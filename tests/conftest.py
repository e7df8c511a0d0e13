"""What every suite shares: where the real data lies, and how a missing part is reported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = [f"tests.real.{file.stem}" for file in sorted((Path(__file__).parent / "real").glob("*.py"))]
"""Real servers, a module each."""

settings.register_profile("offsite", deadline=None)  # a busy machine is no failure
settings.load_profile("offsite")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def need(present: object, what: str) -> None:
    """Skip with a reason where a part is missing; with CI=1 a missing part is a failure."""
    if not present:
        if os.environ.get("CI"):
            pytest.fail(f"{what} is missing, and in CI a missing part is a failure")
        pytest.skip(f"{what} is missing")


@pytest.fixture
def shared_data() -> Path:
    """Give the folder of real data, read in place."""
    data = SHARED / "data"
    need(data.is_dir(), f"real data ({data.name} beside the project, see README)")
    return data
