"""The outbound queue on both databases, and its worker: put once, in order, nothing lost, books that agree with the rows."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from connectors.core import JSON, Lost, Refused, Retry
from connectors.outbound import Queue
from connectors.outbound_entries import POSTPONED, Entry, Item, Outcome
from connectors.outbound_tables import items
from connectors.outbound_worker import Worker
from connectors.outputs import Common, Delivery

ME = "this process"


def entry(n: int | None, key: str = "S1", kind: str = "alert", at: int = 0) -> Entry:
    return Entry(kind, key, n, JSON, b'{"n":%d}' % (n or 0), at)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.servers)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/outbound.sqlite"
    return str(request.getfixturevalue("postgres").url())


@pytest.fixture
def queue(url: str) -> Iterator[Queue]:
    made = Queue(url)
    yield made
    made.close()


def waiting(queue: Queue, target: str = "t", key: str = "S1", **more: Any) -> list[Item]:
    return queue.next(target, [key], 100, **more)[key]


def settle(queue: Queue, item: Item, fate: str, retry_at: int = 0) -> bool:
    return queue.settle(item.target, ME, [Outcome(item, fate, f"was {fate}", 1000, retry_at)])


def balanced(queue: Queue) -> None:
    """Check the books against the rows."""
    for target, book in queue.books().items():
        assert book["queued"] == book["sent"] + book["waiting"] + book["refused"] + book["expired"]
        rows = queue.log(target, limit=100_000)
        for state in ("sent", "waiting", "refused", "expired"):
            assert sum(row["state"] == state for row in rows) == book[state], (target, state)


def test_what_is_offered_again_is_queued_once(queue: Queue) -> None:
    assert queue.put("t", [entry(1), entry(2), entry(2)]) == 2
    assert queue.put("t", [entry(1), entry(2), entry(3)]) == 1
    assert queue.put("t", [entry(1, kind="lead")]) == 1  # no order between kinds
    assert queue.put("other", [entry(1)]) == 1
    assert queue.put("t", [entry(None), entry(None)]) == 1
    assert queue.put("t", [entry(None)]) == 0
    assert [(i.kind, i.ident) for i in waiting(queue)][:4] == [("alert", "1"), ("alert", "2"), ("alert", "3"), ("lead", "1")]
    balanced(queue)


def test_what_was_sent_and_forgotten_is_still_known_by_its_sequence(queue: Queue) -> None:
    queue.put("t", [entry(1), entry(2)])
    queue.lease("t", ME, 0, 10_000)
    assert all(settle(queue, item, "sent") for item in waiting(queue))
    assert queue.trim(5_000) == 2
    assert queue.log("t") == []
    assert queue.put("t", [entry(1), entry(2)]) == 0
    assert queue.books()["t"]["queued"] == queue.books()["t"]["sent"] == 2


def test_cursor_and_entries_are_one_transaction(queue: Queue) -> None:
    assert queue.cursor("t", "log", 7) == 7
    assert queue.cursor("t", "log", 99) == 7  # where it began is kept
    queue.put("t", [entry(1)], cursor=("log", 8))
    with pytest.raises(Retry, match="raise `bound`"):
        queue.put("t", [entry(2)], cursor=("log", 9), bound=1)
    assert queue.cursor("t", "log", 0) == 8
    assert "1 wait" in queue.books()["t"]["full"]
    assert queue.put("t", [entry(2)], cursor=("log", 9), bound=2) == 1
    assert queue.books()["t"]["full"] is None


def test_a_target_that_is_not_to_wait_refuses_visibly(queue: Queue) -> None:
    queue.put("t", [entry(1)])
    assert queue.put("t", [entry(2), entry(3)], bound=1, cursor=("log", 3), skip=True) == 0
    book = queue.books()["t"]
    assert (book["queued"], book["waiting"], book["refused"]) == (3, 1, 2)
    assert queue.cursor("t", "log", 0) == 3
    assert queue.put("t", [entry(2)]) == 0  # it was refused for good


def test_a_key_waits_as_a_whole_and_others_do_not(queue: Queue) -> None:
    queue.put("t", [entry(1, "A"), entry(2, "A"), entry(3, "B")])
    queue.lease("t", ME, 0, 10_000)
    settle(queue, waiting(queue, key="A")[0], POSTPONED, retry_at=500)
    assert queue.due("t", 499) == ["B"]
    assert sorted(queue.due("t", 500)) == ["A", "B"]
    assert [(i.ident, i.attempts) for i in waiting(queue, key="A")] == [("1", 1), ("2", 0)]
    assert queue.books()["t"]["fault"] == "was postponed"
    settle(queue, waiting(queue, key="A")[0], "sent")
    assert queue.books()["t"]["fault"] is None
    balanced(queue)


def test_live_entries_first(queue: Queue) -> None:
    queue.put("t", [entry(1, at=10), entry(2, at=20), entry(3, at=100), entry(4, at=110)])
    assert [i.ident for i in waiting(queue, live_from=100)] == ["3", "4"]
    assert [i.ident for i in waiting(queue, live_from=1000)] == ["1", "2", "3", "4"]


def test_only_who_holds_the_lease_sends_and_settles(queue: Queue) -> None:
    queue.put("t", [entry(1)])
    assert queue.lease("t", ME, 1_000, 2_000)
    assert not queue.lease("t", "another", 1_500, 3_000)
    assert queue.lease("t", ME, 1_900, 2_900)
    assert queue.lease("t", "another", 3_000, 4_000)
    assert not settle(queue, waiting(queue)[0], "sent")  # a process that slept must not write into another's books
    assert queue.books()["t"]["sent"] == 0


def test_what_was_refused_can_be_sent_again(queue: Queue) -> None:
    queue.put("t", [entry(1), entry(2), entry(3, "B")])
    queue.lease("t", ME, 0, 10_000)
    for item in (*waiting(queue), *waiting(queue, key="B")):
        settle(queue, item, "refused")
    queue.stop("t", "410")
    assert queue.due("t", 10**9) == []
    assert queue.again("t", "S1") == 2
    assert queue.due("t", 0) == ["S1"]
    assert [i.body for i in waiting(queue)] == [b'{"n":1}', b'{"n":2}']
    assert queue.again("t") == 1
    balanced(queue)


def test_a_sent_body_is_dropped_and_its_log_stays(queue: Queue) -> None:
    queue.put("t", [entry(5, at=77)])
    queue.lease("t", ME, 0, 10_000)
    settle(queue, waiting(queue)[0], "sent")
    (row,) = queue.log("t", state="sent")
    assert {name: row[name] for name in ("key", "kind", "ident", "size", "at", "attempts", "answer", "done")} == {
        "key": "S1", "kind": "alert", "ident": "5", "size": 7, "at": 77, "attempts": 1, "answer": "was sent", "done": 1000,
    }  # fmt: skip
    with queue._db.read() as conn:
        assert conn.execute(sa.select(items.c.body)).scalar() is None


def test_the_books_balance_whatever_happens(queue: Queue) -> None:
    chance, seq = Random(4), 0
    queue.lease("t", ME, 0, 10**9)
    for _ in range(120):
        what = chance.choice(["put", "put", "put", "sent", "refused", "expired", POSTPONED, "again"])
        key = chance.choice("ABC")
        if what == "put":
            seq += 1
            full = contextlib.suppress(Retry)
            with full:
                queue.put("t", [entry(seq, key), entry(chance.randint(1, seq), key)], bound=15)
        elif what == "again":
            queue.again("t", chance.choice(["A", None]))
        elif found := waiting(queue, key=key):
            settle(queue, found[0], what)
        balanced(queue)


def test_a_database_that_is_away_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(Lost, match="cannot be used"):
        Queue(f"sqlite:///{tmp_path}/no/such/folder/x.sqlite")
    with pytest.raises(Retry, match="away"):
        Queue("postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=1")


# --- the worker


class Target:
    """An output that does what it is told, item by item, and keeps what it was sent."""

    takes, batch, parallel, live_ms = "events", 1, 8, None

    def __init__(self, name: str, act: Callable[[Item], Exception | None] = lambda item: None, **common: Any) -> None:
        self.common = Common(name, backoff=(0.001, 0.01), **common)
        self.act = act
        self.sent: list[Item] = []

    def wants(self, kind: str, key: str, body: bytes) -> str | None:
        return key

    async def deliver(self, items: Sequence[Item]) -> Delivery:
        fault = self.act(items[0])
        if isinstance(fault, (Retry, Refused, Lost)):
            return Delivery(fault=fault)
        if fault is not None:
            raise fault
        self.sent.append(items[0])
        return Delivery(["ok"])

    async def close(self) -> None:
        pass


def wall() -> int:
    return time.time_ns() // 1_000_000


async def work(queue: Queue, targets: Sequence[Any], until: Callable[[], bool]) -> None:
    """Run a worker a target until something holds."""
    workers = [Worker(queue, target, wall, owner=ME, chance=Random(1)) for target in targets]
    async with asyncio.timeout(30):
        tasks = [asyncio.create_task(worker.run()) for worker in workers]
        while not until():
            assert not any(task.done() for task in tasks)
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def left(queue: Queue, target: str) -> int:
    return int(queue.books()[target]["waiting"])


def test_order_of_a_key_holds_while_it_is_retried(queue: Queue) -> None:
    chance = Random(2)
    flaky = Target("t", lambda item: Retry("not now", 0.001) if chance.random() < 0.5 else None)
    queue.put("t", [entry(n, key, at=wall()) for n in range(1, 16) for key in ("A", "B", "C")])
    asyncio.run(work(queue, [flaky], lambda: left(queue, "t") == 0))
    for key in "ABC":
        assert [int(i.ident) for i in flaky.sent if i.key == key] == list(range(1, 16))
    assert queue.books()["t"]["sent"] == 45
    assert max(row["attempts"] for row in queue.log("t")) > 1
    balanced(queue)


def test_a_failing_target_delays_no_other_and_a_stuck_key_none_either(queue: Queue) -> None:
    dead = Target("dead", lambda item: Retry("unreachable", 60))
    half = Target("half", lambda item: Retry("stuck", 60) if item.key == "A" else None)
    good = Target("good")
    for target in (dead, half, good):
        queue.put(target.common.name, [entry(n, key, at=wall()) for n in range(1, 6) for key in ("A", "B")])
    asyncio.run(work(queue, [dead, half, good], lambda: left(queue, "good") == 0 and left(queue, "half") == 5))
    assert [i.key for i in half.sent] == ["B"] * 5
    assert queue.books()["dead"]["waiting"] == 10
    assert queue.books()["dead"]["fault"] == "unreachable"
    balanced(queue)


def test_each_fault_has_its_end(queue: Queue) -> None:
    odd = {"2": Refused("never this"), "4": ValueError("planted")}
    target = Target("t", lambda item: odd.pop(item.ident, None))
    queue.put("t", [entry(1, at=1), *(entry(n, at=wall()) for n in range(2, 6))])
    asyncio.run(work(queue, [target], lambda: left(queue, "t") == 0))
    assert [row["state"] for row in queue.log("t")] == ["expired", "refused", "sent", "sent", "sent"]
    assert [i.ident for i in target.sent] == ["3", "4", "5"]
    gone = Target("gone", lambda item: Lost("wants nothing more"))
    queue.put("gone", [entry(1, at=wall())])
    asyncio.run(work(queue, [gone], lambda: queue.books()["gone"]["stopped"] is not None))
    assert queue.books()["gone"]["stopped"] == "wants nothing more"
    gone.act = lambda item: None
    queue.again("gone")
    asyncio.run(work(queue, [gone], lambda: left(queue, "gone") == 0))
    balanced(queue)


def test_another_process_goes_on_where_one_has_stopped(queue: Queue) -> None:
    """A worker that ends lets go at once; one that was frozen loses its lease, and can write into nobody's books afterwards."""
    clock = [1_000_000]
    ends: list[list[str]] = [[], []]

    async def until(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not holds():  # noqa: ASYNC110 — a database is looked at
                await asyncio.sleep(0.01)

    async def scenario() -> None:
        frozen = asyncio.Event()

        class Slow(Target):
            async def deliver(self, items: Sequence[Item]) -> Delivery:
                if self.sent:
                    await frozen.wait()
                return await super().deliver(items)

        first, second = Slow("t"), Target("t")
        makers = ((first, "one"), (second, "two"))
        one, two = (Worker(queue, target, lambda: clock[0], owner=owner, chance=Random(1)) for target, owner in makers)
        queue.put("t", [entry(n, at=clock[0]) for n in range(1, 5)])
        tasks = [asyncio.create_task(one.run())]
        await until(lambda: left(queue, "t") == 3)
        tasks.append(asyncio.create_task(two.run()))
        await asyncio.sleep(0.3)
        assert second.sent == []
        one._held = lambda: asyncio.sleep(0, result=False)  # type: ignore[method-assign]  # frozen: it renews nothing
        clock[0] += 15_001
        await until(lambda: left(queue, "t") == 0)
        frozen.set()  # it wakes in the middle of a delivery
        await until(lambda: len(first.sent) > 1 and not one._outcomes)
        ends[:] = [[item.ident for item in target.sent] for target in (first, second)]
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        assert queue.lease("t", "three", clock[0] + 1, clock[0] + 2)
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)

    asyncio.run(scenario())
    assert ends[1] == ["2", "3", "4"]
    assert queue.books()["t"]["sent"] == 4
    balanced(queue)


def test_a_message_keeps_its_id_and_no_two_share_one(queue: Queue) -> None:
    queue.put("t", [entry(1), entry(2)])
    first, second = waiting(queue)
    assert first.message_id == waiting(queue)[0].message_id == replace(first, attempts=9, id=4).message_id
    assert first.message_id != second.message_id
