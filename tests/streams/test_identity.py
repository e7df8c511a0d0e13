"""Identity by content, and times as text (design §3)."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.identity import content_id, rfc3339
from tests.streams.driven import ms


def test_it_is_the_first_half_of_sha256_over_a_json_array() -> None:
    text = '["exceed-hour","S1/DA001/a21026/hour",1766000000000]'
    assert content_id("exceed-hour", "S1/DA001/a21026/hour", 1_766_000_000_000) == hashlib.sha256(text.encode()).hexdigest()[:32]


def test_chinese_is_hashed_as_utf8() -> None:
    assert content_id("站点") == hashlib.sha256('["站点"]'.encode()).hexdigest()[:32]


def test_parts_do_not_run_together() -> None:
    assert (
        len(
            {
                content_id("ab", "c"),
                content_id("a", "bc"),
                content_id("abc"),
                content_id("a", "b", "c"),
                content_id("1"),
                content_id(1),
            }
        )
        == 6
    )


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2016-08-24T01:00:00+00:00", "2016-08-24T09:00:00+08:00"),
        ("2026-12-31T23:59:59.007+08:00", "2026-12-31T23:59:59.007+08:00"),
        ("1970-01-01T00:00:00+00:00", "1970-01-01T08:00:00+08:00"),
    ],
)
def test_times_are_written_in_china_time(text: str, written: str) -> None:
    assert rfc3339(ms(text)) == written


def test_no_time_is_none() -> None:
    assert rfc3339(None) is None


@given(st.integers(0, 4_000_000_000_000))
def test_no_millisecond_is_lost(time: int) -> None:
    assert ms(str(rfc3339(time))) == time
