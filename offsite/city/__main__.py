"""The city's process: settings as JSON on stdin, progress as JSON lines on stdout."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from offsite.city.pour import Progress
from offsite.city.run import CitySettings, run_city

STEP = 0.01


def main() -> None:
    """Run the city that stdin describes."""
    given = json.load(sys.stdin)
    settings = CitySettings(**(given | {"clock": Path(given["clock"])}))
    shown = [0.0]

    def report(progress: Progress) -> None:
        if progress.share - shown[0] >= STEP or progress.share >= 1.0:
            shown[0] = progress.share
            print(json.dumps({"share": progress.share, "frames": progress.frames}), flush=True)  # noqa: T201

    run_city(settings, report)


main()
