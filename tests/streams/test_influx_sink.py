"""Messages of the topic `history` fill a real InfluxDB, through an outage, however often they come."""

from __future__ import annotations

import asyncio
import logging

import pyarrow as pa
import pytest

from connectors.core import Retry
from connectors.influx import Influx
from streams import history
from streams.faust_app import Message
from streams.history_influx import InfluxHistory
from streams.influx_sink import influx_sink
from tests.real.influx import InfluxServer
from tests.streams.driven import DAY, T0, Product, rt

pytestmark = pytest.mark.servers


def message(offset: int, kind: str, table: pa.Table) -> Message:
    headers = {"kind": kind.encode()}
    return Message("history", offset % 2, offset, b"0", history.pack(table), headers, T0)


def messages() -> list[Message]:
    """Give the history of an hour and a half, a few minutes a message, with frames that are not for charts."""
    product = Product()
    for start in range(0, 90, 10):
        product.feed([rt(m, 50.0 + m, at=f"S{m % 3}/DA001/a21026") for m in range(start, start + 10)], tick=start + 10)
    product.feed([], tick=150)
    told = []
    for out in product.outputs:
        made = {
            history.READINGS: history.readings_table([out], product.state, ()),
            history.WINDOWS: history.windows_table([out], product.state),
            history.FRAMES: history.frames_table([]),
        }
        told += [(kind, table) for kind, table in made.items() if table is not None]
    return [message(offset, kind, table) for offset, (kind, table) in enumerate(told)]


def test_an_outage_is_bridged_and_repeats_change_nothing(influx_own: InfluxServer) -> None:
    told = messages()
    with Influx(influx_own.url, influx_own.org, influx_own.token) as client:
        kept = InfluxHistory(client, "offsite", lambda: T0 + DAY, {"realtime": 0})
        sink = influx_sink(kept)
        influx_own.stop()
        with pytest.raises(Retry):
            asyncio.run(sink.take(told[:5]))
        influx_own.start()
        for batch in (told[:5], told[3:12], told[12:], told):
            asyncio.run(sink.take(batch))
        for site in range(3):
            values = kept.series(f"S{site}", "DA001", "a21026", T0, T0 + DAY, "realtime")["value"].to_pylist()
            assert values == [50.0 + m for m in range(90) if m % 3 == site]
        assert (
            len(list(kept.rows(history.WINDOWS)))
            == sum(history.unpack(m.value).num_rows for m in told if m.headers["kind"] == b"windows")
            > 0
        )


def test_refused_lines_are_logged_and_stop_nothing(influx: InfluxServer, caplog: pytest.LogCaptureFixture) -> None:
    product = Product()
    product.feed([rt(0, 1.0, at=f"{'x' * 70_000}{n}/P/f") for n in range(5)] + [rt(0, 2.0)])
    table = history.readings_table(product.outputs, product.state, ())
    assert table is not None
    with Influx(influx.url, influx.org, influx.token) as client, caplog.at_level(logging.WARNING):
        kept = InfluxHistory(client, "sink", lambda: T0 + DAY, {"realtime": 0})
        asyncio.run(influx_sink(kept).take([message(0, history.READINGS, table)]))
        assert kept.series("S1", "DA001", "a21026", T0, T0 + DAY)["value"].to_pylist() == [2.0]
    assert "max key length" in caplog.text
    assert "refuses 5 lines" in caplog.text
