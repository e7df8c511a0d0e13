"""Headers as devices and the standard's own examples write them."""

from __future__ import annotations

import pytest

from connectors.hj212.header import HeaderError, parse, version_of

MN = "010000A8900016F000169DC0"


def test_a_regular_header():
    segment = f"QN=20160801085857534;ST=32;CN=2061;PW=123456;MN={MN};Flag=7;PNUM=2;PNO=1;CP=&&DataTime=1&&".encode()
    head = parse(segment)
    assert (head.qn, head.st, head.cn, head.pw, head.mn) == ("20160801085857534", "32", "2061", "123456", MN)
    assert (head.flag, head.pnum, head.pno, head.rf, head.version) == (7, 2, 1, False, "2017")
    assert segment[slice(*head.area)] == b"DataTime=1"
    assert head.answer_required
    assert head.reply_flag == 4


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("ST=31;CN=2011;PW=1;MN=LD130133000015;", {"qn": "", "flag": None, "version": "2005", "answer_required": False}),
        ("QN=20160801,ST=32;CN=2061;PW=1;MN=M;Flag=5;", {"qn": "20160801", "st": "32"}),
        ("ST=32;CN=2041;PW=1;MN=M;Flag=5", {"flag": 5, "cn": "2041"}),
        ("ST=32;CN=3020;PW=1;MN=M; Flag=5;", {"flag": 5}),
        ("ST=39;CN=2011;PW=1,MN=M_1;FLAG=5;", {"flag": 5, "mn": "M_1"}),
        ("ST=32;CN=2011;PW=;MN=;Flag=4;", {"pw": "", "mn": ""}),
        ("CN=2011;QN=20160801085857;PW=1;MN=M;ST=32;", {"qn": "20160801085857", "st": "32"}),
        ("ST=\0\0;CN=2011;PW=1;MN=M;Flag=4;", {"st": "\0\0"}),
        ("QN=1;ST=31;CN=2051;PW=1;MN=M;Flag=9;RF=1;", {"rf": True, "version": "2025", "reply_flag": 8}),
        ("QN=1;ST=31;CN=2051;PW=1;MN=M;Flag=6;PNUM=0002;PNO=01;", {"pnum": 2, "pno": 1}),
        ("QN=1;ST=31;CN=2051;PW=1;MN=M;Flag=6;PNO=2;PNUM=2;", {"pnum": 2, "pno": 2}),
        ("ST=31;CN=2051;PW=1;MN=M;Flag=7;", {"pnum": None, "pno": None, "flag": 7}),
    ],
)
def test_tolerance(head, expected):
    parsed = parse(head.encode() + b"CP=&&DataTime=1&&")
    assert {name: getattr(parsed, name) for name in expected} == expected


def test_fields_inside_the_data_area():
    reply = parse(b"ST=91;CN=9011;PW=123456;MN=M;Flag=0;CP=&&QN=20160824051300009;QnRtn=1&&")
    assert reply.qn == "20160824051300009"
    parts = parse(b"ST=31;CN=2011;PW=1;MN=M;CP=&&PNUM=3;PNO=2;DataTime=1&&")
    assert (parts.pnum, parts.pno) == (3, 2)


def test_a_quoted_frame_is_not_the_header():
    log = b"QN=1;ST=32;CN=3020;PW=1;MN=M;Flag=4;CP=&&i11001-Info=//##0098QN=2;CN=2011;PNUM=7;PNO=1;CP=&&x&&0000//&&"
    head = parse(log)
    assert (head.qn, head.cn, head.pnum) == ("1", "3020", None)
    assert log[slice(*head.area)].endswith(b"&&0000//")


@pytest.mark.parametrize(
    ("segment", "reason"),
    [
        (b"ST=31;CN=2011;", "no_data_area"),
        (b"ST=31;MN=M;CP=&&&&", "no_command"),
        (b"ST=31;CN=2011;MN=M;Flag=256;CP=&&&&", "bad_flag"),
    ],
)
def test_unreadable_headers(segment, reason):
    with pytest.raises(HeaderError) as fault:
        parse(segment)
    assert fault.value.reason == reason


@pytest.mark.parametrize(
    ("flag", "st", "mn", "version"),
    [
        (None, "31", MN, "2005"),
        (0, "31", MN, "2005"),
        (5, "31", MN, "2017"),
        (9, "31", MN, "2025"),
        (9, "21", "A110000_0001", "2017"),
        (9, "91", "A110000_0001", "2017"),
        (12, "31", MN, "2017"),
    ],
)
def test_version(flag, st, mn, version):
    assert version_of(flag, st, mn) == version
