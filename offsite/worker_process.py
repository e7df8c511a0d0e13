"""A judging worker as a process: settings enter, `streams.worker.Worker` runs until SIGTERM, the exit code leaves.

It ends whenever it was fenced, replaced or could not commit; whatever started it starts it again, and it takes up where its last
transaction left off. At a stop it finishes its step and gives its partitions to the others at once.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading

from connectors.core import ConnectorError
from connectors.kafka import Cluster
from connectors.kafka_admin import Admin
from connectors.process import calm_collector
from offsite import logs
from offsite.settings import Settings
from offsite.supervisor import clock_of
from offsite.worker_monitor import worker_monitor
from streams.plan import load_plan
from streams.worker import GROUP, KafkaLinks, Setting, Worker

_log = logging.getLogger("offsite")
LEAVE_S = 5.0


def run(settings: Settings, *, infer: bool = False, session_ms: int = 10_000) -> int:
    """Judge until SIGTERM or SIGINT; the first line on stdout says that it is ready. Returns the exit code."""
    logs.setup(logs.form_of(os.environ), "worker")
    calm_collector()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    cluster = settings.cluster()
    setting = Setting(settings.instance, infer, session_ms)
    try:
        worker = Worker(KafkaLinks(cluster, setting), load_plan(settings.plan), setting, clock=clock_of(settings))
        monitor = worker_monitor(worker, settings, clock_of(settings))
        monitor.start(settings.metrics_port, settings.metrics_host)
        print(json.dumps({"worker": settings.instance}), flush=True)  # noqa: T201
        try:
            while not stop.is_set():
                worker.run_once()
                monitor.pulse.beat()
        finally:
            monitor.close()
        worker.close()
    except ConnectorError as error:
        print(f"offsite worker: {error}", file=sys.stderr)  # noqa: T201
        if not stop.is_set():
            return 1
    _leave(cluster, setting)
    return 0


def _leave(cluster: Cluster, setting: Setting) -> None:
    """Give the partitions to the other workers at once; while no coordinator answers they come to them when the session ends."""
    try:
        with Admin(cluster, LEAVE_S) as admin:
            admin.leave(GROUP, cluster.named(setting.name))
    except ConnectorError as error:
        _log.warning("%s; the others take over %.0f s from now", error, setting.session_ms / 1000)
