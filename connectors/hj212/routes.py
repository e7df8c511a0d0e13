"""Which connection holds which device, which edition of the standard it speaks, and how a request to it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connectors.core import Clock
from connectors.hj212 import commands
from connectors.hj212.device import DeviceSettings
from connectors.hj212.exchange import REPLIES
from connectors.hj212.header import Header, Version
from connectors.hj212.session import Session

REQUEST_FLAG: dict[Version, int] = {"2005": 1, "2017": 5, "2025": 9}
"""Flag of a request by edition: an answer is required, not split (HJ 212-2017 table 3)."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a device was last heard, and what it spoke."""

    session: Session
    version: Version = "2017"
    st: str = "31"


def area_of(cn: str, params: Mapping[str, str | int], version: Version) -> str:
    """Write the data area of a request: parameters in the order of the standard, ints of `…Time` as ms UTC.

    2005 devices expect a comma between BeginTime and EndTime. Raises ValueError for a command that is not in the table.

    >>> area_of("2061", {"BeginTime": 1470009600000, "EndTime": 1470013200000}, "2017")
    'BeginTime=20160801080000;EndTime=20160801090000'
    """
    names = commands.REQUESTS.get(cn)
    if names is None or params.keys() - set(names):
        raise ValueError(f"CN={cn} takes {', '.join(names) if names else 'no request of this gateway'}; got {', '.join(params)}")
    texts = {
        name: commands.format_cst(value)
        if isinstance(value, int) and name.endswith("Time") and name != "OverTime"
        else str(value)
        for name, value in params.items()
    }
    joiner = "," if version == "2005" and "BeginTime" in texts else ";"
    return joiner.join(f"{name}={texts[name]}" for name in names if name in texts)


class Routes:
    """The routes of all devices; the connection that spoke last for an MN has it (two connections may claim one)."""

    def __init__(self, device: Callable[[str], DeviceSettings], clock: Clock, limit: int) -> None:
        self._device, self._clock, self._limit = device, clock, limit
        self._routes: dict[str, Route] = {}
        self._last_qn = 0

    def __contains__(self, mn: str) -> bool:
        """Tell whether a connection holds the device."""
        return mn in self._routes

    def devices(self) -> list[str]:
        """Return the devices that are connected."""
        return list(self._routes)

    def version(self, mn: str) -> Version:
        """Return the edition a device speaks, 2017 if it has not been heard."""
        route = self._routes.get(mn)
        return route.version if route else "2017"

    def learn(self, session: Session, header: Header) -> None:
        """Note that `session` speaks for the device of a frame; a session may speak for a bounded number of devices."""
        mn = header.mn
        if mn not in session.devices:
            if not mn or len(session.devices) >= self._limit:
                return
            session.devices.add(mn)
        old = self._routes.get(mn)
        if header.cn in REPLIES and old is not None:  # replies carry ST=91, which is nobody's own
            self._routes[mn] = Route(session, old.version, old.st)
        elif old is None or (old.session, old.version, old.st) != (session, header.version, header.st):
            self._routes[mn] = Route(session, header.version, header.st)

    def forget(self, session: Session) -> None:
        """Drop the routes that lead to a session."""
        for mn in session.devices:
            if mn in self._routes and self._routes[mn].session is session:
                del self._routes[mn]

    def transmit(self, mn: str, frame: bytes) -> bool:
        """Send a frame to the connection that holds the device; tell whether there is one."""
        route = self._routes.get(mn)
        if route is not None:
            route.session.write(frame)
        return route is not None

    def request(self, mn: str, cn: str, area: str) -> tuple[str, bytes]:
        """Build a request in the edition the device speaks; return its QN (now, and never used twice) and the frame."""
        self._last_qn = max(self._clock(), self._last_qn + 1)
        qn = commands.qn_from_ms(self._last_qn)
        route, settings = self._routes.get(mn), self._device(mn)
        frame = commands.build(
            qn=qn,
            st=route.st if route else "31",
            cn=cn,
            pw=settings.password,
            mn=mn,
            flag=REQUEST_FLAG[self.version(mn)],
            area=area,
            encoding=settings.dialect.encoding,
            key=settings.dialect.sm4_key,
        )
        return qn, frame
