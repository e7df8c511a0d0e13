"""The judging worker: consume, judge, and commit outputs, state and input offsets in one Kafka transaction a step.

Records of the partitions that the group gives it enter; alerts, leads, history, dead letters and state leave (promise 2).
Crash-only: what is revoked is dropped from memory, what is assigned is restored from the changelog before its first record is
read, and a worker that was fenced or can't commit ends. Its supervisor starts it again under the same name.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Protocol

import orjson

from connectors.core import ARROW, JSON, Clock, Lost, Retry
from connectors.kafka import CONTENT_TYPE, Cluster
from connectors.kafka_changelog import read_back
from connectors.kafka_inputs import Inputs
from connectors.kafka_topics import Known, describe
from connectors.kafka_transaction import Headers, Transactions
from streams.changelog import check, messages, restored
from streams.commit import Failed, Halving, Step, run_step
from streams.dead_letters import DeadLetter
from streams.partition import Partition
from streams.plan.load import Plan
from streams.topics import DEAD_LETTERS, HISTORY, INPUTS, LIVE_STATE, SUMMARIES
from streams.vitals import Vitals

_log = logging.getLogger("offsite")
GROUP = "workers"
LIMIT = 20_000
"""Records of a partition that a step takes at most."""
POLL = 40_000
"""Records that a step takes in at most. A step stores every row of state that it touched, once: catching up goes by large steps."""
WAITING_BYTES = 32 << 20
"""Bytes of one input that wait in memory for another: beyond them no more is fetched of it."""
Assigned = Callable[[Sequence[int]], Mapping[int, Mapping[str, int]]]
OUTPUTS = {"alert": "alerts", "lead": "leads"}


@dataclass(frozen=True, slots=True)
class Setting:
    """How a worker runs. `name` is its own among the workers and stays the same over restarts."""

    name: str
    infer: bool = False
    session_ms: int = 10_000
    pause: float = 0.05
    """Seconds to wait for records when there are few: a step costs the same for ten as for a thousand."""


class Links(Protocol):
    """What ties a worker to a log: the real ones are `KafkaLinks`, the simulator has its own."""

    def topics(self) -> Mapping[str, Known]:
        """Return the input topics. Raises Lost where they can't be used."""

    def transactions(self) -> Transactions:
        """Open the worker's transactions; every earlier worker of its name is fenced."""

    def inputs(self, assigned: Assigned, revoked: Callable[[], None]) -> Inputs:
        """Join the group."""

    def read_back(self, number: int) -> Iterable[tuple[bytes, bytes | None]]:
        """Return what is committed in a partition of the changelog. Raises Retry while a transaction is open."""


@dataclass(frozen=True, slots=True)
class KafkaLinks:
    """The links to a real cluster."""

    cluster: Cluster
    setting: Setting

    def topics(self) -> Mapping[str, Known]:
        """Ask the cluster."""
        return known_topics(self.cluster)

    def transactions(self) -> Transactions:
        """Open a transactional producer."""
        return Transactions(self.cluster, f"worker-{self.setting.name}")

    def inputs(self, assigned: Assigned, revoked: Callable[[], None]) -> Inputs:
        """Open a consumer."""
        name, session_ms = self.cluster.named(self.setting.name), self.setting.session_ms
        return Inputs(self.cluster, INPUTS, group=GROUP, instance=name, assigned=assigned, revoked=revoked, session_ms=session_ms)

    def read_back(self, number: int) -> Iterable[tuple[bytes, bytes | None]]:
        """Read to the high watermark."""
        return list(read_back(self.cluster, LIVE_STATE, number))


class Worker:
    """One worker. `clock` gives log time while the inputs are idle, `seconds` counts waits."""

    def __init__(
        self, links: Links, plan: Plan, setting: Setting, *, clock: Clock, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self.plan, self.setting = plan, setting
        self._links, self._clock, self._seconds = links, clock, seconds
        self.topics = links.topics()
        self.parts: dict[int, Partition] = {}
        self.vitals = Vitals(seconds)
        self._halvings: dict[int, Halving] = {}
        self._held: set[tuple[str, int]] = set()
        self._transactions = links.transactions()
        self._inputs = links.inputs(self._assigned, self._revoked)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Run until `stopped`; the step under way is finished. Raises Lost: the process has to end."""
        while not stopped():
            self.run_once()

    def close(self) -> None:
        """Leave off, once the last step is durable. Raises Lost if it is not."""
        try:
            self._transactions.settle()
        finally:
            self._inputs.close()

    def run_once(self) -> int:
        """Take in what has come and run a step; return how many records were judged.

        The step is committed while the next one is judged; with nothing to judge it is waited for.
        """
        polled = self._inputs.poll(POLL, self.setting.pause)
        for number, run in groupby(polled.records, key=attrgetter("partition")):
            self.parts[number].put(list(run))
        for topic, number, _offset in polled.ends:
            self.parts[number].merge.end(topic)
        self.vitals.begin()
        try:
            done = run_step(self.parts.values(), self, LIMIT)
        except Failed as failed:
            self._failed(failed)
            return 0
        if not done:
            self._transactions.settle()
        self._back_pressure()
        for part in self.parts.values():
            part.halving.passed(done)
            if part.engine.plan_named not in (None, self.plan.hash):
                self._transactions.settle()
                raise Lost(
                    f"from here on the log is judged by plan {part.engine.plan_named}; start the worker with it (`--plan`)"
                )
        return done

    def end(self, topic: str, partition: int) -> int:
        """Return the offset at which an input ends, as far as the broker has told; 0 before it has."""
        return self._inputs.end(topic, partition)

    # --- the store of a step

    def commit(self, steps: Sequence[Step]) -> None:
        """Begin to commit the steps in one transaction, once the one before is durable."""
        put = self._transactions.put
        self._transactions.begin()
        offsets: dict[tuple[str, int], int] = {}
        for step in steps:
            number = step.partition
            for topic, key, value, headers in _messages(step):
                put(topic, 0 if topic == SUMMARIES else number, key, value, headers)
            for name, chunk in messages(step.chunks):
                put(LIVE_STATE, number, name, chunk)
            offsets |= {(topic, number): offset for topic, offset in self.parts[number].merge.positions.items()}
        self._transactions.hand_over(offsets, self._inputs.membership())
        self.vitals.done(steps)

    # --- partitions

    def _assigned(self, numbers: Sequence[int]) -> Mapping[int, Mapping[str, int]]:
        for number in numbers:
            self.parts[number] = self._restore(number)
        self.vitals.assigned(numbers)
        return {number: self.parts[number].merge.positions for number in numbers}

    def _revoked(self) -> None:
        self._transactions.settle()
        self.parts.clear()
        self._held.clear()

    def _restore(self, number: int) -> Partition:
        """Make a partition's memory from the changelog, once all that was handed over is in it."""
        self._transactions.settle()
        started = self._seconds()
        found = restored(self._read_back(number))
        ids = {topic: known.id for topic, known in self.topics.items()}
        partitions = self.topics[INPUTS[0]].partitions
        check(found.position, ids, partitions, self.plan.hash)
        part = Partition(
            number,
            found,
            self.plan,
            ids=ids,
            partitions=partitions,
            clock=self._clock,
            seconds=self._seconds,
            infer=self.setting.infer,
            halving=self._halvings.setdefault(number, Halving()),
            costs=self.vitals.costs,
        )
        _log.info("partition %d restored in %.1f s: %d series", number, self._seconds() - started, len(part.engine.state.table))
        return part

    def _read_back(self, number: int) -> Iterable[tuple[bytes, bytes | None]]:
        while True:
            try:
                return self._links.read_back(number)
            except Retry as late:
                _log.warning("%s; it is read again", late)

    def _failed(self, failed: Failed) -> None:
        """Restore the partition whose judge failed, and let it try again by halves."""
        assert isinstance(failed.part, Partition)
        number = failed.part.number
        _log.error(
            "the judge failed on partition %d: %s; it is restored and tries by halves", number, failed, exc_info=failed.error
        )
        self._halvings[number].failed(failed.records, failed.error)
        self.parts[number] = self._restore(number)
        self._inputs.seek(number, self.parts[number].merge.positions)

    def _back_pressure(self) -> None:
        """Fetch no more of an input of which too much waits, until it has been judged."""
        full = {
            (topic, number)
            for number, part in self.parts.items()
            for topic, each in part.merge.inputs.items()
            if each.bytes > WAITING_BYTES
        }
        self._inputs.hold(full - self._held, on=True)
        self._inputs.hold(self._held - full, on=False)
        self._held = full


def known_topics(cluster: Cluster) -> dict[str, Known]:
    """Return the input topics. Raises Lost where they can't be used."""
    found = describe(cluster, (*INPUTS, LIVE_STATE))
    counts = {topic: known.partitions for topic, known in found.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{topic} {count}" for topic, count in counts.items())
        raise Lost(
            f"the inputs and {LIVE_STATE} need the same number of partitions, but have: {told}; see `offsite topics check`"
        )
    return {topic: found[topic] for topic in INPUTS}


Message = tuple[str, str, bytes, Headers]
"""Topic, key, value, headers."""


def _messages(step: Step) -> Iterator[Message]:
    """Yield what a step puts out, besides its state: outputs, ticks, history, dead letters, the question about silence."""
    as_json: Headers = {CONTENT_TYPE: JSON}
    for kind, site, body in step.outputs:
        yield OUTPUTS[kind], site, orjson.dumps(body), as_json
    for record in step.records:
        if record.offset < 0:
            yield record.topic, record.key, record.body, as_json
    for kind, packed in step.history.items():
        yield HISTORY, str(step.partition), packed, {CONTENT_TYPE: ARROW, "kind": kind}
    for reject in step.rejects:
        letter = DeadLetter.of(step.records[reject.frame], reject)
        yield DEAD_LETTERS, letter.key, *letter.to_message()
    if step.summary is not None:
        yield SUMMARIES, str(step.partition), orjson.dumps(step.summary.to_json(step.partition, step.books)), as_json
