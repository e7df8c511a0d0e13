from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.clocks import CASE_DEADLINES, CLOSE, RESPOND, Calendar, Span, calendar, case_due, clock, due, format_time, parse_time
from cases.moves import CASE_STATES

MS = st.integers(parse_time("2025-01-01T00:00:00+08:00"), parse_time("2026-12-01T00:00:00+08:00"))


def at(text: str) -> int:
    return parse_time(f"2026-{text}+08:00")


@pytest.mark.parametrize(
    ("start", "span", "end"),
    [
        ("03-04T10:00:00", Span(2, "hours"), "03-04T12:00:00"),
        ("03-04T10:00:00", Span(0, "calendar_days"), "03-05T00:00:00"),  # the same day
        ("03-04T10:00:00", Span(3, "calendar_days"), "03-08T00:00:00"),  # the start day does not count
        ("03-04T23:59:59", Span(3, "calendar_days"), "03-08T00:00:00"),
        ("03-05T00:00:00", Span(3, "calendar_days"), "03-09T00:00:00"),
        ("02-05T09:00:00", Span(15, "calendar_days", rolls=True), "02-25T00:00:00"),  # 20 Feb lies in 春节; the 24th works
        ("03-06T10:00:00", Span(1, "working_days"), "03-10T00:00:00"),  # Friday → Monday
        ("02-13T10:00:00", Span(1, "working_days"), "02-15T00:00:00"),  # Saturday 14 Feb is worked in exchange
        ("02-14T10:00:00", Span(1, "working_days"), "02-25T00:00:00"),  # 春节 lasts from the 15th to the 23rd
    ],
)
def test_spans_end_where_the_civil_code_says(start: str, span: Span, end: str) -> None:
    assert format_time(due(at(start), span)) == format_time(at(end))


def test_day_limits_are_those_of_china_wherever_the_clock_stands() -> None:
    before_midnight_utc = parse_time("2026-03-04T16:30:00+00:00")  # already the 5th in China
    assert format_time(due(before_midnight_utc, Span(0, "calendar_days"))) == "2026-03-06T00:00:00+08:00"


@given(MS, st.integers(0, 60))
def test_working_days_are_never_shorter_than_calendar_days(start: int, days: int) -> None:
    assert due(start, Span(days, "working_days")) >= due(start, Span(days, "calendar_days"))


@given(MS, st.integers(0, 60), st.sampled_from(("hours", "calendar_days", "working_days")))
def test_a_later_start_never_ends_earlier(start: int, amount: int, unit: str) -> None:
    span = Span(amount, unit)  # type: ignore[arg-type]
    assert start <= due(start, span) <= due(start + 7_777_777, span)


@given(MS)
def test_time_text_round_trips(ms: int) -> None:
    assert parse_time(str(format_time(ms))) == ms


def test_a_time_without_offset_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"\+08:00"):
        parse_time("2026-03-01T08:00:00")


def test_the_calendar_knows_2026() -> None:
    days = calendar()
    assert not days.works(date(2026, 10, 1))
    assert days.works(date(2026, 10, 10))  # a Saturday worked in exchange
    assert all(day.weekday() >= 5 for day in days.worked)
    assert not days.holidays & days.worked


def test_a_year_without_a_notice_has_weekends_only() -> None:
    monday = date(2031, 9, 1)
    assert [Calendar().works(monday + timedelta(days=k)) for k in range(7)] == [True] * 5 + [False] * 2


def test_every_state_and_level_has_its_deadline() -> None:
    assert set(CASE_DEADLINES) == set(CASE_STATES)
    assert all(rule is None or set(rule.spans) == {1, 2, 3, 4} for rule in CASE_DEADLINES.values())
    start = at("03-04T10:00:00")
    for table in (RESPOND, CLOSE):
        ends = [due(start, table[level]) for level in (1, 2, 3, 4)]
        assert ends == sorted(set(ends))  # the redder the sooner


@pytest.mark.parametrize(
    ("state", "level", "end"),
    [
        ("open", 4, "03-05T00:00:00"),
        ("dispatched", 1, "03-04T12:00:00"),
        ("dispatched", 2, "03-05T10:00:00"),
        ("dispatched", 3, "03-08T00:00:00"),
        ("verified", 1, "03-17T00:00:00"),  # counted from the opening two days before
    ],
)
def test_case_deadlines_are_those_of_rules_f2(state: str, level: int, end: str) -> None:
    assert format_time(case_due(state, level, at("03-04T10:00:00"), at("03-01T10:00:00"))) == format_time(at(end))


def test_a_clock_turns_yellow_a_day_before_and_red_after() -> None:
    now = at("03-04T10:00:00")
    colours = [str((clock(now + left, now) or {})["colour"]) for left in (48 * 3_600_000, 3_600_000, 0, -1)]
    assert colours == ["green", "yellow", "yellow", "red"]
    assert clock(None, now) is None
