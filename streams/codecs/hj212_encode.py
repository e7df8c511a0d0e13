"""Readings into HJ 212 frames: for the simulated city, tests and forwarding.

>>> items = {"a21026": {"Rtd": 12.5, "Flag": "N"}}
>>> encode_frame("010000A8900016F000169DC0", "2011", 1470013137000, items)[:88]
b'##0140QN=20160801085857000;ST=31;CN=2011;PW=123456;MN=010000A8900016F000169DC0;Flag=5;CP'
"""

from __future__ import annotations

from collections.abc import Mapping

from connectors.hj212.commands import Encoding, build, format_cst, qn_from_ms
from connectors.hj212.header import Version

_BITS: Mapping[Version, int] = {"2005": 0, "2017": 4, "2025": 8}


def encode_frame(
    mn: str,
    cn: str,
    time_ms: int,
    items: Mapping[str, Mapping[str, float | str]],
    *,
    version: Version = "2017",
    st: str = "31",
    pw: str = "123456",
    qn_ms: int | None = None,
    flag_ack: bool = True,
    rf: bool = False,
    encoding: Encoding = "utf-8",
    key: bytes | None = None,
) -> bytes:
    """Return one upload with CR LF: `items` factor → suffix → value, written in their order (HJ 212-2017 §6.3.3).

    `time_ms` is the DataTime, int64 ms UTC; the QN is `qn_ms`, or the DataTime; `flag_ack` asks for a 9014; `rf` marks a
    re-upload (HJ 212-2025); `key` encrypts the area with SM4. A frame of 2005 has neither QN nor Flag unless it asks for an answer.
    """
    parts = [f"DataTime={format_cst(time_ms)}"]
    parts += [",".join(f"{factor}-{suffix}={value}" for suffix, value in pairs.items()) for factor, pairs in items.items()]
    silent = version == "2005" and not flag_ack
    return build(
        qn=None if silent else qn_from_ms(time_ms if qn_ms is None else qn_ms),
        st=st,
        cn=cn,
        pw=pw,
        mn=mn,
        flag=None if silent else _BITS[version] | flag_ack,
        rf=rf,
        area=";".join(parts),
        encoding=encoding,
        key=key,
    )
