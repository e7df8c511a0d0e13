"""Commands to devices over Kafka: whoever wants one writes it, the gateway that holds the device's connection gives it.

Messages of `device-commands` enter, messages of `device-replies` leave, both keyed by site and described in docs/contracts. Every
gateway reads all commands and gives those of devices that are connected to it; a command that nobody gave runs out.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from cases.clocks import format_time, parse_time
from connectors.core import JSON, Clock, ConnectorError, Record
from connectors.hj212.exchange import Outcome
from connectors.hj212.routes import area_of
from connectors.hj212.server import Gateway
from connectors.kafka import Cluster
from connectors.kafka_news import news
from connectors.kafka_sender import Sender
from offsite.hearing import hear
from streams.topics import DEVICE_COMMANDS, DEVICE_REPLIES

ANSWER_S = 50.0
"""Seconds after which a command has run out: HJ 212-2017 table 1 allows 10 s and three resends."""
SECOND_S = 3.0
"""Seconds for which a reply with a fault waits for one without."""
_log = logging.getLogger("offsite")

Reply = Callable[[str, dict[str, Any]], Awaitable[None]]
"""(site, body): makes a reply durable."""


async def follow_commands(cluster: Cluster, gateway: Gateway, reply: Reply, clock: Clock, stopping: threading.Event) -> None:
    """Give commands as they come, until cancelled; ends with Lost if the topic can't be read."""
    loop = asyncio.get_running_loop()
    commands: asyncio.Queue[Mapping[str, Any] | ConnectorError] = asyncio.Queue()

    def read() -> None:
        try:
            for key, body in news(cluster, DEVICE_COMMANDS, stopping.is_set):
                if command := _legible(body):
                    loop.call_soon_threadsafe(commands.put_nowait, {**command, "site": key})
        except ConnectorError as error:
            loop.call_soon_threadsafe(commands.put_nowait, error)

    threading.Thread(target=read, name="commands", daemon=True).start()
    given: set[asyncio.Task[None]] = set()
    while True:
        command = await commands.get()
        if isinstance(command, ConnectorError):
            raise command
        if gateway.connected(str(command.get("mn"))) and clock() - parse_time(command["at"]) < ANSWER_S * 1000:
            task = asyncio.create_task(_give(gateway, command, reply, clock))
            given.add(task)
            task.add_done_callback(given.discard)


async def _give(gateway: Gateway, command: Mapping[str, Any], reply: Reply, clock: Clock) -> None:
    mn, cn = str(command["mn"]), str(command["cn"])
    try:
        outcome = await gateway.ask(mn, cn, command["params"])
    except ValueError as fault:
        _log.warning("command %s of %s is none of the standard: %s", cn, mn, fault)
        outcome = Outcome(mn, cn, "", fault="refused")
    told = {"id": command["id"], "mn": mn, "cn": cn, "qn": outcome.qn, "qn_rtn": outcome.qn_rtn, "exe_rtn": outcome.exe_rtn}
    await reply(str(command["site"]), told | {"frames": len(outcome.data), "fault": outcome.fault, "at": format_time(clock())})


def _legible(body: bytes) -> Mapping[str, Any]:
    """Return a command; what is none is dropped with a line in the log, for nobody can be answered."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict) and {"id", "mn", "cn", "params", "at"} <= found.keys():
        return found
    _log.warning("a message of %s is no command: %r", DEVICE_COMMANDS, body[:120])
    return {}


class RemoteGateway:
    """What asks for commands where no gateway is: the desk. `ask` is that of `connectors.hj212.server.Gateway`."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster, self._clock = cluster, clock
        self._sender = Sender(cluster, "commands")
        self._sending = asyncio.Lock()
        self._waiting: dict[str, asyncio.Future[Mapping[str, Any]]] = {}

    async def ask(self, site: str, mn: str, cn: str, params: Mapping[str, str | int], by: str | None = None) -> Outcome:
        """Have a command given; `not_connected` if no gateway gave it in time. Raises ValueError for an unknown command, Retry."""
        area_of(cn, params, "2017")
        key = secrets.token_hex(8)
        body = {"id": key, "mn": mn, "cn": cn, "params": dict(params), "at": format_time(self._clock())}
        body |= {} if by is None else {"by": by}
        future = self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            async with self._sending:
                record = Record(DEVICE_COMMANDS, site, -1, JSON, orjson.dumps(body))
                await asyncio.to_thread(self._sender.send, [record])
            answer = await asyncio.wait_for(future, ANSWER_S)
        except TimeoutError:
            return Outcome(mn, cn, "", fault="not_connected")
        finally:
            self._waiting.pop(key, None)
        return Outcome(mn, cn, answer.get("qn", ""), answer.get("qn_rtn"), answer.get("exe_rtn"), (), answer.get("fault", ""))

    async def listen(self, stopping: threading.Event) -> None:
        """Hear replies until cancelled; ends with Lost if the topic can't be read."""
        await hear(self._cluster, DEVICE_REPLIES, self._heard, stopping)

    def _heard(self, body: bytes) -> None:
        """Take a reply. A fault waits a while for a better one: a gateway may hold the broken end of a connection that moved on."""
        answer = orjson.loads(body)
        key = str(answer.get("id"))
        if answer.get("fault"):
            asyncio.get_running_loop().call_later(SECOND_S, self._settle, key, answer)
        else:
            self._settle(key, answer)

    def _settle(self, key: str, answer: Mapping[str, Any]) -> None:
        future = self._waiting.get(key)
        if future is not None and not future.done():
            future.set_result(answer)
