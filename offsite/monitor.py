"""One process watching itself: looks every few seconds, keeps the conditions that stand, and answers at the operator's endpoint.

Handed in: how to see (`snapshot`), where the counters are (`sources`), a monotonic clock and the port. Leaves: /metrics, /healthz, /readyz and
/conditions (connectors/metrics.py), and the conditions for desk and log. The same in every process; each makes its own snapshot.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from connectors.core import ConnectorError
from connectors.metrics import Endpoint, Fault, Pulse, serve
from offsite import metric_sources
from offsite.metrics import Source, registry_of
from offsite.self_seen import Bounds, Memory, Snapshot
from offsite.self_watch import Condition, look

EVERY = 5.0
STUCK = 30.0
"""Seconds after which a loop that has not turned counts as stuck."""
_log = logging.getLogger("offsite.monitor")


class Monitor:
    """Create it, `start` it, let the process's loop `beat`, and `close` it at the end."""

    def __init__(
        self,
        process: str,
        *,
        snapshot: Callable[[], Snapshot],
        sources: Mapping[str, Source],
        ready: Callable[[], Iterable[Fault]] = tuple,
        bounds: Bounds | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._snapshot, self._ready, self._bounds = snapshot, ready, bounds or Bounds()
        self._memory = Memory()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="monitor", daemon=True)
        self._endpoint: Endpoint | None = None
        self.standing: list[Condition] = []
        self.seen: Snapshot | None = None
        self.pulse = Pulse(monotonic)
        own = {
            "seen": lambda: () if self.seen is None else metric_sources.seen(self.seen),
            "conditions": lambda: metric_sources.conditions(self.standing),
        }
        self.registry = registry_of({**own, **sources}, process=process, version=version("offsite"))

    def start(self, port: int = -1, host: str = "127.0.0.1") -> int:
        """Look once, then keep looking; serve at `port` unless it is negative. Returns the port, or -1. Raises Lost if it is taken."""
        self.look()
        if port >= 0:
            self._endpoint = serve(
                port, self.registry, alive=self._alive, ready=self._faults, conditions=self.conditions, host=host
            )
        self._thread.start()
        return -1 if self._endpoint is None else self._endpoint.port

    def close(self) -> None:
        """End both threads."""
        self._stop.set()
        if self._endpoint is not None:
            self._endpoint.close()
        if self._thread.is_alive():
            self._thread.join(EVERY)

    async def beat(self, every: float = 1.0) -> None:
        """Let an event loop beat, until cancelled."""
        while True:
            self.pulse.beat()
            await asyncio.sleep(every)

    def look(self) -> None:
        """See how things are; say each condition once when it comes and once when it goes."""
        before = {(c.id, c.subject): c for c in self.standing}
        self.seen = self._snapshot()
        self.standing, self._memory = look(self.seen, self._memory, self._bounds)
        now = {(c.id, c.subject): c for c in self.standing}
        for key in now.keys() - before.keys():
            _log.warning("%s — %s", now[key].en, now[key].remedy_en, extra={"fields": _told(now[key], "stands")})
        for key in before.keys() - now.keys():
            _log.info("over: %s", before[key].en, extra={"fields": _told(before[key], "over")})

    def conditions(self) -> list[dict[str, Any]]:
        """Return the conditions that stand, as JSON; times in ms UTC."""
        return [asdict(condition) for condition in self.standing]

    def _watch(self) -> None:
        while not self._stop.wait(EVERY):
            try:
                self.look()
            except (ConnectorError, OSError) as error:  # a store is busy: the next look comes in a moment
                _log.warning("could not look: %s", error)

    def _alive(self) -> Iterator[Fault]:
        age = self.pulse.age()
        if age > STUCK:
            yield Fault(
                "loop", f"the loop has not turned for {age:.0f} s", "end the process; it is started again and loses nothing"
            )

    def _faults(self) -> Iterator[Fault]:
        yield from self._alive()
        yield from self._ready()
        yield from (Fault(c.id, c.en, c.remedy_en) for c in self.standing if c.blocks)


def _told(condition: Condition, state: str) -> dict[str, Any]:
    return {"condition": condition.id, "subject": condition.subject, "severity": condition.severity, "state": state}


def certificate_ends(paths: Iterable[Path | None]) -> dict[str, int]:
    """Return certificate file → end of its validity (ms UTC); a file that cannot be read is left out, its user complains itself."""
    from cryptography.x509 import load_pem_x509_certificate

    ends = {}
    for path in paths:
        if path is None:
            continue
        try:
            ends[path.name] = round(load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp() * 1000)
        except (OSError, ValueError) as error:
            _log.warning("certificate %s cannot be read: %s", path, error)
    return ends
