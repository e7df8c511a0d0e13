"""The batched decoder: equal to the plain one on real hours and on made-up areas, however the frames are cut into calls."""

from __future__ import annotations

import itertools
import lzma
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.hj212.commands import build, parse_cst
from connectors.hj212.frame import split_buffer
from streams.codecs import hj212_pairs
from streams.codecs.hj212 import REASONS, Hj212Decoder, encode_frame
from streams.model import Decoded, SeriesTable
from tests.streams.codecs import hj212_plain as plain

MN = "010000A8900016F000169DC0"
T = parse_cst("20160801085857")


def frame(area: str | bytes, cn: str = "2011", *, st_: str = "31", mn: str = MN, flag: int | None = 4) -> bytes:
    return build(st=st_, cn=cn, pw="123456", mn=mn, flag=flag, area=area)[:-2]


def decode(*frames: bytes, table: SeriesTable | None = None, calls: int = 1) -> tuple[Decoded, SeriesTable]:
    table = SeriesTable() if table is None else table
    decoder = Hj212Decoder(plain.place, table)
    return decoder.decode(list(frames), np.arange(len(frames), dtype=np.int64) + 1000), table


def rows(decoded: Decoded, table: SeriesTable) -> list[tuple]:
    r = decoded.readings
    columns = (r.series.tolist(), r.time.tolist(), r.value.tolist(), r.flag.tolist(), r.frame.tolist())
    return [(table.keys[series], *rest) for series, *rest in zip(*columns, strict=True)]


def short(decoded: Decoded, table: SeriesTable) -> list[tuple]:
    return [(key.factor, key.stat, value, chr(flag or 45)) for key, _, value, flag, _ in rows(decoded, table)]


def bits(values) -> list[bytes]:
    return [struct.pack("<d", value) for value in values]


@pytest.mark.parametrize("hour", ["00", *(f"{h:02d}" for h in range(4, 16))])
def test_a_real_hour_equals_the_plain_reading(shared_data, hour):
    stream = lzma.decompress((shared_data / f"hj212/2016-08-24_{hour}.h212.xz").read_bytes())
    frames = split_buffer(stream).frames()[int(hour) :: 20]
    decoded, table = decode(*frames)
    expected = plain.read(frames)
    got = rows(decoded, table)
    assert got == expected.rows
    assert bits(row[2] for row in got) == bits(row[2] for row in expected.rows)
    assert sum(reject.rows for reject in decoded.rejects) == expected.refused
    assert len(decoded.readings) + expected.refused == expected.received
    order = dict.fromkeys(row[0] for row in expected.rows)
    assert list(order) == table.keys


NUMBERS = st.one_of(
    st.sampled_from(
        ["0", "0.00", "-0.0", "12.5", "-99", "103288", "1e3", "1e400", "NaN", "", "x", "1.2.3", ".5", "5.", "-", "."]
    ),
    st.sampled_from(["123456789.5", "20160801085857", "0.30000000000000004", "1_0", "+7", " 7.1", "12345678.1234567", "1" * 400]),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(-(10**6), 10**6, places=3).map(str),
)
NAMES = st.sampled_from(
    [
        "a21026-Rtd",
        "a21026-ZsRtd",
        "02-Rtd",
        "011-Avg",
        "B01-Cou",
        "SB1-RS",
        "PM25-Rtd",
        "LA-Rtd",
        "w01018-SampleTime",
        "x" * 30 + "-Rtd",
    ]
)
FLAGS = st.sampled_from(["a21026-Flag=N", "02-Flag=D", "011-Flag=T", "02-Flag=St", "LA-flag=M", "B01-Flag=", "a21026-Flag=U"])
PAIRS = st.one_of(st.builds("{}={}".format, NAMES, NUMBERS), FLAGS)
STAMPS = st.sampled_from(
    ["DataTime=20160801085857", "DataTime=20160801085857123", "DataTime=20160230000000", "DataTime=2016", ""]
)
AREAS = st.builds(
    lambda stamp, pairs, joiners: "".join(a + b for a, b in zip([stamp, *pairs], joiners, strict=False)),
    STAMPS,
    st.lists(PAIRS, max_size=8),
    st.lists(st.sampled_from(",;"), min_size=9, max_size=9),
)
FRAMES = st.builds(
    lambda area, cn, st_, mn: frame(area, cn, st_=st_, mn=mn),
    AREAS,
    st.sampled_from(["2011", "2051", "2061", "2031", "2021"]),
    st.sampled_from(["31", "32", "22", "21"]),
    st.sampled_from(["M1", "M2"]),
)


@settings(max_examples=60)
@given(st.lists(FRAMES, min_size=1, max_size=6))
def test_made_up_areas_equal_the_plain_reading(frames):
    decoded, table = decode(*frames)
    expected = plain.read([f.replace(b"= 7.1", b"=7.1") for f in frames])
    got = rows(decoded, table)
    assert got == expected.rows
    assert bits(row[2] for row in got) == bits(row[2] for row in expected.rows)
    assert sum(reject.rows for reject in decoded.rejects) == expected.refused
    assert {reject.reason for reject in decoded.rejects} <= set(REASONS)


@settings(max_examples=25)
@given(st.lists(FRAMES, min_size=1, max_size=12), st.lists(st.integers(1, 11), max_size=4), st.booleans())
def test_any_cut_into_calls_gives_the_same(frames, cuts, restarts):
    whole, table = decode(*frames)
    other = SeriesTable()
    decoder, got, rejects = Hj212Decoder(plain.place, other), [], []
    bounds = sorted({0, *(c for c in cuts if c < len(frames)), len(frames)})
    for left, right in itertools.pairwise(bounds):
        if restarts:
            decoder = Hj212Decoder(plain.place, other)
        part = decoder.decode(frames[left:right], np.zeros(right - left, np.int64))
        got += [(*row[:-1], row[-1] + left) for row in rows(part, other)]
        rejects += [(r.reason, r.raw, r.frame + left, r.rows) for r in part.rejects]
    assert other.keys == table.keys
    assert got == rows(whole, table)
    assert rejects == [(r.reason, r.raw, r.frame, r.rows) for r in whole.rejects]


def test_zero_is_a_value_and_every_suffix_a_reading():
    decoded, table = decode(frame("DataTime=20160801085857;a21026-Rtd=0,a21026-ZsRtd=0.00,a21026-Flag=N;SB1-RS=0;SB1-RT=1.5"))
    assert short(decoded, table) == [
        ("a21026", "rtd", 0.0, "N"),
        ("a21026", "zs_rtd", 0.0, "N"),
        ("SB1", "rs", 0.0, "-"),
        ("SB1", "rt", 1.5, "-"),
    ]
    assert set(decoded.readings.time.tolist()) == {T}


def test_old_and_new_codes_meet_in_one_series():
    decoded, table = decode(frame("DataTime=20160801085857;02-Rtd=1,02-Flag=N;a21026-Rtd=2,a21026-Flag=D;A21026-Rtd=3"))
    assert short(decoded, table) == [("a21026", "rtd", v, "D") for v in (1.0, 2.0, 3.0)]
    assert len(table) == 1


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", "-"),
        ("02-Flag=N", "N"),
        ("02-Flag=D,02-Flag=N", "D"),
        ("02-Flag=N,02-Flag=?", "?"),
        ("02-Flag=n", "?"),
        ("02-Flag=", "?"),
    ],
)
def test_the_worst_flag_counts_and_unknown_is_not_normal(flags, expected):
    decoded, table = decode(frame(f"DataTime=20160801085857;02-Rtd=1,{flags};02-ZsRtd=2"))
    assert short(decoded, table) == [("a21026", "rtd", 1.0, expected), ("a21026", "zs_rtd", 2.0, expected)]


def test_flags_depend_on_the_edition_and_the_medium():
    old = decode(frame("DataTime=20160801085857;02-Rtd=1,02-Flag=P", flag=None))
    new = decode(frame("DataTime=20160801085857;02-Rtd=1,02-Flag=P"))
    air = decode(frame("DataTime=20160801085857;a34004-Rtd=1,a34004-Flag=3", st_="22", flag=None))
    assert [short(*x)[0][3] for x in (old, new, air)] == ["D", "?", "N"]


@pytest.mark.parametrize(
    ("factor", "st_", "point"),
    [
        ("a21026", "32", "DA001"),
        ("w01018", "31", "DW001"),
        ("a34004", "22", "EQ001"),
        ("w01018", "21", "EQ001"),
        ("LA", "31", "NS001"),
        ("d00001", "31", "PW001"),
        ("LAMPBLACK", "31", "DA001"),
        ("SB1", "32", "DW001"),
        ("e10101", "31", "DW001"),
        ("g20001", "32", "DA001"),
    ],
)
def test_the_factor_decides_the_medium(factor, st_, point):
    _, table = decode(frame(f"DataTime=20160801085857;{factor}-Rtd=1", st_=st_))
    assert table.keys[0].point == point


@pytest.mark.parametrize(
    ("cn", "period"),
    [("2011", "realtime"), ("2021", "realtime"), ("2051", "minute"), ("2061", "hour"), ("2031", "day"), ("2041", "day")],
)
def test_the_command_decides_the_period(cn, period):
    _, table = decode(frame("DataTime=20160801085857;a21026-Avg=1", cn))
    assert table.keys[0].period == period


@pytest.mark.parametrize(
    ("pair", "reason", "count"),
    [
        ("a21026-Rtd=abc", "bad_number", 1),
        ("a21026-Rtd=", "bad_number", 1),
        ("a21026-Rtd=1_0", "bad_number", 1),
        ("a21026-Rtd=1e400", "not_finite", 1),
        ("a21026-Rtd=nan", "not_finite", 1),
        ("-Rtd=1", "no_factor", 1),
        ("a21026-Rtd1.5", "bad_pair", 1),
        ("a20143-Flag=Nw20144-Rtd=0.1", "bad_pair", 1),
        ("011-Rtd=35.011-Flag=N", "bad_number", 1),
    ],
)
def test_rejects_keep_the_raw_pair(pair, reason, count):
    decoded, table = decode(frame(f"DataTime=20160801085857;{pair};a21028-Rtd=1"))
    assert short(decoded, table) == [("a21028", "rtd", 1.0, "-")]
    assert [(r.reason, r.raw, r.rows, r.frame) for r in decoded.rejects] == [(reason, pair.encode(), count, 0)]


@pytest.mark.parametrize(
    "stamp", ["", "DataTime=;", "DataTime=20160801;", "DataTime=20161332000000;", "DataTime=2016-08-01 08:00;"]
)
def test_a_frame_without_a_usable_time_is_refused_whole(stamp):
    raw = frame(f"{stamp}a21026-Rtd=1,a21026-Flag=N;a21028-Rtd=x")
    decoded, _ = decode(frame("DataTime=20160801085857;a21026-Rtd=1"), raw)
    assert [(r.reason, r.rows, r.raw, r.frame) for r in decoded.rejects] == [("bad_time", 2, raw, 1)]
    assert len(decoded.readings) == 1


@pytest.mark.parametrize(("stamp", "ms"), [("20160801085857", T), ("20160801085857123", T + 123), ("20000202000000000", None)])
def test_times_with_and_without_milliseconds(stamp, ms):
    decoded, _ = decode(frame(f"DataTime={stamp};a21026-Rtd=1"))
    assert decoded.readings.time.tolist() == [parse_cst(stamp) if ms is None else ms]


def test_other_commands_are_events_and_heartbeats_are_counted():
    decoder = Hj212Decoder(plain.place, SeriesTable())
    alarm = frame("AlarmTime=20160801085857;02-Ala=16.00,AlarmType=1", "2072")
    text = frame("DataTime=20160801085857;i11001-Info=//清洗管路;a=1,b=2//".encode("gbk"), "3020", st_="32")
    request = frame("BeginTime=20160801000000,EndTime=20160801000000", "2041")
    frames = [frame("DataTime=1;CON-RT=0", "9015"), alarm, text, request, b"##0005abcde0000"]
    decoded = decoder.decode(frames, np.full(5, 7, np.int64))
    assert [event.kind for event in decoded.events] == ["hj212.2072", "hj212.3020", "hj212.2041"]
    assert [event.start for event in decoded.events] == [T, T, parse_cst("20160801000000")]
    assert "清洗管路;a=1" in decoded.events[1].body["area"]
    assert decoded.events[0].site == MN
    assert [(r.reason, r.frame) for r in decoded.rejects] == [("bad_header", 4)]
    assert decoder.commands == {"9015": 1, "2072": 1, "3020": 1, "2041": 1, "": 1}
    assert len({event.id for event in decoded.events}) == 3


def test_text_beside_values_is_kept_as_an_event():
    decoded, table = decode(
        frame("DataTime=20160801085857;a21026-Rtd=1;i13005-Info=//a,b;c=d//"),
        frame("DataTime=20160801085857;FANSTATUS=1;a21026-Rtd=2"),
    )
    assert [row[2] for row in short(decoded, table)] == [1.0, 2.0]
    assert [event.kind for event in decoded.events] == ["hj212.2011"] * 2
    assert not decoded.rejects


def test_a_converted_flag_in_letters_flags_and_in_digits_is_a_reading():
    decoded, table = decode(frame("DataTime=20160801085857;02-Rtd=1,02-ZsFlag=D;03-Rtd=2,03-ZsFlag=9.5"))
    assert short(decoded, table) == [("a21026", "rtd", 1.0, "D"), ("a21002", "rtd", 2.0, "-"), ("a21002", "zsflag", 9.5, "-")]


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        ("DataTime=20160801085857,02-Rtd=1;02-Flag=N,03-Rtd=2;", [("a21026", "rtd", 1.0, "N"), ("a21002", "rtd", 2.0, "-")]),
        ("DataTime=20160801085857;;02-Rtd=1,,02-Flag=N;", [("a21026", "rtd", 1.0, "N")]),
        ("DataTime=20160801085857;-Flag=N;02-Rtd=-99", [("a21026", "rtd", -99.0, "-")]),
        ("DataTime=20160801085857;PNUM=3;PNO=1;02-Rtd=1", [("a21026", "rtd", 1.0, "-")]),
        ("DataTime=20160801085857;LA-Rtd-Rtd=50.5;LA-Rtd-Flag=N", [("LA", "rtd", 50.5, "N")]),
        ("DataTime=20160801085857;PM2.5-Rtd=7.5;TEMP-RTD=1", [("PM2.5", "rtd", 7.5, "-"), ("TEMP", "rtd", 1.0, "-")]),
        (" DataTime=20160801085857; i13005-Info =40 ", [("i13005", "info", 40.0, "-")]),
        ("02-Rtd=1;DataTime=20160801085857;DataTime=20170801085857", [("a21026", "rtd", 1.0, "-")]),
        ("DataTime=20160801085857;02-ValidNum=60;02-Ori=1.5;02-ZsCou=9", None),
    ],
)
def test_survival_of_field_bodies(area, expected):
    decoded, table = decode(frame(area))
    assert not decoded.rejects
    assert set(decoded.readings.time.tolist()) == {T}
    if expected is None:
        expected = [("a21026", "validnum", 60.0, "-"), ("a21026", "ori", 1.5, "-"), ("a21026", "zs_sum", 9.0, "-")]
    assert short(decoded, table) == expected


def test_a_series_is_numbered_by_its_first_accepted_reading():
    refused = frame("DataTime=20160801085857;a21026-Rtd=x")
    frames = [refused, frame("DataTime=20160801085857;a21028-Rtd=1;a21026-Rtd=2")]
    _, table = decode(*frames)
    assert [key.factor for key in table.keys] == ["a21028", "a21026"]


def test_split_packets_meet_by_key_and_repeats_are_kept():
    first = frame("DataTime=20160801085857;a21026-Rtd=1;" + "a21026-Rtd=1;" * 14, flag=6)
    second = frame("DataTime=20160801085857;a21028-Rtd=2", flag=6)
    decoded, table = decode(first, second)
    assert len(decoded.readings) == 16
    assert len(table) == 2


def test_a_site_that_makes_up_names_is_stopped(monkeypatch):
    monkeypatch.setattr(hj212_pairs, "SERIES_PER_SITE", 3)
    area = "DataTime=20160801085857;" + ";".join(f"n{i}-Rtd=1" for i in range(5))
    decoded, table = decode(frame(area))
    assert len(table) == len(decoded.readings) == 3
    assert [(r.reason, r.rows) for r in decoded.rejects] == [("too_many", 1)] * 2
    again, _ = decode(frame(area), table=table)
    assert (len(again.readings), len(again.rejects)) == (3, 2)


def test_a_changed_registry_moves_the_point_after_reset():
    places = {"point": "DA001"}
    table = SeriesTable()
    decoder = Hj212Decoder(lambda mn, _medium: (mn, places["point"]), table)
    frames, arrived = [frame("DataTime=20160801085857;a21026-Rtd=1")], np.zeros(1, np.int64)
    decoder.decode(frames, arrived)
    places["point"] = "DA002"
    decoder.reset()
    assert decoder.decode(frames, arrived).readings.series.tolist() == [1]
    assert table.keys[1].point == "DA002"


def test_nothing_in_nothing_out():
    decoded, table = decode()
    assert (len(decoded.readings), decoded.events, decoded.rejects, len(table)) == (0, [], [], 0)


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_no_bytes_can_stop_the_decoder(areas):
    frames = [*(frame(area) for area in areas), *(b"##0010" + area for area in areas), *areas]
    decoded, _ = decode(*frames)
    assert np.isfinite(decoded.readings.value).all()


@pytest.mark.parametrize(
    ("version", "flag", "head"), [("2005", False, b"##0086ST="), ("2017", True, b"QN="), ("2025", True, b"QN=")]
)
def test_encoded_frames_are_read_back(version, flag, head):
    items = {"a21026": {"Rtd": 12.5, "ZsRtd": 13.25, "Flag": "N"}, "a19001": {"Rtd": 8.1, "Flag": "M"}}
    wire = encode_frame(MN, "2011", T, items, version=version, flag_ack=flag, rf=version == "2025")
    (raw,) = split_buffer(wire).frames()
    assert head[:3] in raw
    assert (b"RF=1" in raw) == (version == "2025")
    decoded, table = decode(raw)
    assert short(decoded, table) == [("a21026", "rtd", 12.5, "N"), ("a21026", "zs_rtd", 13.25, "N"), ("a19001", "rtd", 8.1, "M")]
