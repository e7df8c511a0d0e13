"""Deliberately broken builds of the product: what the simulator must catch, or its silence about the real one means nothing.

Each build replaces one part of the simulated world by one with a classic mistake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from connectors.core import ConnectorError, Lost, Record
from streams.commit import Step
from streams.state import SITE, Chunk
from tests.faults.world.io import Writer
from tests.faults.world.judge import Crash, Died, Durable, Judge, Store
from tests.faults.world.world import Build


class HastyWriter(Writer):
    """Acknowledges when it has taken a record, and writes it later."""

    def append(self, *records: Record) -> Any:
        future = super().append(*records)
        future.set_result(-1)
        return future

    def write(self) -> None:
        batch, self.queue = self.queue, []
        if not self.dead:
            try:
                self.log.append([record for records, _ in batch for record in records])
            except ConnectorError:  # nobody is left who could be told: this is the mistake
                return


class LeakyStore(Store):
    """Publishes outputs before the transaction that they belong to."""

    def commit(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self.put_outputs(self.disk, step)
        super().commit(steps)

    def put(self, disk: Durable, step: Step) -> None:
        self.put_chunks(disk, step)
        disk.position = step.records[-1].offset + 1


class EarlyJudge(Judge):
    """Commits the input position before the step that it stands for."""

    def judge(self, records: list[Record]) -> Step:
        self.store.disk.position = records[-1].offset + 1
        return super().judge(records)


class StaleStore(Store):
    """Restores the version before the last one of a chunk of state, as from a changelog that was read too early."""

    older: Mapping[tuple[str, str, int], bytes] = {}

    def put_chunks(self, disk: Durable, step: Step) -> None:
        before = dict(disk.chunks)
        super().put_chunks(disk, step)
        StaleStore.older = before

    def restored(self) -> list[Chunk]:
        slabs = {
            key: body
            for key, body in StaleStore.older.items()
            if key[0] == "slab" and key[1].startswith("grid:") and key in self.disk.chunks
        }
        return [chunk._replace(body=slabs.get(chunk[:3], chunk.body)) for chunk in super().restored()]


class ForgetfulStore(Store):
    """Does not keep the sites' output sequence."""

    def restored(self) -> list[Chunk]:
        return [self._without(chunk) if chunk[:2] == ("slab", "sites") else chunk for chunk in super().restored()]

    @staticmethod
    def _without(chunk: Chunk) -> Chunk:
        assert isinstance(chunk.body, bytes)
        sites = np.frombuffer(chunk.body, SITE).copy()
        sites["seq"] = 0
        return chunk._replace(body=sites.tobytes())


class TornStore(Store):
    """Writes a step piece by piece: a crash in the middle leaves half of it."""

    def commit(self, steps: Sequence[Step]) -> None:
        torn, self.crash = self.crash is Crash.IN_COMMIT, None if self.crash is Crash.IN_COMMIT else self.crash
        if torn:
            for step in steps:
                self.put_chunks(self.disk, step)
            raise Died
        super().commit(steps)


class OpenStore(Store):
    """Lets a judge that was replaced go on writing."""

    def commit(self, steps: Sequence[Step]) -> None:
        self._epoch = self.disk.epoch
        super().commit(steps)


class DeafWriter(Writer):
    """Takes every answer of a log for a yes, a full disk included."""

    def write(self) -> None:
        waiting = [future for _, future in self.queue]
        batch, self.queue = self.queue, []
        try:
            if batch and not self.dead:
                self.log.append([record for records, _ in batch for record in records])
        except Lost:
            self.dead = True
        except ConnectorError:
            self.dead = False
        for future in waiting:
            if not future.done():
                future.set_result(0)


BUILDS: Mapping[str, Build] = {
    "ack-before-durable": Build(writer=HastyWriter),
    "ack-on-full-disk": Build(writer=DeafWriter),
    "outputs-outside": Build(store=LeakyStore),
    "offset-early": Build(judge=EarlyJudge),
    "stale-chunk": Build(store=StaleStore),
    "seq-forgotten": Build(store=ForgetfulStore),
    "torn-step": Build(store=TornStore),
    "no-fence": Build(store=OpenStore),
}
"""Name → the broken build."""
