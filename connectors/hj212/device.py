"""What the gateway must know of one device, what it allows anybody, and what it counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from connectors.hj212.frame import LIMIT, Dialect


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """One device (MN): its dialect, its password, and the conversation at its first connection.

    `greeting` names the commands sent once when a known device first connects, in the order of HJ 212-2017 §6.7: of "1012"
    (clock), "1000" (time-outs), "1062" and "1064" (intervals), "2011" (start real-time). Intervals: RtdInterval s (30-3600),
    MinInterval min; OverTime s and ReCount times (HJ 212-2017 table 5).
    """

    known: bool = False
    dialect: Dialect = field(default_factory=Dialect)
    password: str = "123456"  # noqa: S105 — the standard's clear-text default, no secret (HJ 212-2017 table 2)
    greeting: tuple[str, ...] = ()
    rtd_interval: int = 30
    min_interval: int = 10
    over_time: int = 10
    recount: int = 3


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """What the gateway allows: connections, segment bytes, frames a second and a peer, waiting times in s.

    `idle` is without a good frame (RtdInterval may be 3600 s); `unproven` is how long a new peer may take for its first one;
    `partial` is how long the rest of a frame is waited for; `lagging` is how long a peer may leave our answers unread;
    `noise` is how many bad bytes in a row end a connection; `in_flight` is how many frames of a peer may wait to be durable.
    """

    connections: int = 20_000
    connections_per_address: int = 20_000
    segment: int = LIMIT
    rate: float = 5_000.0
    burst: float = 20_000.0
    idle: float = 3_900.0
    unproven: float = 600.0
    partial: float = 30.0
    lagging: float = 60.0
    noise: int = 1 << 20
    in_flight: int = 1_024
    devices_per_connection: int = 4_096


@dataclass(slots=True)
class Counters:
    """The gateway's books; readable at any time. read = accepted + all of rejected + all of unstored + what is in flight.

    `not_kept` counts the rejected chunks that could not be put aside either (the disk was full).
    """

    opened: int = 0
    open: int = 0
    bytes: int = 0
    read: int = 0
    accepted: int = 0
    unknown_device: int = 0
    throttled: int = 0
    not_kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    unstored: Counter[str] = field(default_factory=Counter)
    audited: Counter[str] = field(default_factory=Counter)
    acks: Counter[str] = field(default_factory=Counter)
    commands: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)

    def snapshot(self) -> dict[str, Any]:
        """Return the counts as plain JSON."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in values.items()}
