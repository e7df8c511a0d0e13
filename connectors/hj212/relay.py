"""The relay (一点多发): original frames, byte for byte, to another platform, as if the device had sent them there itself.

Frames enter from the durable queue, in order for each MN; they leave on one TCP connection for each MN, or on one for all. No byte
between `##` and the checksum is changed, so a re-upload carries no RF mark; the line end is the standard's CR LF. The relay never
answers a device: that is the gateway's business. What the platform asks in its turn is counted and not answered.

An acknowledgement (9014; 9013 for a notice) is waited for when the frame's Flag asks for one: `timeout` s, `resends` times
(HJ 212-2017 table 1: 10 s, 3), then the platform counts as unreachable and the queue tries again later. So nothing is lost, and a
frame comes twice only where its acknowledgement was lost: around a crash, a dropped connection or a late answer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from connectors.core import Clock, Refused, Retry
from connectors.hj212.header import Header, HeaderError, parse
from connectors.hj212.upstream import Place, Upstream, dial
from connectors.outbound_entries import Item
from connectors.outputs import ALL, DAY, Common, Delivery, among, tls_of
from connectors.table import Secret, Table

FRAME, HELD_FRAME, REDRIVEN_FRAME = "frame", "frame.held", "frame.redriven"
"""Kinds of entries: a device's frame; one of a device nobody registered; the same again, once somebody has. `/…` may follow."""
OWN = frozenset({"9011", "9012", "9013", "9014", "1013"})
"""Not relayed unless `cn` names them: answers to this centre's own commands, and requests for its clock."""
SHARED = ""
"""Name of the one connection for all MNs."""
DEFAULTS = Common(backoff=(1.0, 30.0), expire=14 * DAY, bound=5_000_000)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a platform wants its frames; times in s.

    `acks`: `flag` waits where the frame's Flag asks for an answer, `unflagged-too` also where there is no Flag (2005), `never` never.
    `stand`: how long a connection must stand for frames without an answer to count as delivered.
    """

    mn: frozenset[str] = frozenset(ALL)
    st: frozenset[str] = frozenset(ALL)
    cn: frozenset[str] = frozenset(ALL)
    connections: str = "mn"
    acks: str = "flag"
    timeout: float = 10.0
    resends: int = 3
    stand: float = 1.0
    reconnect: float = 5.0


class Relay:
    """One platform. `asked` counts what it sent besides acknowledgements, by CN."""

    takes = "frames"
    batch, parallel = 64, 256

    def __init__(self, common: Common, place: Place, manner: Manner, live_ms: int | None = None) -> None:
        self.common, self.live_ms = common, live_ms
        self.asked: Counter[str] = Counter()
        self._place, self._manner = place, manner
        self._open: dict[str, Upstream] = {}
        self._dialling: dict[str, asyncio.Lock] = {}
        self._not_before = 0.0

    def wants(self, kind: str, key: str, body: bytes) -> str | None:
        """Take frames by site, MN, ST and CN; return the MN. `key` is the site, the MN where nobody registered it."""
        kind, sites = kind.partition("/")[0], self.common.sites
        skipped = REDRIVEN_FRAME if "*" in sites else HELD_FRAME  # each frame leaves once: at first, or once its site is known
        if not kind.startswith(FRAME) or kind == skipped or not among(key, sites):
            return None
        header, manner = _header(body), self._manner
        if header is None or not among(header.mn, manner.mn) or not among(header.st, manner.st):
            return None
        return header.mn if header.cn in manner.cn or ("*" in manner.cn and header.cn not in OWN) else None

    async def deliver(self, items: Sequence[Item]) -> Delivery:
        """Send one frame and wait for its acknowledgement, or some that ask for none."""
        first = _header(items[0].body)
        if first is None:
            return Delivery(fault=Refused("is no HJ 212 frame"))
        try:
            upstream = await self._connection(first.mn)
            if self._asks(first):
                return Delivery([await self._acknowledged(upstream, items[0].body, first)])
            frames = [item.body for item in takewhile(self._silent, items)]
            await upstream.taken(frames, self._manner.timeout, self._manner.stand)
            return Delivery(["taken"] * len(frames))
        except Retry as fault:
            return Delivery(fault=fault)

    def _silent(self, item: Item) -> bool:
        header = _header(item.body)
        return header is not None and not self._asks(header)

    def _asks(self, header: Header) -> bool:
        acks = self._manner.acks
        return acks != "never" and (acks == "unflagged-too" if header.flag is None else header.answer_required)

    async def _acknowledged(self, upstream: Upstream, frame: bytes, header: Header) -> str:
        """Send a frame until it is acknowledged. Raises Retry when the standard says that the platform is unreachable."""
        heard, manner = upstream.heard, self._manner
        for sends in range(1, manner.resends + 2):
            try:
                cn = await upstream.acknowledged(frame, header, manner.timeout)
            except Retry:
                if upstream.gone.is_set():
                    raise
                continue
            return cn if sends == 1 else f"{cn} after {sends} sends"
        if (
            manner.connections == "mn" or upstream.heard == heard
        ):  # on a shared connection that lives, only this device is ignored
            await upstream.close()
        raise Retry(
            f"no acknowledgement after {manner.resends + 1} sends of {manner.timeout:g} s: unreachable (HJ 212-2017 table 1)"
        )

    async def _connection(self, mn: str) -> Upstream:
        """Return the connection for an MN, opened if there is none. Raises Retry; nobody dials again for `reconnect` s then."""
        key = mn if self._manner.connections == "mn" else SHARED
        async with self._dialling.setdefault(key, asyncio.Lock()):
            found = self._open.get(key)
            if found is not None and not found.gone.is_set():
                return found
            now = asyncio.get_running_loop().time()
            if now < self._not_before:
                raise Retry(f"{self._place.host}:{self._place.port} was not reached a moment ago", self._not_before - now)
            try:
                made = self._open[key] = await dial(self._place, self.asked)
            except Retry as fault:
                self._not_before = now + self._manner.reconnect
                raise Retry(str(fault), self._manner.reconnect) from fault
            return made

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(upstream.close() for upstream in self._open.values()))


def _header(frame: bytes) -> Header | None:
    """Read a frame's header; None if it has none. The checksum was looked at when the frame was taken."""
    try:
        return parse(frame[6:-4])
    except HeaderError:
        return None


def from_table(table: Table, common: Common, _secret: Secret, _clock: Clock) -> Relay:
    """Make a relay of its table. Raises TableFaults."""
    tls = tls_of(table, wanted=table.flag("tls", default=False))
    place = Place(table.text("host"), table.whole("port", 9212, 1, 65_535), tls)
    usual = Manner()
    manner = Manner(
        mn=frozenset(table.texts("mn", ALL)),
        st=frozenset(table.texts("st", ALL)),
        cn=frozenset(table.texts("cn", ALL)),
        connections=table.choice("connections", ("mn", "one"), usual.connections),
        acks=table.choice("acks", ("flag", "unflagged-too", "never"), usual.acks),
        timeout=table.number("timeout", usual.timeout, 0.1, 99),
        resends=table.whole("resends", usual.resends, 0, 99),
        stand=table.number("stand", usual.stand, 0, 60),
        reconnect=table.number("reconnect", usual.reconnect, 0.01, 3600),
    )
    live = table.whole("live_seconds", 300, 1, 86_400) * 1000
    live_first = table.choice("live", ("first", "last"), "last") == "first"
    table.done()
    return Relay(common, place, manner, live if live_first else None)
