"""GA/T 1400-style view library: cameras and their platforms register, stay alive, and push what they saw, stills included.

Enters, on the ingest port: `/VIID/System/{Register,UnRegister,Keepalive,Time}`, `/VIID/{Faces,Images,MotorVehicles,
NonMotorVehicles,Persons}` and `/VIID/SubscribeNotifications`. Leaves: events of topic `video-events` with the site and point of
their device, and stills kept by hash. StatusCode 0 is answered only once still and event are durable (promise 1); an object that
can't be used is named in the answer and put aside, the others are kept.

It is the part of GA/T 1400 (parts 3 and 4, 2017) that a monitoring centre needs, as public descriptions and devices show it; it
is not a certified view library: no queries, no subscriptions of its own, no forwarding.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from connectors.accept import Doors, InputCounters, Message, Refusal, patiently, read
from connectors.core import NDJSON, Refused
from connectors.digest import Digest
from connectors.gat1400_objects import CST, KINDS, LISTS, Seen, picture
from connectors.gat1400_objects import read as read_objects
from connectors.http import Ingest
from connectors.http_body import Problem, inflate
from connectors.stills import LARGEST, Stills
from connectors.table import Table

MEDIA = "application/VIID+JSON;charset=UTF-8"
BODY = 32 << 20
"""Bytes of one request: stills travel inside it."""
REALM = "viid"
OK, BUSY, INVALID_OPERATION, INVALID_FORM, INVALID_CONTENT = 0, 2, 4, 7, 8
STATUS = {
    OK: "正常",
    BUSY: "设备忙",
    INVALID_OPERATION: "无效操作",
    INVALID_FORM: "JSON格式无效",
    INVALID_CONTENT: "JSON内容无效",
}
"""StatusCode → StatusString (GA/T 1400.3, ConfirmStatusType)."""
OF_HTTP = {400: INVALID_FORM, 413: INVALID_CONTENT, 422: INVALID_FORM, 503: BUSY}
"""HTTP status of a problem → StatusCode; every other is an invalid operation."""
SEEN_AS = "ai_linkage"
"""Kind of an event whose object has no kind in the settings: something was seen, and nobody has said what it means."""
ONLINE = {"1": "stream_online", "2": "stream_offline", "9": "stream_offline"}
"""IsOnline of a device's status → kind (GA/T 1400.3, StatusType: 1 online, 2 offline, 9 other)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a device looks: its site and point, and kinds of its own (`MotorVehicle` → `illegal_dump`)."""

    site: str
    point: str = ""
    kinds: Mapping[str, str] = field(default_factory=dict)


class ViewLibrary:
    """The input; made from a table `kind = "gat1400"`. `users`: user → password; a device's user is its DeviceID or a shared one."""

    def __init__(
        self,
        name: str,
        doors: Doors,
        stills: Stills,
        *,
        users: Mapping[str, str],
        devices: Mapping[str, Place],
        kinds: Mapping[str, str],
        server_id: str,
        alive_s: float = 180.0,
        offline_s: float = 600.0,
        as_text: bool = False,
    ) -> None:
        self.name, self.counters = name, InputCounters("listening")
        self._doors, self._stills, self._users, self._devices, self._kinds = doors, stills, users, devices, kinds
        self._server_id, self._alive, self._offline, self._as_text = server_id, alive_s * 1_000, offline_s * 1_000, as_text
        self._digest = Digest(REALM, secrets.token_bytes(32))
        self._registered: dict[str, tuple[str, int]] = {}
        self._heard: dict[str, int] = dict.fromkeys(devices.keys() & users.keys(), doors.clock())
        self._silent: set[str] = set()

    @staticmethod
    def from_table(table: Table, name: str, doors: Doors) -> ViewLibrary:
        """Make it from its settings. Raises TableFaults."""
        shared, password = table.text("username", ""), table.secret("password").decode("utf-8", "replace")
        users = {shared: password} if shared else {}
        devices: dict[str, Place] = {}
        for device, one in table.tables("devices").items():
            devices[device] = Place(one.text("site"), one.text("point", ""), one.mapping("kinds"))
            own = one.secret("password").decode("utf-8", "replace")
            if own:
                users[device] = own
            elif not shared:
                one.fault("password", "is missing, and there is no username for all; give one of the two")
        if not users:
            table.fault("username", "is missing; give username and password, or a password for each device")
        if shared and not password:
            table.fault("password", "is missing; give a reference, env:NAME or file:PATH")
        kinds = table.mapping("kinds")
        for key in [key for key in kinds if key not in KINDS]:
            table.fault(f"kinds.{key}", f"is no object; known are {', '.join(KINDS)}")
        stills = Stills(
            table.text("stills", str(doors.state / "stills")),
            table.options("stills_options"),
            largest=table.whole("largest_still_kb", LARGEST >> 10, 16, 16_384) << 10,
        )
        library = partial(ViewLibrary, name, doors, stills, users=users, devices=devices, kinds=kinds)
        made = library(
            server_id=table.text("server_id", "00000000005030000001"),
            alive_s=table.number("alive_s", 180.0, 10.0, 86_400.0),
            offline_s=table.number("offline_s", 600.0, 10.0, 86_400.0),
            as_text=table.flag("status_as_text", default=False),
        )
        table.done()
        return made

    def routes(self, ingest: Ingest) -> Sequence[BaseRoute]:
        """Return the routes under `/VIID`."""

        def posted(path: str, take: Any) -> Route:
            async def answer(request: Request) -> Response:
                shape = partial(self._problem, request.url.path)
                return await ingest.answer(partial(take, ingest, request), shape)

            return Route(f"/VIID/{path}", answer, methods=["POST"])

        async def time(_request: Request) -> Response:
            now = {"VIIDServerID": self._server_id, "TimeMode": "1", "LocalTime": self._local(), "TimeZone": "Asia/Shanghai"}
            return Response(orjson.dumps({"SystemTimeObject": now}), media_type=MEDIA)

        return [
            Route("/VIID/System/Time", time, methods=["GET"]),
            *(posted(f"System/{verb}", partial(self._system, verb)) for verb in ("Register", "UnRegister", "Keepalive")),
            *(posted(path, partial(self._objects, path)) for path in (*LISTS, "SubscribeNotifications")),
        ]

    async def run(self) -> None:
        """Watch for devices that fall silent (rules V-01), until cancelled: those that speak for themselves, not for a platform."""
        while True:
            await asyncio.sleep(1.0)
            now = self._doors.clock()
            gone = [d for d, at in self._heard.items() if now - at > self._offline and d not in self._silent]
            for device in gone:
                self._silent.add(device)
                await patiently(partial(self._tell, device, "stream_offline", self._heard[device]), self.counters)

    async def _system(self, verb: str, ingest: Ingest, request: Request) -> Response:
        body = await ingest.body(request)
        try:
            parsed = orjson.loads(body)
            device = str(parsed[f"{verb}Object"]["DeviceID"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise Problem(400, "Not legible", f'send {{"{verb}Object":{{"DeviceID":"…"}}}}') from error
        who = self._proved(request) if verb == "Register" else self._who(request)
        if who not in {device, *self._shared()}:
            raise Problem(403, "Another device", f"{who} may not speak for {device}")
        if verb == "UnRegister":
            self._registered.pop(device, None)
        else:
            await self._hear(device, request)
        return self._status([self._object(request.url.path, OK, device)], alone=True)

    async def _objects(self, path: str, ingest: Ingest, request: Request) -> Response:
        who = self._who(request)
        sent = await ingest.body(request, BODY)
        body = inflate(sent, request.headers.get("content-encoding", ""), BODY)
        await self._hear(who, request)
        try:
            found = await asyncio.to_thread(read_objects, path, body)
        except Refused as error:
            raise Problem(400, "Not legible", str(error)) from error
        told: dict[str, str] = {}
        rows: list[dict[str, Any]] = []
        for notification, seen in found.objects:
            rows.append(await asyncio.to_thread(self._event, seen, who, notification))
        for refusal in await self._take(rows):
            notification, seen = found.objects[refusal.row]
            told[notification or seen.id] = refusal.detail
        names = found.notifications or [seen.id for _, seen in found.objects]
        url = request.url.path
        objects = [self._object(url, INVALID_CONTENT if n in told else OK, n, told.get(n, "")) for n in names]
        return self._status(objects, alone=False)

    async def _take(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Refusal]:
        """Make events durable; return what was refused. Raises Retry or Lost: the device sends them again."""
        if not rows:
            return []
        message = Message(NDJSON, b"\n".join(orjson.dumps(row) for row in rows))
        batches, refused = read(self._doors.decode, message, "events")
        await self._doors.accept("events", batches, refused)
        self.counters.messages += 1
        self.counters.rows.update(accepted=len(rows) - len(refused), rejected=len(refused))
        self.counters.rejected.update(refusal.reason for refusal in refused)
        return refused

    def _event(self, seen: Seen, who: str, notification: str) -> dict[str, Any]:
        """Return the event of an object, its stills kept. Raises Retry if they can't be."""
        device = seen.device or who
        place = self._devices.get(device) or Place(device)
        kind = place.kinds.get(seen.what) or self._kinds.get(seen.what, SEEN_AS)
        if seen.what == "DeviceStatus":
            kind = ONLINE.get(str(seen.fields.get("IsOnline")), "stream_offline")
        kept: list[str] = []
        faults: list[str] = [f"{seen.left_out} more stills left out"] if seen.left_out else []
        for text in seen.stills:
            try:
                kept.append(self._stills.put(picture(text)))
            except Refused as error:
                faults.append(str(error))
        plate = seen.fields.get("PlateNo")
        body = {
            "object": seen.what,
            "device": device,
            "channel_id": device,
            "still": kept[0] if kept else None,
            "stills": kept[1:],
            "still_faults": faults,
            "snapshot_uri": seen.urls[0] if seen.urls else None,
            "plate": plate if isinstance(plate, str) else None,
            "notification": notification,
            "fields": seen.fields,
        }
        named = f"gat1400-{device}-{seen.id}" if seen.id else None
        whole = {"id": named, "kind": kind, "site": place.site, "point": place.point, "start": seen.time, "by": f"gat1400:{who}"}
        return {k: v for k, v in {**whole, "body": {k: v for k, v in body.items() if v}}.items() if v}

    async def _tell(self, device: str, kind: str, at: int) -> None:
        """Make an event of our own about a device: `at` (ms UTC) is when it was heard last, or again."""
        place = self._devices[device]
        start = datetime.fromtimestamp(at / 1_000, CST).isoformat()
        body = {"channel_id": device, "device": device}
        row = {"kind": kind, "site": place.site, "point": place.point, "start": start, "by": f"gat1400:{self.name}", "body": body}
        await self._take([{k: v for k, v in row.items() if v}])

    def _who(self, request: Request) -> str:
        """Return the device that asks: registered from this address and alive, or proved by Digest. Raises Problem 401."""
        device = request.headers.get("user-identify", "")
        address, heard = self._registered.get(device, ("", 0))
        if address == _address(request) and self._doors.clock() - heard <= self._alive:
            return device
        return self._proved(request)

    def _proved(self, request: Request) -> str:
        header = request.headers.get("authorization", "")
        now = self._doors.clock()
        user = self._digest.user(header, request.method, self._users.get, now)
        if user is None:
            challenge = {"WWW-Authenticate": self._digest.challenge(now, stale=bool(header))}
            raise Problem(401, "Not registered", "register first, with Digest authentication", challenge)
        return user

    def _shared(self) -> set[str]:
        """Return the users that may speak for any device."""
        return self._users.keys() - self._devices.keys()

    async def _hear(self, device: str, request: Request) -> None:
        """Note that a device is alive."""
        now = self._doors.clock()
        self._registered[device] = (_address(request), now)
        if device in self._devices:
            self._heard[device] = now
            if device in self._silent:
                await self._tell(device, "stream_online", now)
                self._silent.discard(device)

    def _object(self, url: str, code: int, name: str, words: str = "") -> dict[str, Any]:
        status = {"RequestURL": url, "StatusCode": str(code) if self._as_text else code, "StatusString": words or STATUS[code]}
        return {**status, "Id": name, "LocalTime": self._local()}

    def _status(self, objects: list[dict[str, Any]], *, alone: bool, code: int = 200) -> Response:
        body = {"ResponseStatusObject": objects[0]} if alone else {"ResponseStatusListObject": {"ResponseStatusObject": objects}}
        return Response(orjson.dumps(body), code, media_type=MEDIA)

    def _problem(self, url: str, problem: Problem) -> Response:
        code = OF_HTTP.get(problem.status, INVALID_OPERATION)
        response = self._status([self._object(url, code, "", problem.detail)], alone=True, code=problem.status)
        response.headers.update(problem.headers)
        return response

    def _local(self) -> str:
        return datetime.fromtimestamp(self._doors.clock() / 1_000, CST).strftime("%Y%m%d%H%M%S")


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
