"""The objects of a GA/T 1400-style message, found and read: a request's JSON enters, `Seen` objects leave, in order.

Only what a monitoring centre needs of GA/T 1400.3: which device saw what and when, the plate, and the stills. Every other plain
field is kept as it came. Nothing that a device sends raises but Refused for a body without any known list (promise 4).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import orjson

from connectors.core import Refused

CST = timezone(timedelta(hours=8))
LISTS: Mapping[str, tuple[str, str, str]] = {
    "Faces": ("FaceListObject", "FaceObject", "FaceID"),
    "Images": ("ImageListObject", "Image", "ImageID"),
    "MotorVehicles": ("MotorVehicleListObject", "MotorVehicleObject", "MotorVehicleID"),
    "NonMotorVehicles": ("NonMotorVehicleListObject", "NonMotorVehicleObject", "NonMotorVehicleID"),
    "Persons": ("PersonListObject", "PersonObject", "PersonID"),
}
"""Path under `/VIID/` → (list, object, identifier) in its body."""
KINDS: Mapping[str, str] = {name.removesuffix("s"): name for name in LISTS}
"""What an object is called in the settings → where it is sent."""
NOTIFIED: Mapping[str, str] = {
    "FaceObjectList": "Faces",
    "ImageInfoObjectList": "Images",
    "MotorVehicleObjectList": "MotorVehicles",
    "NonMotorVehicleObjectList": "NonMotorVehicles",
    "PersonObjectList": "Persons",
}
"""List inside a notification → its kind."""
TIMES = (
    "PassTime",
    "PersonAppearTime",
    "FaceAppearTime",
    "AppearTime",
    "ShotTime",
    "LocationMarkTime",
    "MarkTime",
    "CurrentTime",
)
"""Fields that say when, the first that is there."""
STILLS = 16
"""Stills of one object; more are left out and counted in the event."""
TEXT = 1_024
"""Characters of a plain field that are kept."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One object: `what` (MotorVehicle, Person, …, DeviceStatus), its identifier and device, `time` RFC 3339 ("" if unreadable).

    `fields`: its plain fields · `stills`: base64 texts · `urls`: pictures it only points at · `left_out`: stills beyond STILLS.
    """

    what: str
    id: str
    device: str
    time: str
    fields: Mapping[str, Any]
    stills: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    left_out: int = 0


@dataclass(slots=True)
class Found:
    """What a body holds: objects, and the notification they came in ("" for none)."""

    objects: list[tuple[str, Seen]] = field(default_factory=list)
    notifications: list[str] = field(default_factory=list)


def read(path: str, body: bytes) -> Found:
    """Read the body posted to `/VIID/{path}`. Raises Refused if it is no JSON or holds no such list."""
    try:
        parsed = orjson.loads(body.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise Refused(f"the body is not JSON ({error}); send it as UTF-8") from error
    found = Found()
    if path == "SubscribeNotifications":
        for one in _items(parsed, "SubscribeNotificationListObject", "SubscribeNotificationObject"):
            notification = _text(one.get("NotificationID"))
            found.notifications.append(notification)
            found.objects += [(notification, seen) for seen in _of_notification(one)]
    else:
        outer, inner, _ = LISTS[path]
        found.objects += [("", _seen(path, item)) for item in _items(parsed, outer, inner)]
    return found


def _items(parsed: Any, outer: str, inner: str) -> list[Mapping[str, Any]]:
    """Return the objects of a list; one alone may stand without its array."""
    held = parsed.get(outer) if isinstance(parsed, Mapping) else None
    items = held.get(inner) if isinstance(held, Mapping) else None
    items = [items] if isinstance(items, Mapping) else items
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise Refused(f"the body has no {outer}.{inner}; send a list of objects there")
    return items


def _of_notification(one: Mapping[str, Any]) -> Iterator[Seen]:
    for name, path in NOTIFIED.items():
        if one.get(name):
            yield from (_seen(path, item) for item in _items(one, name, LISTS[path][1]))
    status = one.get("DeviceStatusList")
    if status:
        wrapped = {"DeviceStatusList": {"APEStatusObject": status} if isinstance(status, list) else status}
        for item in _items(wrapped, "DeviceStatusList", "APEStatusObject"):
            device = _text(item.get("ApeID"))
            yield Seen("DeviceStatus", "", device, _time(item, one.get("TriggerTime")), _plain(item))


def _seen(path: str, item: Mapping[str, Any]) -> Seen:
    inner = item.get("ImageInfo")
    info = {**item, **inner} if isinstance(inner, Mapping) else item
    pictures = info.get("SubImageList")
    subs = pictures.get("SubImageInfoObject") if isinstance(pictures, Mapping) else []
    subs = [sub for sub in (subs if isinstance(subs, list) else [subs]) if isinstance(sub, Mapping)]
    carriers = [*([item] if item.get("Data") else []), *subs]
    stills = [carrier["Data"] for carrier in carriers if isinstance(carrier.get("Data"), str) and carrier["Data"]]
    urls = [_text(sub.get("StoragePath")) for sub in subs] + [_text(info.get(f"StorageUrl{n}")) for n in range(1, 6)]
    device = next((text for source in (info, *subs) if (text := _text(source.get("DeviceID")))), "")
    time = _time(info, *(sub.get("ShotTime") for sub in subs))
    shown = tuple(dict.fromkeys(url for url in urls if url))
    identifier = _text(info.get(LISTS[path][2]))
    return Seen(
        path.removesuffix("s"), identifier, device, time, _plain(info), tuple(stills[:STILLS]), shown, len(stills[STILLS:])
    )


def _time(item: Mapping[str, Any], *others: Any) -> str:
    """Return the first time there is, `yyyyMMddHHmmss` (GA/T 1400.3, dateTime) in China Standard Time, as RFC 3339."""
    for text in (*(item.get(name) for name in TIMES), *others):
        if isinstance(text, str) and text:
            try:
                return datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=CST).isoformat()
            except ValueError:
                continue
    return ""


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value[:TEXT] if isinstance(value, str) else value for name, value in item.items() if name != "Data"}
    return {name: value for name, value in kept.items() if isinstance(value, str | int | float) and value != ""}


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def picture(text: str) -> bytes:
    """Return the bytes of a base64 text. Raises Refused."""
    try:
        return base64.b64decode(text.partition("base64,")[2] or text, validate=False)
    except (binascii.Error, ValueError) as error:
        raise Refused(f"the still is no base64 ({error})") from error
