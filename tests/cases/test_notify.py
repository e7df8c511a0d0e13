"""Who is told what and when, and the words: nothing is left out, nobody is woken for little, and names stay text."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.clocks import parse_time
from cases.mail_words import SUBJECT, Event, ident_of, thread_of, words
from cases.notify import LATER, MINUTE, Policy, Rule, lanes, quiet_hours, quiet_until, step
from tests.cases.made import alert, lead

NIGHT = quiet_hours("22:00-07:00")
DUTY, BOSS = "duty@example.com", "boss@example.com"
CARD = {"S1": {"name": "示例<b>厂", "district": "510104"}}


def at(text: str) -> int:
    return parse_time(f"2026-11-24T{text}:00+08:00")


def told(body: dict[str, Any], *rules: Rule, kind: str = "alert", district: str = "510104") -> tuple[str, ...]:
    return lanes(Policy(rules), kind, body["site"], district, body)


def event(**more: Any) -> dict[str, Any]:
    return {
        "id": "5f" * 16, "seq": 7, "kind": "case", "site": "S1", "at": "2026-11-24T10:00:00+08:00", "subject": "c1", "by": "li",
        "role": "operator", "action": "dispatch", "before": "open", "after": "dispatched", "said": {"assignee": "市局"}, **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "heard"),
    [
        (Rule((DUTY,)), True),
        (Rule((DUTY,), level=2), False),
        (Rule((DUTY,), level=3), True),
        (Rule((DUTY,), send=("lead",)), False),
        (Rule((DUTY,), sites=("S2", "T*")), False),
        (Rule((DUTY,), sites=("S?",)), True),
        (Rule((DUTY,), districts=("5101*",)), True),
        (Rule((DUTY,), districts=("5102*",)), False),
    ],
)
def test_a_rule_names_level_site_district_and_kind(rule: Rule, heard: bool) -> None:
    assert told(alert("a1", 1, level=3), rule) == ((DUTY + LATER,) if heard else ())


def test_a_person_of_two_rules_is_told_once() -> None:
    assert told(alert("a1", 1, level=2), Rule((DUTY, BOSS)), Rule((BOSS,), level=2)) == (DUTY + LATER, BOSS + LATER)


def test_ends_are_told_unless_not_wanted_and_wake_nobody() -> None:
    over = alert("a1", 2, level=1, active=False)
    assert told(alert("a1", 1, level=1), Rule((DUTY,), ends=False)) == (DUTY,)
    assert told(over, Rule((DUTY,))) == (DUTY + LATER,)
    assert told(over, Rule((DUTY,), ends=False)) == ()


def test_case_events_have_no_level() -> None:
    assert told(event(), Rule((DUTY,), level=1), kind="case-event") == (DUTY + LATER,)
    assert told(lead("l1", 1, level=1), Rule((DUTY,)), kind="lead") == (DUTY,)


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 2 * 86_400_000))
def test_quiet_hours_end_within_a_day_and_outside_of_themselves(start: int, end: int, now: int) -> None:
    if start == end:
        return
    until = quiet_until((start, end), now)
    assert until == 0 or (now < until <= now + 86_400_000 and not quiet_until((start, end), until))


def test_the_quiet_hours_hold_what_is_not_urgent() -> None:
    policy = Policy((), NIGHT)
    came = [at("22:10"), at("23:00"), at("03:00") + 86_400_000]
    night = step(policy, DUTY + LATER, came[1], came[:2], [])
    assert (night.tell, night.until) == (0, at("07:00") + 86_400_000)
    assert "07:00" in night.why
    assert step(policy, DUTY, came[1], came[:1], []).tell == 1
    morning = step(policy, DUTY + LATER, at("07:00") + 86_400_000, came, [])
    assert (morning.tell, morning.why) == (3, "came in the quiet hours")
    assert step(policy, DUTY + LATER, at("08:00"), [at("07:59")] * 3, []).tell == 1


def test_more_than_the_most_go_into_one_letter() -> None:
    policy = Policy((), most=3, span=10 * MINUTE)
    now = at("10:00")
    assert step(policy, DUTY, now, [now] * 3, []).tell == 1
    assert step(policy, DUTY, now, [now] * 4, []).tell == 4
    assert step(policy, DUTY, now, [now] * 2, [now - 1, now - 2]).tell == 2
    full = step(policy, DUTY, now, [now], [now - 3 * MINUTE, now - 2 * MINUTE, now - MINUTE])
    assert (full.tell, full.until) == (0, now + 7 * MINUTE)


@given(st.lists(st.integers(0, 30 * MINUTE), min_size=1, max_size=60), st.integers(1, 5))
def test_every_event_is_told_and_never_too_many_letters(waits: list[int], most: int) -> None:
    policy = Policy((), most=most, span=10 * MINUTE)
    came, sent, now, heard = sorted(waits), [], 0, 0
    while heard < len(came):
        waiting = [one for one in came[heard:] if one <= now]
        if not waiting:
            now = came[heard]
            continue
        found = step(policy, DUTY, now, waiting, sent)
        if found.tell:
            heard += found.tell
            sent.append(now)
            assert sum(now - one < policy.span for one in sent) <= most
        else:
            assert now < found.until <= now + policy.span
            now = found.until
    assert heard == len(came)


@pytest.mark.parametrize("text", ["22-7", "22:00", "25:00-07:00", "07:00-07:00", "x"])
def test_what_are_no_quiet_hours(text: str) -> None:
    with pytest.raises(ValueError, match=r"match|begins|unconverted"):
        quiet_hours(text)
    assert quiet_hours("") is None


class Text(HTMLParser):
    """Reads the text of a page, and which tags it has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def card(site: str) -> dict[str, Any]:
    return CARD.get(site, {})


def test_a_letter_says_the_same_in_both_languages_and_both_forms() -> None:
    body = alert("a1", 3, level=2, reason_zh="二氧化硫 80 <超过> 35", reason_en="SO2 80 <over> 35")
    found = words([Event("alert", "S1", body)], card, "https://desk.example/")
    assert found.subject == "【Ⅱ级 橙 告警】示例<b>厂：二氧化硫 80 <超过> 35"
    page = Text(found.html)
    assert "b" not in page.tags
    for said in (
        "示例<b>厂 (S1)",
        "510104",
        "二氧化硫 80 <超过> 35",
        "SO2 80 <over> 35",
        "80 mg/m3",
        "35 mg/m3",
        "level Ⅱ orange",
        "a1 #3",
    ):
        assert said in found.text
        assert said in page.text
    assert found.text.index("二氧化硫 80") < found.text.index("SO2 80")
    assert page.links == ["https://desk.example/#view=alerts&state=all&sel=alert/a1"] * 2
    assert (found.ident, found.thread) == ("alert.a1.3", "alert.a1")


def test_versions_and_what_was_done_are_one_conversation() -> None:
    one, two = (Event("alert", "S1", alert("a1", seq)) for seq in (1, 2))
    done = Event("case-event", "S1", event(kind="alert", subject="a1", action="ack"))
    assert len({ident_of(e) for e in (one, two, done)}) == 3
    assert {thread_of(e) for e in (one, two, done)} == {"alert.a1"}


def test_leads_and_case_events_are_told() -> None:
    found = words([Event("lead", "S1", lead("l1", 1, level=1, missing=["现场核查"]))], card)
    for said in ("线索", "非违法认定", "not a finding of guilt", "现场核查", "90%, A"):
        assert said in found.text
    found = words([Event("case-event", "S1", event())], card)
    for said in ("li 派发（案件）", "li: Dispatch (case)", "待派发 → 待核查", "to be dispatched → being checked", "市局"):
        assert said in found.text


def test_a_summary_leaves_nothing_out() -> None:
    events = [
        Event("alert", f"S{n}", alert(f"a{n}", n, site=f"S{n}", level=1 + n % 4, reason_zh=f"第{n}条")) for n in range(1, 9)
    ]
    found = words(events, card, "https://desk.example", ("静默时段内到达", "came in the quiet hours"))
    assert found.subject.startswith("【汇总】8 条：示例<b>厂 等 8 家 Ⅰ级 红 2 Ⅱ级 橙 2")
    assert all(f"第{n}条" in found.text and f"第{n}条" in found.html for n in range(1, 9))
    assert "静默时段内到达" in found.text
    assert "came in the quiet hours" in found.text
    assert found.ident == words(events, card).ident != words(events[:7], card).ident
    assert len(Text(found.html).links) == 16


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_name_and_reason_can_be_told(name: str, reason: str) -> None:
    body = alert(name or "x", 1, reason_zh=reason, reason_en=reason, point=name, unit=reason)
    found = words([Event("alert", "S1", body)], lambda site: {"name": name, "district": reason})
    assert len(found.subject) <= SUBJECT
    assert found.ident.isascii()
    assert set(Text(found.html).tags) == {"html", "meta", "body", "h3", "table", "tr", "th", "td", "hr", "p", "small"}
