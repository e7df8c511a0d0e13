"""The words of a letter: events enter (alerts, leads, case events as their contracts say), subject, text and HTML leave. Pure.

Chinese first, English below, the same facts in both. One event: a table of its facts. Several: a line each, and none left out.
Whatever a name holds, HTML stays text.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple
from urllib.parse import quote

from cases.moves import ACTIONS, CASE_STATES, MOVES
from streams.alerts import factor_names

Row = Mapping[str, Any]
Card = Callable[[str], Row]
"""Site → its entry in the registry: name, district, points; empty if unknown."""
LEVELS = {
    1: ("Ⅰ级 红", "level Ⅰ red"),
    2: ("Ⅱ级 橙", "level Ⅱ orange"),
    3: ("Ⅲ级 黄", "level Ⅲ yellow"),
    4: ("Ⅳ级 蓝", "level Ⅳ blue"),
}
KINDS = {"alert": ("告警", "alert"), "lead": ("线索", "lead"), "case": ("案件", "case"), "case-event": ("办理动态", "case event")}
STATES = {
    "open": ("未处理", "open"),
    "acked": ("已确认", "acknowledged"),
    "shelved": ("已搁置", "shelved"),
    "closed": ("已关闭", "closed"),
    "withdrawn": ("已撤回", "withdrawn"),
}
VIEWS = {"alert": "view=alerts&state=all", "lead": "view=leads", "case": "view=cases"}
SUBJECT = 90
"""Characters of a subject."""


class Event(NamedTuple):
    """What happened: its kind (alert, lead, case-event), its site, and its body."""

    kind: str
    site: str
    body: Row


class Words(NamedTuple):
    """A letter's words. `ident`: the same for the same events; `thread`: the thing that they are about, empty for several."""

    subject: str
    text: str
    html: str
    ident: str
    thread: str


Fact = tuple[str, str, str, str]
"""Name and value in Chinese, name and value in English."""


def words(events: Sequence[Event], card: Card, desk: str = "", why: tuple[str, str] = ("", "")) -> Words:
    """Write the letter about some events. `desk`: where its pages are, for links; `why` (zh, en): why several share a letter."""
    if len(events) > 1:
        return _many(events, card, desk, why)
    event = events[0]
    zh, en = _title(event, card)
    facts, link = list(_facts(event, card)), _link(event, desk)
    blocks = [(zh, [(a, b) for a, b, _, _ in facts], "在值班台查看"), (en, [(c, d) for _, _, c, d in facts], "Open at the desk")]
    text = "\n\n".join(_text(title, rows, said, link) for title, rows, said in blocks)
    html = "<hr>".join(_html(title, rows, said, link) for title, rows, said in blocks)
    return Words(_cut(zh), _signed(text), _page(html), ident_of(event), thread_of(event))


FOOT = "由 Offsite 自动发送，请勿回复。Sent by Offsite; please do not reply."


def ident_of(event: Event) -> str:
    """Return what names this version of a thing in a Message-ID: its content id and seq.

    >>> ident_of(Event("alert", "S1", {"id": "d8cd", "seq": 3}))
    'alert.d8cd.3'
    """
    return _atom(f"{event.kind}.{event.body['id']}.{event.body['seq']}")


def thread_of(event: Event) -> str:
    """Return what names the thing itself: versions of an alert and what people did about it make one conversation."""
    return _atom(".".join(_thing(event)))


def _thing(event: Event) -> tuple[str, str]:
    """Return kind (alert, lead, case) and id of what an event is about."""
    return (event.body["kind"], event.body["subject"]) if event.kind == "case-event" else (event.kind, event.body["id"])


def _atom(text: str) -> str:
    """Return a text fit for the left side of a Message-ID (RFC 5322 dot-atom), by hash if it is not."""
    return text if re.fullmatch(r"[\w-]+(\.[\w-]+)*", text, re.ASCII) else hashlib.sha256(text.encode()).hexdigest()[:32]


def _many(events: Sequence[Event], card: Card, desk: str, why: tuple[str, str]) -> Words:
    names = list(dict.fromkeys(_site(event, card) for event in events))
    counts = Counter(event.body.get("level") for event in events)
    levels = " ".join(f"{LEVELS[level][0]} {counts[level]}" for level in sorted(LEVELS) if counts[level])
    zh = f"【汇总】{len(events)} 条：{names[0]}{f' 等 {len(names)} 家' if len(names) > 1 else ''} {levels}".strip()
    en = f"Summary of {len(events)} events at {len(names)} site{'s' if len(names) > 1 else ''}"
    heads = [f"{title}（{said}）" if said else title for title, said in zip((zh, en), why, strict=True)]
    titles = [_title(event, card) for event in events]
    times = [_when(event) for event in events]
    links = [_link(event, desk) for event in events]
    blocks = [[(time, one[k], link) for time, one, link in zip(times, titles, links, strict=True)] for k in (0, 1)]
    text = "\n\n".join(
        "\n".join([head, "", *(f"{time}  {title}{f'  {link}' if link else ''}" for time, title, link in rows)])
        for head, rows in zip(heads, blocks, strict=True)
    )
    html = "<hr>".join(
        f"<h3>{escape(head)}</h3><ul>{''.join(f'<li>{escape(time)} {_linked(title, link)}</li>' for time, title, link in rows)}</ul>"
        for head, rows in zip(heads, blocks, strict=True)
    )
    of_all = hashlib.sha256("\n".join(ident_of(event) for event in events).encode()).hexdigest()[:32]
    return Words(_cut(zh), _signed(text), _page(html), f"summary.{of_all}", "")


def _title(event: Event, card: Card) -> tuple[str, str]:
    """Return what a subject says of an event: level, site, and the reason or what was done."""
    body, site = event.body, _site(event, card)
    if event.kind == "case-event":
        zh, en = _did(body)
        return f"【{KINDS['case-event'][0]}】{site}：{zh}", f"[{KINDS['case-event'][1]}] {site}: {en}"
    over = ("", "") if body.get("active", True) else (" 已恢复", ", over")
    level, kind = LEVELS[body["level"]], KINDS[event.kind]
    zh = f"【{level[0]} {kind[0]}{over[0]}】{site}：{body['reason_zh']}"
    return zh, f"[{kind[1]}, {level[1]}{over[1]}] {site}: {body['reason_en']}"


def _did(body: Row) -> tuple[str, str]:
    """Say who did what to which thing."""
    known = (MOVES if body["kind"] == "case" else ACTIONS).get(body["action"])
    zh, en = (known.name_zh, known.name_en) if known else (body["action"], body["action"])
    kind = KINDS.get(body["kind"], (body["kind"],) * 2)
    return f"{body['by']} {zh}（{kind[0]}）", f"{body['by']}: {en} ({kind[1]})"


def _facts(event: Event, card: Card) -> Iterator[Fact]:
    """Yield the facts of one event, in the order in which people ask for them."""
    yield _same("企业", "site", f"{_site(event, card)} ({event.site})")
    district = str(card(event.site).get("district") or "")
    if district:
        yield _same("辖区", "district", district)
    yield from {"alert": _alert_facts, "lead": _lead_facts, "case-event": _case_facts}[event.kind](event.body)
    yield _same("编号", "id", f"{event.body['id']} #{event.body['seq']}")


def _alert_facts(body: Row) -> Iterator[Fact]:
    zh, en, _ = factor_names().get(body["factor"], (body["factor"],) * 3)
    active = ("持续中", "active") if body["active"] else ("已恢复", "over")
    yield "级别", f"{LEVELS[body['level']][0]} {active[0]}", "level", f"{LEVELS[body['level']][1]}, {active[1]}"
    yield "点位", f"{body['point']} {zh}".strip() or "–", "point", f"{body['point']} {en}".strip() or "–"
    yield "原因", body["reason_zh"], "reason", body["reason_en"]
    for name_zh, name_en, key in (("实测", "observed", "observed"), ("限值", "limit", "limit")):
        if body.get(key) is not None:
            yield _same(name_zh, name_en, f"{body[key]:g} {body.get('unit') or ''}".strip())
    yield _same("开始", "from", _time(body["opened"]))
    if body.get("closed"):
        yield _same("结束", "to", _time(body["closed"]))
    yield _same("规则", "rule", body["rule"])
    if body.get("folded"):
        yield _same("共同原因", "common cause", body["folded"])


def _lead_facts(body: Row) -> Iterator[Fact]:
    window = f"{_time(body['window']['start'])} – {_time(body['window']['end'])}"
    yield "级别", LEVELS[body["level"]][0], "level", LEVELS[body["level"]][1]
    yield "原因", body["reason_zh"], "reason", body["reason_en"]
    yield _same("时段", "span", window)
    sure = f"{body['probability']:.0%}, {body['grade']}"
    yield "可信度、证据等级", f"{sure}（非违法认定）", "confidence, grade of evidence", f"{sure} (not a finding of guilt)"
    yield _same("法条", "clause", body.get("clause") or "–")
    yield _same("尚缺", "still missing", "、".join(body.get("missing") or ()) or "–")


def _case_facts(body: Row) -> Iterator[Fact]:
    zh, en = _did(body)
    yield "动作", zh, "action", en
    yield (
        "状态",
        f"{_state(body, 'before', 0)} → {_state(body, 'after', 0)}",
        "state",
        f"{_state(body, 'before', 1)} → {_state(body, 'after', 1)}",
    )
    yield _same("时间", "at", _time(body["at"]))
    for name, value in (body.get("said") or {}).items():
        if value not in (None, ""):
            yield _same(str(name), str(name), str(value))


def _state(body: Row, side: str, language: int) -> str:
    code = str(body.get(side) or "–")
    return (CASE_STATES if body["kind"] == "case" else STATES).get(code, (code, code))[language]


def _same(zh: str, en: str, value: Any) -> Fact:
    text = " ".join(str(value).split())
    return zh, text, en, text


def _site(event: Event, card: Card) -> str:
    return " ".join(str(card(event.site).get("name") or event.site or "–").split())


def _when(event: Event) -> str:
    body = event.body
    return _time(body.get("at") or body.get("updated"))[5:]


def _time(text: Any) -> str:
    """Return an RFC 3339 time as people read it; all of ours are China Standard Time."""
    return str(text or "–")[:16].replace("T", " ")


def _link(event: Event, desk: str) -> str:
    if not desk:
        return ""
    kind, ident = _thing(event)
    return f"{desk.rstrip('/')}/#{VIEWS[kind]}&sel={kind}/{quote(ident, safe='')}"


def _cut(text: str) -> str:
    return text if len(text) <= SUBJECT else text[: SUBJECT - 1] + "…"


def _text(title: str, rows: Sequence[tuple[str, str]], said: str, link: str) -> str:
    return "\n".join([title, "", *(f"{name}: {value}" for name, value in rows), *([f"{said}: {link}"] if link else [])])


def _html(title: str, rows: Sequence[tuple[str, str]], said: str, link: str) -> str:
    cells = "".join(f'<tr><th align="left">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows)
    return f"<h3>{escape(title)}</h3><table cellpadding=4>{cells}</table>{f'<p>{_linked(said, link)}</p>' if link else ''}"


def _linked(text: str, link: str) -> str:
    return f'<a href="{escape(link)}">{escape(text)}</a>' if link else escape(text)


def _page(inside: str) -> str:
    foot = f"<p><small>{escape(FOOT)}</small></p>"
    return f'<!doctype html><html lang="zh-CN"><meta charset="utf-8"><body>{inside}{foot}</body></html>\n'


def _signed(text: str) -> str:
    return f"{text}\n\n-- \n{FOOT}\n"
