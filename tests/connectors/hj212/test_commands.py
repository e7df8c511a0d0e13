"""Frames of the centre: every one is accepted by our own framer, and replies follow the request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.hj212.commands import REQUESTS, ack_data, ack_notice, build, format_cst, parse_cst, qn_from_ms, request
from connectors.hj212.frame import Dialect, Frame, Framer
from connectors.hj212.header import parse

NOW = 1_470_013_137_223
KEY = bytes(range(16))


def only(wire: bytes, dialect: Dialect | None = None) -> Frame:
    framer = Framer(dialects=lambda _mn: dialect) if dialect else Framer()
    (frame,) = framer.feed(wire)
    assert isinstance(frame, Frame)
    assert framer.pending == 0
    return frame


@pytest.mark.parametrize("cn", REQUESTS)
@pytest.mark.parametrize("version", ["2005", "2017", "2025"])
def test_requests_ask_for_an_answer(cn, version):
    params = {name: NOW if name in {"SystemTime", "BeginTime", "EndTime"} else 30 for name in REQUESTS[cn] if name != "PolId"}
    frame = only(request(cn, params, qn_ms=NOW, st="32", mn="M1", version=version))
    head = parse(frame.segment)
    assert (head.cn, head.qn, head.version, head.answer_required) == (cn, "20160801085857223", version, True)
    area = frame.segment[slice(*head.area)].decode()
    assert ("BeginTime=20160801085857,EndTime=" in area) == (version == "2005" and "BeginTime" in REQUESTS[cn])


def test_a_request_as_printed_in_annex_c():
    wire = request("1000", {"OverTime": 5, "ReCount": 3}, qn_ms=NOW, st="32", mn="010000A8900016F000169DC0")
    assert wire == (
        b"##0107QN=20160801085857223;ST=32;CN=1000;PW=123456;MN=010000A8900016F000169DC0;Flag=5;"
        b"CP=&&OverTime=5;ReCount=3&&CAC1\r\n"
    )


@pytest.mark.parametrize(("cn", "params"), [("9999", {}), ("1062", {}), ("1062", {"RtdInterval": 30, "Other": 1})])
def test_a_wrong_request_is_named(cn, params):
    with pytest.raises(ValueError, match=f"CN={cn}"):
        request(cn, params, qn_ms=NOW, st="32", mn="M1")


@pytest.mark.parametrize(("flag", "reply"), [(5, b"Flag=4;"), (7, b"Flag=4;"), (9, b"Flag=8;"), (1, b"Flag=0;")])
def test_replies_carry_the_qn_and_the_version_of_the_request(flag, reply):
    upload = only(build(qn="20160801085857223", st="31", cn="2011", pw="123456", mn="M1", flag=flag))
    for answer, cn in ((ack_data, "9014"), (ack_notice, "9013")):
        head = parse(only(answer(parse(upload.segment))).segment)
        assert (head.qn, head.st, head.cn, head.mn) == ("20160801085857223", "91", cn, "M1")
        assert reply in answer(parse(upload.segment))


def test_a_reply_to_a_frame_without_qn_and_flag_has_neither():
    assert ack_data(parse(b"ST=31;CN=2011;PW=123456;MN=M1;CP=&&&&")) == build(st="91", cn="9014", pw="123456", mn="M1")


@pytest.mark.parametrize("encoding", ["utf-8", "gbk"])
def test_length_and_checksum_count_encoded_bytes(encoding):
    frame = only(build(st="32", cn="3020", pw="1", mn="M1", flag=4, area="i11001-Info=//清洗管路//", encoding=encoding))
    assert "清洗管路".encode(encoding) in frame.raw


@given(st.binary(max_size=300))
def test_an_encrypted_frame_is_read_back(area):
    wire = build(st="31", cn="2051", pw="1", mn="M1", flag=8, area=area, key=KEY)
    frame = only(wire, Dialect(sm4_key=KEY))
    assert frame.segment[slice(*parse(frame.segment).area)] == area


def test_a_segment_beyond_four_digits_is_refused():
    with pytest.raises(ValueError, match="PNUM"):
        build(st="31", cn="2011", pw="1", mn="M1", area=b"x" * 9990)


@given(st.integers(0, 4_102_444_800_000))
def test_times_there_and_back(ms):
    assert parse_cst(qn_from_ms(ms)) == ms
    assert parse_cst(format_cst(ms)) == ms - ms % 1000


@pytest.mark.parametrize(
    "text", ["", "2016080108585", "201608010858570", "20161301000000", "20160801240000", "19690101000000", "x"]
)
def test_no_times(text):
    assert parse_cst(text) is None
