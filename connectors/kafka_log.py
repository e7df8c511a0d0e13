"""The gateway's way into Kafka: records in, and word when they are durable (promise 1: acks=all, or on the spool's disk).

While the brokers answer, records go to them directly. Once one fails, everything goes to the spool, so that order is kept; it
catches up in order, and when it is empty records go directly again. When the spool is full, `append` raises Retry: devices get
no answer, HTTP gets 503, and both send again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from confluent_kafka import KafkaException, Producer

from connectors import trace
from connectors.core import Clock, ConnectorError, Lost, Record, Refused, Retry
from connectors.kafka import ARRIVED, CONTENT_TYPE, Cluster, partition_of, translate
from connectors.spool import Spool

_log = logging.getLogger("offsite")
ANSWER_MS = 5_000
"""How long brokers may take for one record before it goes to the spool."""
AT_ONCE = 2_000
WAIT = 1.0


Letter = Callable[[Record], tuple[Record, Mapping[str, str | bytes | None]]]


def plain(record: Record) -> tuple[Record, Mapping[str, str | bytes | None]]:
    """Send a record as it is."""
    return record, {}


class KafkaLog:
    """The counterpart of `connectors.log_writer.LogWriter`. Create it inside the event loop that will append.

    `partitions` is how many each input has; `clock` stamps `arrived` on records that have none; `letter` gives the form in which
    a record is sent, with the headers it has beside its content type.
    """

    def __init__(self, cluster: Cluster, spool: Spool, *, partitions: int, clock: Clock, letter: Letter = plain) -> None:
        self.spool, self.counters = spool, Counter[str]()
        self._letter = letter
        self._cluster, self._partitions, self._clock = cluster, partitions, clock
        self._loop = asyncio.get_running_loop()
        self._disk = ThreadPoolExecutor(1, "spool")
        self._under_way: dict[asyncio.Future[int], int] = {}
        self._closing = False
        self._turn: list[tuple[Sequence[Record], asyncio.Future[int]]] = []
        self._producer = self._connected()
        self._tasks = [self._loop.create_task(self._poll()), self._loop.create_task(self._drain())]

    @property
    def waiting(self) -> int:
        """How many records have no answer yet."""
        return sum(self._under_way.values())

    @property
    def spooling(self) -> bool:
        """Say whether records go to the spool."""
        return self.spool.count > 0 or bool(self._turn)

    def append(self, *records: Record) -> asyncio.Future[int]:
        """Send records; awaiting the result returns once all are durable. Raises Retry (spool full) or Lost (closed)."""
        if self._closing:
            raise Lost("the log is closed: the process is ending")
        now = self._clock()
        stamped = [record if record.arrived >= 0 else _at(record, now) for record in records]
        future: asyncio.Future[int] = self._loop.create_future()
        self._under_way[future] = len(stamped)
        future.add_done_callback(self._under_way.pop)
        if not stamped:
            future.set_result(-1)
        elif self.spooling:
            self._to_spool(stamped, future)
        else:
            _Sending(self, stamped, future).start()
        return future

    async def close(self) -> None:
        """Refuse new records; what is under way is answered first."""
        self._closing = True
        await asyncio.gather(*self._under_way, return_exceptions=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._disk.shutdown()

    def _connected(self) -> Producer:
        return Producer(
            self._cluster.librdkafka(
                client_id="gateway",
                acks="all",
                enable_idempotence=True,
                compression_type="lz4",
                linger_ms=2,
                message_max_bytes=16 << 20,
                delivery_timeout_ms=ANSWER_MS,
                queue_buffering_max_kbytes=256 << 10,
                partitioner="murmur2",
            )
        )

    # --- sending

    def send(self, record: Record, told: Any) -> None:
        """Hand one record to the client; `told(error, message)` is called in the event loop. Raises Refused or Retry."""
        sent, more = self._letter(record)
        partition = partition_of(sent.key, self._partitions) if sent.key else 0
        headers = {CONTENT_TYPE: sent.content_type, ARRIVED: str(sent.arrived), **dict(trace.headers()), **more}
        try:
            self._producer.produce(self._cluster.named(sent.topic), sent.body, sent.key, partition, told, headers=headers)
        except BufferError as full:
            raise Retry("the brokers are slower than the input") from full
        except KafkaException as error:
            raise translate(error.args[0], f"writing to {record.topic}") from error

    async def _poll(self) -> None:
        """Let the client call back, in this loop."""
        while True:
            self._producer.poll(0)
            await asyncio.sleep(0.002 if len(self._producer) else 0.02)

    # --- spooling

    def _to_spool(self, records: Sequence[Record], future: asyncio.Future[int]) -> None:
        """Queue records for the disk: all of one turn of the loop share an fsync."""
        if not self._turn:
            self._loop.call_soon(lambda: self._loop.create_task(self._write()))
        self._turn.append((records, future))

    async def _write(self) -> None:
        turn, failure = list(self._turn), None
        try:
            await self._loop.run_in_executor(self._disk, self.spool.put, [r for records, _ in turn for r in records])
        except ConnectorError as error:
            failure = error
        del self._turn[: len(turn)]
        self.counters["refused" if failure else "spooled"] += sum(len(records) for records, _ in turn)
        for _, future in turn:
            if future.done():
                continue
            if failure is None:
                future.set_result(-1)
            else:
                future.set_exception(failure)
        if self._turn:
            await self._write()

    async def _drain(self) -> None:
        """Carry the spool to the brokers, oldest first, a batch at a time."""
        while True:
            batch = self.spool.first(AT_ONCE) if self.spool.count else []
            if not batch:
                await asyncio.sleep(WAIT / 10)
                continue
            records = [record for _, record in batch]
            done: asyncio.Future[int] = self._loop.create_future()
            _Sending(self, records, done, spooled=True).start()
            try:
                await done
            except ConnectorError as away:
                _log.warning("%d records wait in the spool: %s", self.spool.count, away)
                await asyncio.sleep(WAIT)
                if isinstance(away, Lost):  # the client gave up for good: a new one goes on
                    self._producer = self._connected()
                continue
            await self._loop.run_in_executor(self._disk, self.spool.drop, batch[-1][0])
            self.counters["caught_up"] += len(records)


class _Sending:
    """Some records on their way together: the future is done when all are durable."""

    def __init__(self, log: KafkaLog, records: Sequence[Record], future: asyncio.Future[int], *, spooled: bool = False) -> None:
        self._log, self._records, self._future, self._spooled = log, records, future, spooled
        self._open = len(records)
        self._failure: ConnectorError | None = None

    def start(self) -> None:
        """Hand all to the client."""
        for number, record in enumerate(self._records):
            try:
                self._log.send(record, self._told)
            except ConnectorError as error:
                self._failure = error
                self._open -= len(self._records) - number
                break
        self._finish()

    def _told(self, error: Any, _message: Any) -> None:
        self._open -= 1
        if error is not None:
            self._failure = translate(error, "delivering to the log")
        self._finish()

    def _finish(self) -> None:
        """Answer, once nothing is open: by the brokers' word, or by the spool's."""
        if self._open > 0 or self._future.done():
            return
        if self._failure is None:
            self._log.counters["delivered"] += len(self._records)
            self._future.set_result(-1)
        elif self._spooled or isinstance(self._failure, Refused):
            self._future.set_exception(self._failure)
        else:
            self._log._to_spool(self._records, self._future)  # noqa: SLF001 - its other half


def _at(record: Record, now: int) -> Record:
    return Record(record.topic, record.key, now, record.content_type, record.body)
