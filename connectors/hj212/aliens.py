"""Other protocols that knock at the HJ 212 port, and what each is told before the connection is closed.

Enters: the first bytes of a connection that has not sent a frame yet. Leaves: an `Alien`, or None. Registration texts of DTU
modules and line noise are no aliens: real devices send them before and between frames, and they are only counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HEAD = 512
"""Bytes of a connection that are looked at; an alien shows itself within them or is taken for noise."""

ADVICE = "this port speaks HJ 212 over TCP; send readings by HTTP to POST /api/v1/readings of the ingest port"


@dataclass(frozen=True, slots=True)
class Alien:
    """A protocol by its first bytes; `answer` is readable for text protocols and empty for binary ones."""

    name: str
    begins: re.Pattern[bytes]
    answer: bytes = b""


def _http(status: str) -> bytes:
    body = ADVICE.encode() + b"\n"
    lines = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return lines.encode() + body


ALIENS = (
    Alien(
        "http", re.compile(rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|CONNECT|TRACE) \S|PRI \* HTTP"), _http("400 Bad Request")
    ),
    Alien("ssh", re.compile(rb"SSH-\d"), ADVICE.encode() + b"\r\n"),
    Alien(
        "influx", re.compile(rb"[A-Za-z_][\w.\-/]*(?:,[^\s,=]+=[^\s,]+)* [^\s,=]+=[^\s]+"), b"error: " + ADVICE.encode() + b"\n"
    ),
    Alien("json", re.compile(rb"\s*[\[{]\s*[\"{\]}]"), b'{"error": "' + ADVICE.encode() + b'"}\n'),
    Alien("tls", re.compile(rb"\x16\x03[\x00-\x04]")),
    Alien("mqtt", re.compile(rb"\x10[\x00-\xff]{1,4}\x00[\x04\x06]MQ", re.DOTALL)),
    Alien("modbus", re.compile(rb"..\x00\x00\x00[\x02-\xfe].[\x01-\x18\x2b]", re.DOTALL)),
)
"""HTTP (RFC 9112, RFC 9113), SSH (RFC 4253 §4.2), InfluxDB line protocol, JSON text, a TLS ClientHello (RFC 8446 §5.1),
MQTT CONNECT (OASIS MQTT 5.0 §3.1) and Modbus TCP (MBAP header: transaction, protocol 0, length, unit, function code)."""


def alien(head: bytes) -> Alien | None:
    """Return the protocol that `head` belongs to, or None: HJ 212, noise, or too little to tell.

    >>> alien(b"GET / HTTP/1.1").name
    'http'
    >>> alien(b"##0101QN=2016...") is alien(b"+8613800000000 online") is None
    True
    """
    if b"##" in head:
        return None
    return next((known for known in ALIENS if known.begins.match(head)), None)
