"""What is said on a topic from now on, heard inside the event loop: reading blocks, and has a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from connectors.core import ConnectorError
from connectors.kafka import Cluster
from connectors.kafka_news import news


async def hear(cluster: Cluster, topic: str, heard: Callable[[bytes], None], stopping: threading.Event) -> None:
    """Call `heard` with every message until cancelled; ends with Lost if the topic can't be read."""
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()

    def read() -> None:
        try:
            for _, body in news(cluster, topic, stopping.is_set):
                loop.call_soon_threadsafe(heard, body)
        except ConnectorError as error:
            loop.call_soon_threadsafe(failed.set_exception, error)

    threading.Thread(target=read, name=topic, daemon=True).start()
    await failed
