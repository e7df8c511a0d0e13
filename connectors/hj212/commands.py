r"""Frames that the centre sends, and the tables of commands and return codes (HJ 212-2017 §6.6, tables 5, 9 and 10).

Fields enter, whole frames leave: header, data area, checksum, CR LF. Times are int64 ms UTC here and China Standard Time
without a zone on the wire.

>>> from connectors.hj212.header import parse
>>> ack = ack_data(parse(b"QN=20160801085857223;ST=32;CN=2011;PW=123456;MN=010000A8900016F000169DC0;Flag=5;CP=&&&&"))
>>> ack
b'##0087QN=20160801085857223;ST=91;CN=9014;PW=123456;MN=010000A8900016F000169DC0;Flag=4;CP=&&&&3240\r\n'
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Literal

from connectors.hj212 import sm4
from connectors.hj212.crc import crc16
from connectors.hj212.header import Header, Version

__all__ = [
    "CN",
    "EXE_RTN",
    "QN_RTN",
    "REQUESTS",
    "ack_data",
    "ack_notice",
    "build",
    "format_cst",
    "parse_cst",
    "qn_from_ms",
    "request",
]

Encoding = Literal["utf-8", "gbk"]

CN: Mapping[str, str] = {
    "1000": "设置超时时间及重发次数",
    "1001": "上传硬件序号",
    "1002": "设置设备唯一标识",
    "1011": "提取/上传现场机时间",
    "1012": "设置现场机时间",
    "1013": "现场机时间校准请求",
    "1014": "设置新密钥",
    "1061": "提取/上传实时数据间隔",
    "1062": "设置实时数据间隔",
    "1063": "提取/上传分钟数据间隔",
    "1064": "设置分钟数据间隔",
    "1072": "设置现场机密码",
    "2011": "取/上传污染物实时数据",
    "2012": "停止察看污染物实时数据",
    "2013": "原始监测数据",
    "2021": "取/上传设备运行状态数据",
    "2022": "停止察看设备运行状态",
    "2031": "取/上传污染物日历史数据",
    "2041": "取/上传设备运行时间日历史数据",
    "2051": "取/上传污染物分钟数据",
    "2052": "噪声单次数据",
    "2061": "取/上传污染物小时数据",
    "2062": "自动标样核查数据",
    "2071": "污染物超限报警",
    "2072": "污染物报警",
    "2073": "电源报警",
    "2081": "上传数采仪开机时间",
    "2111": "炉膛温度五分钟数据",
    "3011": "零点校准量程校准",
    "3012": "即时采样",
    "3013": "启动清洗/反吹",
    "3014": "比对采样",
    "3015": "超标留样",
    "3016": "设置采样时间周期",
    "3017": "提取/上传采样时间周期",
    "3018": "提取/上传出样时间",
    "3019": "提取/上传设备唯一标识",
    "3020": "提取/上传现场机信息",
    "3021": "设置现场机参数",
    "3022": "即时留样",
    "3024": "启动标样核查",
    "8013": "心跳",
    "9011": "请求应答",
    "9012": "执行结果",
    "9013": "通知应答",
    "9014": "数据应答",
    "9015": "心跳包",
}
"""Command codes by name (HJ 212-2017 table 9, with HJ/T 212-2005 alarms, HJ 212-2025 additions and the heartbeat 8013)."""

QN_RTN: Mapping[int, str] = {
    1: "准备执行请求",
    2: "请求被拒绝",
    3: "PW 错误",
    4: "MN 错误",
    5: "ST 错误",
    6: "Flag 错误",
    7: "QN 错误",
    8: "CN 错误",
    9: "CRC 校验错误",
    100: "未知错误",
}
"""QnRtn of CN=9011 (HJ 212-2017 table 5)."""

EXE_RTN: Mapping[int, str] = {
    1: "执行成功",
    2: "执行失败，但不知道原因",
    3: "命令请求条件错误",
    4: "通讯超时",
    5: "系统繁忙不能执行",
    6: "系统故障",
    100: "没有数据",
}
"""ExeRtn of CN=9012 (HJ 212-2017 table 5)."""

REQUESTS: Mapping[str, tuple[str, ...]] = {
    "1000": ("OverTime", "ReCount"),
    "1012": ("PolId", "SystemTime"),
    "1062": ("RtdInterval",),
    "1064": ("MinInterval",),
    "2011": (),
    "2012": (),
    "2051": ("BeginTime", "EndTime"),
    "2061": ("BeginTime", "EndTime"),
    "2031": ("BeginTime", "EndTime"),
    "3015": (),
}
"""Requests of the centre and their parameters, in the order of the wire (HJ 212-2017 Annex C)."""

OPTIONAL = frozenset({"PolId"})
_VERSION_BITS: Mapping[Version, int] = {"2005": 0, "2017": 4, "2025": 8}
_CST = timezone(timedelta(hours=8))
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d{3})?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def build(
    *,
    st: str,
    cn: str,
    pw: str,
    mn: str,
    qn: str | None = None,
    flag: int | None = None,
    rf: bool = False,
    area: str | bytes = b"",
    encoding: Encoding = "utf-8",
    key: bytes | None = None,
) -> bytes:
    """Return a whole frame. A field that is None or empty (QN, Flag) is left out, as 2005 devices do; `rf` marks a re-upload (HJ 212-2025).

    `key` (16 bytes) encrypts the area with SM4; the checksum is over the plain text (HJ 212-2025 Annex A.2).
    Raises ValueError if the segment does not fit four digits of length.
    """
    body = area.encode(encoding) if isinstance(area, str) else area
    head = f"QN={qn};" if qn else ""
    head += f"ST={st};CN={cn};PW={pw};MN={mn};"
    head += "" if flag is None else f"Flag={flag};"
    head += "RF=1;" if rf else ""
    opening = head.encode("utf-8") + b"CP=&&"
    segment = opening + body + b"&&"
    if len(segment) > 9999:
        raise ValueError(f"a data segment of {len(segment)} bytes does not fit: send it in parts (PNUM, PNO)")
    wire = opening + sm4.encrypt(body, key) + b"&&" if key else segment
    return b"##%04d%b%04X\r\n" % (len(segment), wire, crc16(segment))


def _reply(header: Header, cn: str) -> bytes:
    flag = None if header.flag is None and not header.qn else header.reply_flag
    return build(qn=header.qn, st="91", cn=cn, pw=header.pw, mn=header.mn, flag=flag)


def ack_data(header: Header) -> bytes:
    """Return the 9014 that answers an upload: the QN of the request, ST=91, the version bits of its Flag (HJ 212-2017 §6.5)."""
    return _reply(header, "9014")


def ack_notice(header: Header) -> bytes:
    """Return the 9013 that answers a notice (1013, 9015 and the like)."""
    return _reply(header, "9013")


def request(
    cn: str,
    params: Mapping[str, str | int] | None = None,
    *,
    qn_ms: int,
    st: str,
    mn: str,
    pw: str = "123456",
    version: Version = "2017",
    key: bytes | None = None,
) -> bytes:
    """Return a request of the centre that asks for an answer; `cn` is one of `REQUESTS`.

    Parameters whose name ends in `Time` and whose value is an int are ms UTC. 2005 devices expect a comma between BeginTime and
    EndTime. Raises ValueError naming what is unknown or missing.
    """
    given = dict(params or {})
    names = REQUESTS.get(cn)
    if names is None:
        raise ValueError(f"CN={cn} is no request this centre sends: use one of {', '.join(REQUESTS)}")
    missing = [name for name in names if name not in given and name not in OPTIONAL]
    if missing or given.keys() - set(names):
        raise ValueError(f"CN={cn} takes {', '.join(names) or 'no parameters'}; got {', '.join(given) or 'none'}")
    pairs = [f"{name}={_wire(name, given[name])}" for name in names if name in given]
    joiner = "," if version == "2005" and "BeginTime" in names else ";"
    return build(
        qn=qn_from_ms(qn_ms), st=st, cn=cn, pw=pw, mn=mn, flag=_VERSION_BITS[version] | 1, area=joiner.join(pairs), key=key
    )


def _wire(name: str, value: str | int) -> str:
    if isinstance(value, int) and name.endswith("Time") and name != "OverTime":
        return format_cst(value)
    return str(value)


def qn_from_ms(ms: int) -> str:
    """Return the QN of an instant, `YYYYMMDDhhmmsszzz` in China Standard Time.

    >>> qn_from_ms(1470013137223)
    '20160801085857223'
    """
    return f"{format_cst(ms)}{ms % 1000:03d}"


def format_cst(ms: int) -> str:
    """Return `YYYYMMDDhhmmss` in China Standard Time."""
    return (_EPOCH + timedelta(milliseconds=ms)).astimezone(_CST).strftime("%Y%m%d%H%M%S")


def parse_cst(text: str) -> int | None:
    """Return ms UTC of `YYYYMMDDhhmmss` or, as many devices send it, `YYYYMMDDhhmmsszzz`; None if it is no date from 1970 on.

    >>> parse_cst("20160801085857223"), parse_cst("20160230000000")
    (1470013137223, None)
    """
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, milli = (int(part or 0) for part in found.groups())
    try:
        moment = datetime(year, month, day, hour, minute, second, milli * 1000, tzinfo=_CST)
    except ValueError:
        return None
    return (moment - _EPOCH) // timedelta(milliseconds=1) if year >= 1970 else None
