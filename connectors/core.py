"""What every connector speaks: log records, and three errors named by the reaction they demand.

::

    Exception
    └── ConnectorError
        ├── Retry     the same call may succeed later: wait `after` seconds and repeat it
        ├── Refused   the same input will always be refused: put it aside with its reason
        └── Lost      the connection or the store is gone: end the process, recovery takes over

Third-party exceptions never leave the connector file that met them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

Clock = Callable[[], int]
"""Now, in int64 milliseconds UTC. Always an argument: no shell reads the wall clock by itself."""


class ConnectorError(Exception):
    """The root: a message that names the thing and the remedy."""


class Retry(ConnectorError):
    """The same call may succeed after `after` seconds."""

    def __init__(self, message: str, after: float = 1.0) -> None:
        super().__init__(message)
        self.after = after


class Refused(ConnectorError):
    """The same input will always be refused; the message says why and what to do."""


class Lost(ConnectorError):
    """The store or connection is gone; only a restart helps."""


@dataclass(slots=True, unsafe_hash=True)
class Record:
    """One entry of the log (in the distributed runtime: one Kafka message). Not frozen, which would cost 1 µs a message; nobody changes one.

    `topic` is a topic of design §3 (or `held` for frames of an unknown MN), `key` the site id (UTF-8), `arrived` the log time
    in ms UTC, stamped once when the log accepts the record, `content_type` says how to decode `body`.
    `offset` is -1 until the log has given one; offsets only grow, in Kafka within a topic's `partition`.
    """

    topic: str
    key: str
    arrived: int
    content_type: str
    body: bytes
    offset: int = -1
    partition: int = 0


class Log(Protocol):
    """An append-only log. `append` returns only after the records are durable (promise 1)."""

    def append(self, records: Sequence[Record]) -> int:
        """Make the records durable, in order; return the offset of the first. Raises Retry (disk full, locked) or Lost."""

    def read(self, start: int, limit: int) -> list[Record]:
        """At most `limit` records with offset >= `start`, in order; holds no snapshot after it returns."""

    def end(self) -> int:
        """Return the offset that the next record will get."""


HJ212 = "application/x-hj212"
"""Content type of one HJ 212 frame exactly as received (`##` … CRC, terminator dropped)."""
JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
