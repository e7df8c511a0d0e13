"""One fate a reading, and books that balance whatever a device sends (promises 4, 5 and 7)."""

from __future__ import annotations

from collections import Counter

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.core import CSV, HJ212, JSON, NDJSON, Record
from streams.codecs.hj212_encode import encode_frame
from streams.engine import Engine
from streams.identity import rfc3339
from streams.model import SeriesKey
from streams.plan.load import HOUR, MINUTE
from streams.records import tick_record
from streams.screen import DAILY, FAIL, FATES, GOOD, SUSPECT, days_closed, epoch_of
from tests.streams.driven import DAY, PLAN, T0, Product, Row, ms, own_day, own_hour, rt

NO2 = "S1/DA001/a21002"


def fates(*records) -> list[str]:
    out = Product().feed(records)
    return [FATES[f] for f in out.screened.fate]


def test_each_fate() -> None:
    first, value = rt(0, 50.0)[0], rt(1, 51.0)[0]
    rows = [first, first, first._replace(value=52.0), first, value]
    assert fates(*([r] for r in rows)) == ["accepted", "duplicate", "revised", "duplicate", "accepted"]


@pytest.mark.parametrize(("ahead", "fate"), [(10 * MINUTE, "accepted"), (10 * MINUTE + 1, "refused")])
def test_a_clock_may_be_ten_minutes_ahead(ahead: int, fate: str) -> None:
    assert fates([Row(rt(0, 1.0)[0].key, T0 + ahead, 50.0, "N", T0)]) == [fate]


@pytest.mark.parametrize(
    ("text", "fate"),
    [("1970-01-01T00:00:00+08:00", "refused"), ("1970-01-02T00:00:00+08:00", "late"), ("2040-01-01T00:00:00+08:00", "refused")],
)
def test_broken_clocks(text: str, fate: str) -> None:
    assert fates([Row(rt(0, 1.0)[0].key, ms(text), 50.0, "N", T0)], rt(0, 51.0)) == [fate, "accepted"]


def test_a_refused_time_moves_nothing() -> None:
    product = Product()
    product.feed(
        [rt(0, 50.0), [Row(rt(0, 1.0)[0].key, ms("2040-01-01T00:00:00+08:00"), 50.0, "N", T0 + MINUTE)], rt(2, 51.0)], tick=95
    )
    assert product.books["accepted"] == 2
    assert len(product.windows("hour")) == 1


@pytest.mark.parametrize(("minute", "fate"), [(90 - 1 / 60_000, "accepted"), (90, "late")])
def test_an_hour_is_open_for_half_an_hour(minute: float, fate: str) -> None:
    assert fates(rt(59, 50.0, late=minute - 59)) == [fate]
    assert fates(own_hour(0, 50.0, late=minute - 60)) == [fate]


@pytest.mark.parametrize(("minute", "fate"), [(89, "accepted"), (90, "late")])
def test_a_day_is_open_until_half_past_one(minute: int, fate: str) -> None:
    assert fates(own_day(0, 50.0, late=minute)) == [fate]


@pytest.mark.parametrize("period", ["month", "quarter"])
def test_months_and_quarters_are_never_late(period: str) -> None:
    assert fates([Row(SeriesKey("S1", "DA001", "a21026", period, "avg"), T0 - 90 * DAY, 50.0, "N", T0)]) == ["accepted"]


def test_the_first_fate_that_holds_counts() -> None:
    old = rt(0, 50.0, late=120)[0]
    late, again, other = [old], [old], [old._replace(value=51.0)]
    assert fates(late, again, other) == ["late", "duplicate", "revised"]
    ahead = Row(old.key, T0 + 13 * HOUR, 50.0, "N", T0)
    assert fates([ahead], [ahead]) == ["refused", "refused"]


def test_sites_have_clocks_of_their_own() -> None:
    other = rt(300, 50.0, at="S2/DA001/a21026")
    assert fates(other, rt(0, 50.0), rt(200, 50.0), rt(0, 51.0, at=NO2)) == ["accepted", "accepted", "accepted", "late"]


def test_log_time_of_a_site_never_runs_back() -> None:
    back = rt(0, 50.0)[0]._replace(arrived=T0)
    product = Product()
    product.feed([rt(200, 50.0)])
    out = product.feed([[back]])
    assert out.screened.clock.tolist() == [rt(200, 50.0)[0].arrived]
    assert [FATES[f] for f in out.screened.fate] == ["late"]


@pytest.mark.parametrize("flag", [*"FMSDCTB", "?", "N", ""])
def test_only_normal_and_none_are_usable(flag: str) -> None:
    out = Product().feed([rt(0, 50.0, flag=flag), rt(0, -500.0, flag=flag, at=NO2)])
    expected = {"N": [GOOD, FAIL], "": [GOOD, FAIL], "T": [FAIL, FAIL]}
    assert out.screened.quality.tolist() == expected.get(flag, [SUSPECT, SUSPECT])


def test_epochs_and_days() -> None:
    clock = np.array([T0 + 90 * MINUTE - 1, T0 + 90 * MINUTE])
    assert (epoch_of(clock, PLAN) - T0 // HOUR).tolist() == [0, 1]
    closed = days_closed(epoch_of(clock, PLAN), PLAN)
    assert closed.tolist() == [(T0 + 8 * HOUR) // DAY - 2, (T0 + 8 * HOUR) // DAY - 1]
    assert DAILY == 3


# --- promise 4, as a law: whatever comes, received = the sum of the fates

TIMES = st.one_of(
    st.integers(T0 - 3 * HOUR, T0 + 3 * HOUR),
    st.sampled_from([0, -1, ms("1970-01-01T00:00:00+08:00"), ms("2040-01-01T00:00:00+08:00"), T0, T0 + MINUTE]),
)
NUMBERS = st.sampled_from(
    ["50", "50", "51.5", "1e400", "-1e400", "1e308", "-0", "NaN", "null", '"12"', "", "[]", "1e-400", "999999999999"]
)
HOSTILE = st.tuples(
    st.sampled_from(["S1", "S2", "", "S/1"]),
    st.sampled_from(["a21026", "w01018", "", "🏭"]),
    TIMES,
    st.sampled_from(["realtime", "minute", "hour", "day", "month", "fortnight"]),
    NUMBERS,
    st.sampled_from(["N", "D", "", "XYZ", "?"]),
)


def as_record(kind: str, row, arrived: int) -> Record:
    site, factor, time, period, value, flag = row
    if kind == HJ212:
        text = value.strip('"[]') or "null"
        cn = {"minute": "2051", "hour": "2061", "day": "2031"}.get(period, "2011")
        suffix = "Rtd" if cn == "2011" else "Avg"
        frame = encode_frame("MN" + site, cn, max(time, 0), {factor or "a": {suffix: text, "Flag": flag}})
        return Record("emission-monitoring", site, arrived, HJ212, frame[:-2])
    if kind == CSV:
        body = (
            f"site,point,factor,time,period,value,flag\n{site},DA001,{factor},{rfc3339(time)},{period},{value},{flag}\n".encode()
        )
    else:
        names = {"site": site, "point": "DA001", "factor": factor, "time": rfc3339(time), "period": period, "flag": flag}
        body = orjson.dumps(names)[:-1] + b',"value":' + (value or ('"oops"' if kind != NDJSON else "oops")).encode() + b"}"
    return Record("emission-monitoring", site, arrived, kind, body)


@given(st.lists(st.tuples(st.sampled_from([NDJSON, JSON + ";v=1", CSV, HJ212]), HOSTILE, st.integers(0, 3 * HOUR)), max_size=25))
@settings(max_examples=60)
def test_the_books_balance_whatever_comes(given_rows) -> None:
    records = [as_record(kind, row, T0 + wait) for kind, row, wait in given_rows]
    engine = Engine(PLAN, infer=True)
    cut = len(records) // 2
    steps = [
        engine.step(part)[0] for part in (records[:cut], [tick_record(T0 + HOUR), *records[cut:]], records[: cut // 2]) if part
    ]
    books = engine.state.books
    assert books["readings.received"] == len(records) + cut // 2
    assert books["readings.received"] == sum(books[f"readings.{fate}"] for fate in FATES)
    assert sum(r.rows for s in steps for r in s.rejects) <= books["readings.refused"]
    reasons = Counter(r.reason for s in steps for r in s.rejects)
    assert all(books[f"rejects.{reason}"] == n for reason, n in reasons.items())
