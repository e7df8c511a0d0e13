"""Planted in processes of the chaos test: Python imports it by itself at its start, from a folder on PYTHONPATH; the product knows nothing of it.

Once the file $CHAOS_MARKER is there, the judge of a worker fails, once, after it has judged. With $CHAOS_LINGER_S the archive waits
only so long for more messages: the short run is not to be spent on waiting.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def plant_failure(marker: Path) -> None:
    """Let the judge fail when its memory has moved on: a half-judged step is the worst that can be left behind."""
    from streams.engine import Engine

    sound = Engine.step

    def failing(engine: Engine, records: list[Any]) -> Any:
        done = sound(engine, records)
        if len(records) > 1 and marker.exists():
            marker.unlink()
            raise ZeroDivisionError("planted in the judge")
        return done

    Engine.step = failing  # type: ignore[assignment, method-assign]


def plant_linger(seconds: float) -> None:
    """Let the archive write small batches soon."""
    from streams import archive_sink

    archive_sink.archive_sink.__defaults__ = (seconds,)


if "CHAOS_MARKER" in os.environ:
    plant_failure(Path(os.environ["CHAOS_MARKER"]))
if "CHAOS_LINGER_S" in os.environ:
    plant_linger(float(os.environ["CHAOS_LINGER_S"]))
