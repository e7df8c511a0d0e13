from __future__ import annotations

import asyncio

import pytest

from connectors import trace

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


def test_a_sender_keeps_its_trace_and_gets_a_span_of_ours() -> None:
    made = trace.begin(GIVEN)
    assert made.startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")
    assert made.endswith("-00")  # the sender's decision not to sample
    assert made != GIVEN
    assert trace.trace_id() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert trace.headers() == [("traceparent", made.encode())]


@pytest.mark.parametrize(
    "given",
    [
        "",
        "rubbish",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n\r",
        "0" * 100_000,
    ],
)
def test_what_the_standard_says_to_ignore_begins_a_new_trace(given: str) -> None:
    made = trace.begin(given)
    assert len(made) == 55
    assert "4bf92f35" not in made or given.strip() != given


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert "4bf92f3577b34da6a3ce929d0e0e4736" in trace.begin("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more")


def test_each_task_has_its_own_and_hands_it_on() -> None:
    async def one() -> tuple[str, str]:
        made = trace.begin()
        await asyncio.sleep(0)
        inner = await asyncio.create_task(_current())
        return made, inner

    async def both() -> list[tuple[str, str]]:
        return list(await asyncio.gather(one(), one()))

    (a, a_inner), (b, b_inner) = asyncio.run(both())
    assert a == a_inner
    assert b == b_inner
    assert a[3:35] != b[3:35]


async def _current() -> str:
    return trace.current()


def test_following_a_message_and_one_without_a_trace() -> None:
    trace.follow(GIVEN)
    assert trace.trace_id() == "4bf92f3577b34da6a3ce929d0e0e4736"
    trace.follow("")
    assert trace.headers() == []
    assert trace.trace_id() == ""
