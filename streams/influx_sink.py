"""Chart history as a sink of the agents: committed messages of the topic `history` enter, and are in InfluxDB on return.

Putting messages again changes nothing, so the sink is simply called again after any failure; while the server is away it waits, and
the archive, alerts and leads wait for nothing. Lines that the server refuses are logged with its reason; the archive has them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence

import pyarrow as pa

from connectors.influx import Unwritten
from streams import history
from streams.faust_app import Message, Sink
from streams.history_influx import TAGS, InfluxHistory
from streams.topics import HISTORY

NAME = "influx"
MOST = 500
"""Messages a batch at most; a batch is one write for each kind."""
SHOWN = 3
"""Refused lines of a batch that are logged."""
_log = logging.getLogger("offsite")


def influx_sink(kept: InfluxHistory) -> Sink:
    """Return the sink that fills `kept`; its first batch makes the buckets. Its `take` raises Retry while the server is away."""
    prepared = False

    def put(messages: Sequence[Message]) -> None:
        nonlocal prepared
        if not prepared:
            kept.prepare()
            prepared = True
        tables: dict[str, list[pa.Table]] = defaultdict(list)
        for message in messages:
            tables[message.headers.get("kind", b"").decode("latin-1")].append(history.unpack(message.value))
        for kind in TAGS:
            if tables[kind]:
                written = kept.put(kind, pa.concat_tables(tables[kind], promote_options="permissive"))
                _tell(kind, written.refused)

    async def take(messages: Sequence[Message]) -> None:
        await asyncio.to_thread(put, messages)

    return Sink(NAME, (HISTORY,), take, MOST)


def _tell(kind: str, refused: Sequence[Unwritten]) -> None:
    for line, reason in refused[:SHOWN]:
        _log.warning("InfluxDB refuses a line of %s: %s: %r", kind, reason[:200], line[:200])
    if len(refused) > SHOWN:
        _log.warning("InfluxDB refuses %d lines of %s in one batch", len(refused), kind)
