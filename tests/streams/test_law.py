"""The law of the day of the act (rules 0.1 and G)."""

from __future__ import annotations

from itertools import product

import pytest

from streams.law import clause_at, clauses
from streams.plan import load_plan
from tests.streams.driven import ms

LAST_OLD, FIRST_NEW = ms("2026-08-14T23:59:59+08:00"), ms("2026-08-15T00:00:00+08:00")


@pytest.mark.parametrize("key", sorted({r.clause for r in load_plan().rules} | {r.clause for r in load_plan().leads}))
@pytest.mark.parametrize("medium", ["gas", "water"])
def test_every_clause_of_the_plan_has_law_before_and_after_the_code(key: str, medium: str) -> None:
    before, after = clause_at(key, medium, LAST_OLD), clause_at(key, medium, FIRST_NEW)
    assert before.startswith("《")
    assert "生态环境法典" not in before
    assert after.startswith("《生态环境法典》")


def test_the_day_is_that_of_china() -> None:
    assert clause_at("G-01", "gas", ms("2026-08-14T15:59:59+00:00")) == "《大气污染防治法》第九十九条第二项"
    assert clause_at("G-01", "gas", ms("2026-08-14T16:00:00+00:00")) == "《生态环境法典》第一千一百零七条"
    assert clause_at("G-01", "water", LAST_OLD) == "《水污染防治法》第八十三条第二项"


def test_what_the_table_lacks_is_named_by_its_key() -> None:
    assert clause_at("G-99", "gas", FIRST_NEW) == "G-99"


def test_no_two_rows_speak_of_one_day() -> None:
    for a, b in product(clauses(), clauses()):
        if a is not b and a.key == b.key and (a.medium == b.medium or not (a.medium and b.medium)):
            assert a.last < b.first or b.last < a.first, (a, b)


def test_every_row_has_words_in_both_languages() -> None:
    assert all(c.zh.strip() and c.en.strip() and c.first <= c.last for c in clauses())
