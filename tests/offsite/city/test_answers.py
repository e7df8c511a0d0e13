"""What a logger answers to the centre's commands (HJ 212-2017 §6.4)."""

from __future__ import annotations

import pytest

from connectors.hj212.commands import build, format_cst, request
from connectors.hj212.header import parse
from offsite.city.answers import Logger
from offsite.city.devices import opened
from offsite.city.history import live_steps
from offsite.city.model import POURED, TEN_MINUTES_MS
from offsite.city.tables import HOUR_MS
from offsite.city.wire import Renderer


@pytest.fixture
def outlet(full_city):
    return next(o for o in full_city.inventory.outlets if o.profile.name == "flue" and o.version == "2017")


def ask(city, outlet, frame, now=None):
    """Return [(cn, area, header)] of the answer to a request frame."""
    logger = Logger(city, (outlet,), lambda: city.live_ms if now is None else now)
    header, area = opened(frame.removesuffix(b"\r\n"))
    replies = [opened(f.removesuffix(b"\r\n")) for f in logger.answer(header, area)]
    assert None not in replies
    return [(h.cn, a.decode(), h) for h, a in replies]


@pytest.mark.parametrize(
    ("cn", "params"),
    [
        ("1000", {"OverTime": 5, "ReCount": 3}),
        ("1012", {"SystemTime": 1_700_000_000_000}),
        ("1062", {"RtdInterval": 30}),
        ("1064", {"MinInterval": 10}),
        ("2011", {}),
    ],
)
def test_settings_are_carried_out(full_city, outlet, cn, params):
    frame = request(cn, params, qn_ms=full_city.live_ms, st="31", mn=outlet.mn)
    answer = ask(full_city, outlet, frame)
    assert [(c, a) for c, a, _ in answer] == [("9011", "QnRtn=1"), ("9012", "ExeRtn=1")]
    assert {h.qn for _, _, h in answer} == {parse(frame[6:-6]).qn}
    assert {h.st for _, _, h in answer} == {"91"}


@pytest.mark.parametrize(("cn", "span", "count"), [("2061", 2, 3), ("2051", 1, 3), ("2031", 50, 2)])
def test_history_is_what_was_sent(full_city, outlet, cn, span, count):
    begin = full_city.start_ms + 15 * HOUR_MS
    times = {"BeginTime": begin, "EndTime": begin + span * HOUR_MS}
    answer = ask(full_city, outlet, request(cn, times, qn_ms=full_city.live_ms, st="31", mn=outlet.mn))
    assert (answer[0][:2], answer[-1][:2]) == (("9011", "QnRtn=1"), ("9012", "ExeRtn=1"))
    data = answer[1:-1]
    assert len(data) == count + (1 if cn == "2031" else 0)
    assert {c for c, _, _ in data} == {cn}
    assert data[0][1].startswith(f"DataTime={format_cst(begin)};a34013-Avg=")
    assert len({h.qn for _, _, h in data}) == len(data)


def test_history_ends_where_the_period_has_not_ended(full_city, outlet):
    now = full_city.live_ms + 30 * 60_000
    times = {"BeginTime": full_city.live_ms - HOUR_MS, "EndTime": full_city.live_ms + 5 * HOUR_MS}
    answer = ask(full_city, outlet, request("2061", times, qn_ms=now, st="31", mn=outlet.mn), now)
    assert [c for c, _, _ in answer] == ["9011", "2061", "9012"]


def test_an_outage_can_be_asked_for(full_city):
    fault = next(f for f in full_city.faults if f.id == "outage-past")
    outlet = full_city.inventory.outlets[fault.outlets[0]]
    times = {"BeginTime": fault.start, "EndTime": fault.end - 1}
    frame = request("2051", times, qn_ms=full_city.live_ms, st="32", mn=outlet.mn, version=outlet.version)
    assert len(ask(full_city, outlet, frame)) == 2 + (fault.end - fault.start) // (POURED * TEN_MINUTES_MS)


def test_a_logger_without_that_data_says_so(full_city):
    station = next(o for o in full_city.inventory.outlets if o.profile.hourly_only)
    times = {"BeginTime": full_city.start_ms, "EndTime": full_city.start_ms + HOUR_MS}
    answer = ask(full_city, station, request("2051", times, qn_ms=full_city.live_ms, st="22", mn=station.mn))
    assert [a for _, a, _ in answer] == ["QnRtn=1", "ExeRtn=100"]


@pytest.mark.parametrize(
    ("change", "result"),
    [({"mn": "00000000000000"}, "QnRtn=4"), ({"pw": "654321"}, "QnRtn=3"), ({"cn": "3011"}, "QnRtn=8")],
)
def test_what_is_not_carried_out_is_refused_with_its_code(full_city, outlet, change, result):
    fields = {
        "qn": "20261123090000000",
        "st": "31",
        "cn": "1062",
        "pw": "123456",
        "mn": outlet.mn,
        "flag": 5,
        "area": "RtdInterval=30",
    }
    assert [(c, a) for c, a, _ in ask(full_city, outlet, build(**fields | change))] == [("9011", result)]


@pytest.mark.parametrize(
    "area",
    [
        "",
        "BeginTime=x;EndTime=y",
        "BeginTime=20260101000000;EndTime=20251231000000",
        "BeginTime=20000101000000;EndTime=20260101000000",
    ],
)
def test_a_senseless_span_is_refused(full_city, outlet, area):
    frame = build(qn="20261123090000000", st="31", cn="2061", pw="123456", mn=outlet.mn, flag=5, area=area)
    assert [a for _, a, _ in ask(full_city, outlet, frame)] == ["QnRtn=1", "ExeRtn=3"]


def test_notices_and_retained_samples(full_city, outlet):
    stop = build(qn="20261123090000000", st="31", cn="2012", pw="123456", mn=outlet.mn, flag=5)
    assert [c for c, _, _ in ask(full_city, outlet, stop)] == ["9013"]
    keep = request("3015", {}, qn_ms=full_city.live_ms, st="31", mn=outlet.mn)
    assert [c for c, _, _ in ask(full_city, outlet, keep)] == ["9011", "3015", "9012"]


def test_every_device_asks_for_the_time_when_it_connects(full_city):
    site = next(s for s in full_city.inventory.sites if len({o.mn for o in s.outlets}) == 2)
    hello = [opened(f.removesuffix(b"\r\n")) for f in Logger(full_city, site.outlets, lambda: full_city.live_ms).hello()]
    assert [h.mn for h, _ in hello] == [o.mn for o in site.outlets]
    assert {h.cn for h, _ in hello} == {"1013"}


def test_live_history_repeats_what_was_sent(full_city):
    outlet = next(o for o in full_city.inventory.outlets if o.profile.name == "sewage")
    sent = {}
    for step in live_steps(full_city, Renderer(), full_city.live_ms):
        for frame in step.frames:
            if frame.outlet == outlet.index and b";CN=2051;" in frame.data:
                sent[frame.time] = frame.data.split(b"CP=")[1].split(b"&&")[1].decode()
    times = {"BeginTime": full_city.live_ms - HOUR_MS, "EndTime": full_city.live_ms + HOUR_MS}
    now = full_city.live_ms + HOUR_MS
    answer = ask(full_city, outlet, request("2051", times, qn_ms=now, st="32", mn=outlet.mn, version=outlet.version), now)
    assert len(sent) == 6
    assert [a for c, a, _ in answer if c == "2051"][-6:] == [sent[t] for t in sorted(sent)]
