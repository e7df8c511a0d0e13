"""A token bucket pays debts by waiting and never saves more than its burst."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.bucket import Bucket


def test_burst_then_rate() -> None:
    bucket = Bucket(rate=10, burst=5)
    assert [bucket.take(1, 0.0) for _ in range(5)] == [0.0] * 5
    assert bucket.take(1, 0.0) == 0.1
    bucket.give_back(1)
    assert bucket.take(1, 0.1) == 0.0
    assert bucket.take(5, 1000.0) == 0.0
    assert bucket.take(1, 1000.0) > 0


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 2)), max_size=40))
def test_who_waits_as_told_never_exceeds_the_rate(steps: list[tuple[int, float]]) -> None:
    bucket, now, taken = Bucket(rate=20, burst=10), 0.0, 0
    for count, pause in steps:
        now += pause
        now += bucket.take(count, now)
        taken += count
        assert taken <= 10 + 20 * now + 1e-6
