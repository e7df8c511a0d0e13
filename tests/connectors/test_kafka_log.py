"""The gateway's log on a real broker that goes away and comes back, and its spool."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.core import HJ212, Lost, Record, Retry
from connectors.kafka import Cluster
from connectors.kafka_log import KafkaLog
from connectors.spool import Spool
from tests.real.certs import Certs
from tests.real.kafka import Kafka, need_kafka
from tests.streams.kafka_world import everything, make_topics

TOPIC = "emission-monitoring"
NOW = 1_790_000_000_000


def records(first: int, last: int) -> list[Record]:
    """Make records of one site, numbered in their bodies."""
    return [Record(TOPIC, "S1", -1, HJ212, b"%d" % n) for n in range(first, last)]


class TestSpool:
    def test_first_in_first_out_over_restarts(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path / "s.sqlite", bound=1000)
        spool.put(records(0, 3))
        spool.put(records(3, 5))
        spool.close()
        again = Spool(tmp_path / "s.sqlite", bound=1000)
        assert (again.count, again.bytes) == (5, 5)
        batch = again.first(4)
        assert [record for _, record in batch] == records(0, 4)
        again.drop(batch[-1][0])
        assert [record.body for _, record in again.first(9)] == [b"4"]
        assert (again.count, again.bytes) == (1, 1)
        again.close()

    def test_a_full_spool_takes_nothing_more_and_says_what_to_do(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path / "s.sqlite", bound=4)
        spool.put(records(0, 3))
        with pytest.raises(Retry, match="raise the bound"):
            spool.put(records(3, 5))
        assert spool.count == 3
        spool.drop(2)
        spool.put(records(3, 5))
        assert [record.body for _, record in spool.first(9)] == [b"2", b"3", b"4"]
        spool.close()

    def test_a_file_that_is_no_spool(self, tmp_path: Path) -> None:
        (tmp_path / "s.sqlite").write_bytes(b"no database" * 99)
        with pytest.raises(Lost, match=r"s\.sqlite"):
            Spool(tmp_path / "s.sqlite", bound=4)


@pytest.fixture
def broker(tmp_path: Path, certs: Certs) -> Iterator[Kafka]:
    """Give a broker that the test may stop."""
    need_kafka()
    with Kafka(tmp_path / "kafka", certs=certs) as made:
        yield made


def open_log(cluster: Cluster, path: Path, *, bound: int = 1 << 20) -> KafkaLog:
    return KafkaLog(cluster, Spool(path / "spool.sqlite", bound=bound), partitions=2, clock=lambda: NOW)


async def drained(log: KafkaLog) -> None:
    async with asyncio.timeout(60):
        while log.spooling:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.05)


@pytest.mark.servers
def test_nothing_is_lost_or_out_of_order_while_the_broker_is_away(broker: Kafka, tmp_path: Path) -> None:
    cluster = broker.cluster()
    make_topics(cluster, 2)

    async def live() -> None:
        log = open_log(cluster, tmp_path)
        await asyncio.gather(*(log.append(r) for r in records(0, 50)))
        assert not log.spooling
        await asyncio.to_thread(broker.kill)
        await asyncio.gather(*(log.append(r) for r in records(50, 80)))
        assert log.spool.count == 30, "acknowledged once they are on disk"
        await log.close()
        log.spool.close()

        after = open_log(cluster, tmp_path)  # the gateway was started again meanwhile
        assert after.spooling
        await asyncio.gather(*(after.append(r) for r in records(80, 100)))
        assert after.spool.count == 50
        broker.start()
        await drained(after)
        await after.append(*records(100, 110))
        assert after.counters["delivered"] >= 10
        await after.close()
        with pytest.raises(Lost):
            after.append(*records(0, 1))
        after.spool.close()

    asyncio.run(live())
    found = everything(cluster, TOPIC)
    assert [int(m.value()) for m in found] == list(range(110))
    assert {dict(m.headers())["arrived"] for m in found} == {b"%d" % NOW}


@pytest.mark.servers
def test_a_full_spool_refuses_and_the_sender_may_try_again(broker: Kafka, tmp_path: Path) -> None:
    cluster = broker.cluster()
    make_topics(cluster, 2)

    async def live() -> None:
        log = open_log(cluster, tmp_path, bound=3)
        broker.kill()
        await log.append(*records(0, 3))
        with pytest.raises(Retry, match="spool"):
            await log.append(*records(3, 5))
        assert log.counters == {"spooled": 3, "refused": 2}
        await log.close()
        log.spool.close()

    asyncio.run(live())
