"""Planted in one worker of the chaos test: once the file $CHAOS_MARKER is there, the judge fails, once, after it has judged.

Python imports this module by itself at its start, from a folder on PYTHONPATH; the product knows nothing of it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from streams.engine import Engine

MARKER = Path(os.environ["CHAOS_MARKER"])
SOUND = Engine.step


def failing(engine: Engine, records: list[Any]) -> Any:
    """Move the memory on, as ever, and fail then: a half-judged step is the worst that can be left behind."""
    done = SOUND(engine, records)
    if len(records) > 1 and MARKER.exists():
        MARKER.unlink()
        raise ZeroDivisionError("planted in the judge")
    return done


Engine.step = failing  # type: ignore[assignment, method-assign]
