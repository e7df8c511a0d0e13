"""The gateway: ten thousand devices on TCP and TLS, every good frame handed to `accept`, every answer after durability.

Enters: bytes of devices. Leaves: frames to `accept(frame, header, peer)`, bad chunks to `reject(chunk, peer)`, and on the wire
9014 / 9013 only once `accept` has returned (promise 1), with the request's QN, and only if the frame asks for it (Flag bit A) or
the device is set so. There is no negative acknowledgement in HJ 212: a frame that could not be stored gets silence, and the
device sends it again. Frames of unknown devices are stored and answered like all others; nothing is refused silently.

Source: HJ 212-2017 §6, HJ/T 212-2005, and HJ 212-2025 as far as known (9015 answered by 9013).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from connectors.core import Clock, ConnectorError, Lost, Refused, Retry
from connectors.hj212 import commands
from connectors.hj212.conversation import Conversation
from connectors.hj212.device import Counters, DeviceSettings, GatewayLimits
from connectors.hj212.exchange import REPLIES, RESENDS, TIMEOUT, Exchanges, Outcome
from connectors.hj212.frame import BadChunk, Dialect, Frame
from connectors.hj212.header import Header, HeaderError, parse
from connectors.hj212.routes import Routes, area_of
from connectors.hj212.session import Session

Accept = Callable[[Frame, Header, str], Awaitable[object]]
"""(frame, header, peer "address:port"): returns when the frame is durable. Raises Retry (stay silent) or Lost (the process ends)."""
Reject = Callable[[BadChunk, str], object]
"""(chunk, peer): puts aside what is no frame. May return an awaitable; nobody waits for it, but its failure is counted."""

NOTICES = frozenset({"1013", "2012", "2022", "9015"})
"""Commands answered by 9013 (notice reply) instead of 9014 (data reply); 9015 is the heartbeat of 2025."""
UNANSWERED = REPLIES | {"9014"}
FATES: tuple[tuple[type[BaseException], str], ...] = (
    (Retry, "retry"),
    (Refused, "refused"),
    (Lost, "lost"),
    (asyncio.CancelledError, "cancelled"),
    (Exception, "failed"),
)
"""Why a frame was not stored, by what `accept` raised; `failed` is a fault of ours and is logged."""
SWEEP = 1.0

_log = logging.getLogger(__name__)


class Gateway:
    """Create it inside the event loop, `listen` on as many addresses as needed, `close` at the end.

    `device(mn)` gives the settings of any MN (of an unknown one too: `known=False`); `clock` stamps QN and SystemTime.
    `lost` is done with the Lost that `accept` raised: the process has to end, recovery takes over.
    """

    def __init__(
        self,
        accept: Accept,
        *,
        clock: Clock,
        device: Callable[[str], DeviceSettings],
        reject: Reject | None = None,
        limits: GatewayLimits | None = None,
    ) -> None:
        self.counters = Counters()
        self.limits = limits or GatewayLimits()
        self.lost: asyncio.Future[Lost] = asyncio.get_running_loop().create_future()
        self._accept, self._device, self._reject = accept, device, reject
        self._sessions: set[Session] = set()
        self._addresses: Counter[str] = Counter()
        self._routes = Routes(device, clock, self.limits.devices_per_connection)
        self._exchanges = Exchanges(self._routes.transmit)
        self._conversation = Conversation(self.ask, self._spawn, clock)
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._spawn(self._sweep())

    async def listen(self, host: str, port: int, *, tls: ssl.SSLContext | None = None, backlog: int = 4_096) -> int:
        """Listen on one more address, with TLS if a context is given; return the port (useful with port 0).

        Raises Lost naming the address if it cannot be had.
        """
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(lambda: Session(self), host, port, ssl=tls, backlog=backlog)
        except OSError as error:
            raise Lost(f"HJ 212 port {host}:{port} cannot be opened: {error}; choose another port or stop its owner") from error
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening, close every connection; what waits to be durable is not answered and will be sent again."""
        for server in self._servers:
            server.close()
        for session in list(self._sessions):
            session.close("shutdown")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for session in list(self._sessions):
            session.abort("shutdown")  # what a peer does not read now, it will ask for again
        await asyncio.sleep(0)  # one turn of the loop, in which the sessions write their causes into the books

    def connected(self, mn: str) -> bool:
        """Tell whether a connection holds this device."""
        return mn in self._routes

    def devices(self) -> list[str]:
        """Return the devices that are connected."""
        return self._routes.devices()

    async def send(self, mn: str, cn: str, area: str, *, timeout: float = TIMEOUT, retries: int = RESENDS) -> Outcome:  # noqa: ASYNC109
        """Give a device any command and return its outcome (HJ 212-2017 §6.3). `area` is the data area without `&&`.

        `timeout` in s for each step, `retries` resends of the same QN. A device that is not connected has the outcome
        `not_connected` at once; nothing of the wire is raised.
        """
        self.counters.commands[cn] += 1
        request = partial(self._routes.request, mn, cn, area)
        outcome = await self._exchanges.run(mn, cn, area, request, timeout, retries)
        self.counters.outcomes[outcome.fault or "ok"] += 1
        return outcome

    async def ask(self, mn: str, cn: str, params: Mapping[str, str | int]) -> Outcome:
        """Give a command of the standard by its parameters (`commands.REQUESTS`), times as ms UTC, with the standard's time-outs.

        Raises ValueError for a command or parameter that the table does not have.
        """
        return await self.send(mn, cn, area_of(cn, params, self._routes.version(mn)))

    # The rest is called by sessions.

    def dialect(self, mn: str) -> Dialect:
        """Return the dialect of a device, for the framer."""
        return self._device(mn).dialect

    def admit(self, session: Session) -> str:
        """Enter a session in the books; return why it may not stay."""
        self.counters.opened += 1
        self._addresses[session.address] += 1
        self._sessions.add(session)
        self.counters.open = len(self._sessions)
        if len(self._sessions) > self.limits.connections:
            return "too_many"
        if self._addresses[session.address] > self.limits.connections_per_address:
            return "too_many_of_address"
        return ""

    def gone(self, session: Session) -> None:
        """Forget a session and the routes that lead to it."""
        self._sessions.discard(session)
        self.counters.open = len(self._sessions)
        self._routes.forget(session)
        self._addresses[session.address] -= 1
        if not self._addresses[session.address]:
            del self._addresses[session.address]

    def bad(self, session: Session, chunk: BadChunk) -> None:
        """Count what is no frame, and hand it on so that it does not vanish (promise 4)."""
        self.counters.read += 1
        self.counters.rejected[chunk.reason] += 1
        if self._reject is None:
            return
        try:
            handed = self._reject(chunk, session.peer)
        except ConnectorError as error:
            self._not_kept(error)
            return
        if inspect.isawaitable(handed):
            asyncio.ensure_future(handed).add_done_callback(self._put_aside)

    def frame(self, session: Session, frame: Frame) -> None:
        """Take one good frame: route, correlate, store, and answer once it is durable."""
        try:
            header = parse(frame.segment)
        except HeaderError:
            self.bad(session, BadChunk("bad_structure", frame.raw))
            return
        session.begun()
        self.counters.read += 1
        if frame.audit:
            self.counters.audited[frame.audit] += 1
        self._routes.learn(session, header)
        self._exchanges.frame(header, frame)
        try:
            stored: asyncio.Future[object] = asyncio.ensure_future(self._accept(frame, header, session.peer))
        except Exception as error:  # noqa: BLE001 — told apart in _stored, together with what is raised later
            stored = asyncio.get_running_loop().create_future()
            stored.set_exception(error)
        stored.add_done_callback(partial(self._stored, session, header))

    def _put_aside(self, handed: asyncio.Future[Any]) -> None:
        error = asyncio.CancelledError() if handed.cancelled() else handed.exception()
        if error is not None:
            self._not_kept(error)

    def _not_kept(self, error: BaseException) -> None:
        self.counters.not_kept += 1
        if isinstance(error, Lost) and not self.lost.done():
            self.lost.set_result(error)

    def _stored(self, session: Session, header: Header, stored: asyncio.Future[object]) -> None:
        """Answer a durable frame; a frame that is not gets silence, so that the device sends it again."""
        error: BaseException | None = asyncio.CancelledError() if stored.cancelled() else stored.exception()
        if error is None:
            self.counters.accepted += 1
            self._answer(session, header)
        else:
            fate = next(name for kind, name in FATES if isinstance(error, kind))
            self.counters.unstored[fate] += 1
            if isinstance(error, Lost) and not self.lost.done():
                self.lost.set_result(error)
            if fate == "failed":
                _log.error("a frame of %s from %s could not be stored", header.mn, session.peer, exc_info=error)
        session.done()

    def _answer(self, session: Session, header: Header) -> None:
        settings = self._device(header.mn)
        if not settings.known:
            self.counters.unknown_device += 1
        if header.cn in UNANSWERED:
            return
        wanted = settings.dialect.ack_without_flag if header.flag is None else header.answer_required
        if header.cn in NOTICES and (wanted or header.cn == "1013"):
            session.write(commands.ack_notice(header))
            self.counters.acks["9013"] += 1
        elif wanted:
            session.write(commands.ack_data(header))
            self.counters.acks["9014"] += 1
        self._conversation.heard(header, settings)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task of the gateway failed", exc_info=error)

    async def _sweep(self) -> None:
        """Apply the time limits to every connection, once a second."""
        while True:
            await asyncio.sleep(SWEEP)
            now = asyncio.get_running_loop().time()
            for session in list(self._sessions):
                session.sweep(now)
