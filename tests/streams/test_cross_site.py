"""The common cause of many silent points (rules C.2): pure, idempotent, and said in words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.cross_site import Summary, answer
from streams.plan.load import CrossSite
from tests.streams.driven import PLAN, T0

RULE = PLAN.cross_site


def silent(n: int, operator: str = "甲", first: int = 0) -> dict[tuple[str, str], str]:
    return {(f"S{i}", "DA001"): operator for i in range(first, first + n)}


def test_three_of_ten_have_a_common_cause() -> None:
    assert answer(Summary(T0, {"甲": 10}, silent(3)), RULE) == dict.fromkeys(
        silent(3), "甲 的 10 个点位中 3 个同时中断，疑为共同原因（网络或平台）"
    )


def test_three_of_eleven_have_not() -> None:
    assert answer(Summary(T0, {"甲": 11}, silent(3)), RULE) == {}


def test_two_are_too_few_whatever_their_share() -> None:
    assert answer(Summary(T0, {"甲": 2}, silent(2)), RULE) == {}


def test_operators_are_counted_apart() -> None:
    found = answer(Summary(T0, {"甲": 4, "乙": 100}, silent(4) | silent(4, "乙", 10)), RULE)
    assert set(found) == set(silent(4))


def test_points_without_an_operator_share_one() -> None:
    assert "— 的 5 个点位中 3 个" in answer(Summary(T0, {"": 5}, silent(3, "")), RULE)["S0", "DA001"]


@given(st.integers(0, 12), st.integers(1, 20), st.floats(0.05, 1.0), st.integers(1, 5))
def test_it_answers_for_all_silent_points_or_for_none(n: int, known: int, share: float, least: int) -> None:
    n = min(n, known)
    summary = Summary(T0, {"甲": known}, silent(n))
    found = answer(summary, CrossSite(share=share, points=least))
    assert found == answer(summary, CrossSite(share=share, points=least))
    assert set(found) == (set(silent(n)) if n >= least and n >= share * known else set())
