"""The same simple job in peers of the worker: the hourly mean of every series, with state, one reading a message.

    python -m tests.bench.kafka_peers faust|quix BOOTSTRAP TOPIC MESSAGES FOLDER

Prints readings a second from the first message to the last. Each is written as its own tutorial would write it: one message at a
time, state in the library's own table with a changelog, the mean of an hour sent on when the next hour begins. Runs in a virtual
environment that has the library and nothing of the product: quixstreams needs another confluent-kafka.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

HOUR_CHARS = 13
"""2026-11-23T10"""


class Rate:
    """Counts messages and ends the process at the last one."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.count, self.begun = wanted, 0, 0.0

    def one(self) -> None:
        self.count += 1
        if self.count == 1:
            self.begun = time.perf_counter()
        elif self.count == self.wanted:
            rate = round(self.wanted / (time.perf_counter() - self.begun))
            os.write(
                1, f"\n{json.dumps({'readings_per_second': rate})}\n".encode()
            )  # Faust has taken sys.stdout, and greets there
            os._exit(0)


def moved_on(state: dict[str, Any], row: dict[str, Any]) -> tuple[dict[str, Any], float | None]:
    """Return the state behind a reading, and the mean of the hour that it ends, if it ends one."""
    hour = row["time"][:HOUR_CHARS]
    if state.get("hour") == hour:
        return {"hour": hour, "sum": state["sum"] + row["value"], "n": state["n"] + 1}, None
    mean = state["sum"] / state["n"] if state else None
    return {"hour": hour, "sum": row["value"], "n": 1}, mean


def run_faust(bootstrap: str, topic: str, rate: Rate, folder: str) -> None:
    import faust

    app = faust.App(
        "peer-faust",
        broker=f"kafka://{bootstrap}",
        datadir=folder,
        topic_partitions=4,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
    )
    readings = app.topic(topic, value_serializer="json")
    means = app.topic("peer-faust-means", value_serializer="json", partitions=4)
    hours = app.Table("hours", default=dict, partitions=4)

    @app.agent(readings)
    async def job(stream: Any) -> None:
        async for row in stream:
            series = f"{row['site']}/{row['point']}/{row['factor']}"
            hours[series], mean = moved_on(hours[series], row)
            if mean is not None:
                await means.send(key=series, value=mean)
            rate.one()

    faust.Worker(app, loglevel="error").execute_from_commandline()


def run_quix(bootstrap: str, topic: str, rate: Rate, folder: str) -> None:
    from quixstreams import Application

    app = Application(
        broker_address=bootstrap, consumer_group="peer-quix", auto_offset_reset="earliest", state_dir=folder, loglevel="ERROR"
    )
    readings = app.topic(topic, value_deserializer="json", key_deserializer="str")
    means = app.topic("peer-quix-means", value_serializer="json", key_serializer="str")

    def job(row: dict[str, Any], state: Any) -> float | None:
        series = f"{row['point']}/{row['factor']}"
        now, mean = moved_on(state.get(series, {}), row)
        state.set(series, now)
        rate.one()
        return mean

    table = app.dataframe(readings).apply(job, stateful=True)
    table.filter(lambda mean: mean is not None).to_topic(means)
    app.run()


PEERS = {"faust": run_faust, "quix": run_quix}

if __name__ == "__main__":
    which, at, name, messages, where = sys.argv[1:]
    sys.argv[1:] = []
    PEERS[which](at, name, Rate(int(messages)), where)
