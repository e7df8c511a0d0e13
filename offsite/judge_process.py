"""The judge process: the embedded runtime on one data directory, until told to stop or until the parent is gone.

Run as `python -m offsite.judge_process DATA [PLAN]`. It touches no socket and reads no clock. Any fault ends it uncommitted; the supervisor
starts it again, and it takes up where its last durable step left off.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path

from connectors.core import ConnectorError
from connectors.process import calm_collector
from connectors.sqlite_log import SqliteLog
from offsite import logs
from offsite.judge_link import teller
from streams.embedded import open_embedded
from streams.plan import load_plan
from streams.vitals import Vitals

IDLE = 0.05
_log = logging.getLogger("offsite.judge")


def main(data: Path, plan: Path | None = None) -> int:
    """Judge until SIGTERM or until the parent process ends. Returns the exit code."""
    logs.setup(logs.form_of(os.environ), "judge")
    calm_collector()
    parent = os.getppid()
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log = SqliteLog(data / "log", lambda: 0)
    try:
        vitals, told = Vitals(time.perf_counter), teller(time.monotonic)
        judge = open_embedded(data, log, load_plan(plan), vitals=vitals)

        def stop() -> bool:
            told.tell(lambda: vitals.tell([judge.engine.state]))
            return bool(stopped) or os.getppid() != parent

        judge.run(stop, lambda: time.sleep(IDLE))
    except ConnectorError as error:
        _log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
