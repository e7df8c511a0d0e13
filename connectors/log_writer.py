"""Group commit: many coroutines append, one thread writes everything queued in one transaction, then all of them go on.

Enters: records from the event loop. Leaves: their offsets, only once they are durable (promise 1). An fsync costs
milliseconds and is shared by all that waited for it, so that a thousand acknowledgements a second need only some hundred fsyncs.
"""

from __future__ import annotations

import asyncio
import queue
import threading

from connectors.core import ConnectorError, Log, Lost, Record, Retry

MAX_TRANSACTION = 10_000
"""Entries after which a transaction takes no more: the first to come are not kept waiting for the last of a burst."""

Entry = tuple[tuple[Record, ...], "asyncio.Future[int]"]


class LogWriter:
    """The asyncio side of a `Log`. At most `max_records` records and `max_bytes` bytes wait; beyond that `append` raises Retry.

    Create it inside the event loop that will append. What is appended in one turn of the loop travels to the thread together.
    A Lost from the log is given to everybody who waits and to all later callers: the process has to end, recovery takes over.
    """

    def __init__(self, log: Log, *, max_records: int = 100_000, max_bytes: int = 64 << 20) -> None:
        self.log = log
        self.commits = 0
        self.waiting = 0
        self._bytes = 0
        self._max_records, self._max_bytes = max_records, max_bytes
        self._loop = asyncio.get_running_loop()
        self._turn: list[Entry] = []
        self._queue: queue.SimpleQueue[list[Entry]] = queue.SimpleQueue()
        self._closing = False
        self._lost: Lost | None = None
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def append(self, *records: Record) -> asyncio.Future[int]:
        """Queue the records, to lie together in the log; awaiting the result gives the offset of the first, once durable.

        Raises Retry when the queue is full, Lost when the log is gone or closed; awaiting raises what the log raised.
        """
        if self._lost is not None:
            raise Lost(str(self._lost))
        if self._closing:
            raise Lost("the log is closed: the process is ending")
        size = _size(records)
        if self.waiting + len(records) > self._max_records or self._bytes + size > self._max_bytes:
            raise Retry("the log is behind: the disk is slower than the input; slow down")
        self.waiting += len(records)
        self._bytes += size
        if not self._turn:
            self._loop.call_soon(self._push)
        future: asyncio.Future[int] = self._loop.create_future()
        self._turn.append((records, future))
        return future

    async def close(self) -> None:
        """Refuse new records, write what is queued, end the thread. The log itself stays open."""
        if not self._closing:
            self._closing = True
            self._push()
            self._queue.put([])
        await asyncio.to_thread(self._thread.join)

    def _push(self) -> None:
        if self._turn:
            self._queue.put(self._turn)
            self._turn = []

    def _run(self) -> None:
        """Write until closed: all that has queued up meanwhile goes into one transaction."""
        more = True
        while more:
            batch = self._queue.get()
            more = bool(batch)
            while more and len(batch) < MAX_TRANSACTION and not self._queue.empty():
                turn = self._queue.get()
                more = bool(turn)
                batch += turn
            if batch:
                self._write(batch)

    def _write(self, batch: list[Entry]) -> None:
        error: ConnectorError | None = self._lost
        first = -1
        if error is None:
            try:
                first = self.log.append([record for records, _ in batch for record in records])
                self.commits += 1
            except ConnectorError as failure:
                error = failure
            except Exception as failure:  # noqa: BLE001 — whatever it is, nobody may be left waiting for ever
                error = Lost(f"the log failed: {failure!r}")
        if isinstance(error, Lost):
            self._lost = error
        self._loop.call_soon_threadsafe(self._resolve, batch, first, error)

    def _resolve(self, batch: list[Entry], first: int, error: ConnectorError | None) -> None:
        """Hand each waiter its offset or the error; who has gone away in the meantime is skipped."""
        offset = first
        for records, future in batch:
            if not future.done():
                if error is None:
                    future.set_result(offset)
                else:
                    future.set_exception(type(error)(str(error)))
            offset += len(records)
            self.waiting -= len(records)
            self._bytes -= _size(records)


def _size(records: tuple[Record, ...]) -> int:
    return sum(len(record.body) for record in records)
