"""GA/T 1400-style push: a camera registers with Digest, keeps alive, and what it saw is durable before it hears 0."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.core import Refused, Retry
from connectors.gat1400_objects import LISTS, NOTIFIED, STILLS, TIMES, picture, read
from connectors.http import ingest_app
from connectors.http_keys import AnswerBook
from connectors.inputs import from_table
from connectors.stills import Stills
from connectors.table import TableFaults
from offsite.intake import decode
from offsite.settings import secret
from tests.connectors.doors import Kept, running, until
from tests.real.s3 import S3

CAMERA, SECOND, STRANGER = "33010000001310000001", "33010000001310000002", "33010000001310000009"
JPEG = b"\xff\xd8\xff\xe0" + b"picture" * 20
DATA = base64.b64encode(JPEG).decode()
PATHS = (*LISTS, "SubscribeNotifications")
WORDS = sorted(
    {word for names in LISTS.values() for word in names}
    | {*NOTIFIED, *TIMES, "SubscribeNotificationListObject", "SubscribeNotificationObject", "DeviceStatusList", "APEStatusObject"}
    | {
        "ImageInfo",
        "SubImageList",
        "SubImageInfoObject",
        "Data",
        "DeviceID",
        "ApeID",
        "StoragePath",
        "StorageUrl1",
        "TriggerTime",
    }
)
SHA = hashlib.sha256(JPEG).hexdigest()


@pytest.fixture
def table(tmp_path: Path) -> dict[str, Any]:
    for name in ("shared", "second"):
        (tmp_path / name).write_text(f"{name}-secret\n")
    return {
        "kind": "gat1400",
        "username": "platform",
        "password": f"file:{tmp_path}/shared",
        "stills": str(tmp_path / "stills"),
        "kinds": {"MotorVehicle": "vehicle_black_smoke"},
        "devices": {
            CAMERA: {"site": "S1", "point": "DA001", "kinds": {"Person": "intrusion"}},
            SECOND: {"site": "S2", "password": f"file:{tmp_path}/second"},
        },
    }


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def scene(
    kept: Kept, table: dict[str, Any], play: Callable[[httpx2.AsyncClient], Awaitable[None]], *, watched: bool = False
) -> None:
    async def run() -> None:
        library = from_table(table, "inputs[0]", kept.doors, secret)
        app = ingest_app(
            kept.accept, lambda _: None, decode=decode, answers=AnswerBook(":memory:", lambda: 0), more=[library.routes]
        )
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://offsite") as client:
            await (running(library.run(), lambda: play(client)) if watched else play(client))

    asyncio.run(run())


async def register(client: httpx2.AsyncClient, device: str = CAMERA, user: str = "platform", word: str = "shared-secret") -> Any:
    body = json.dumps({"RegisterObject": {"DeviceID": device}})
    return await client.post("/VIID/System/Register", content=body, auth=httpx2.DigestAuth(user, word))


def vehicle(number: int = 1, **more: Any) -> dict[str, Any]:
    still = {
        "ImageID": "i1",
        "Type": "01",
        "FileFormat": "Jpeg",
        "ShotTime": "20261125110000",
        "Data": DATA,
        "StoragePath": "http://c/1",
    }
    return {
        "MotorVehicleID": f"{number:048d}",
        "InfoKind": 1,
        "DeviceID": CAMERA,
        "PassTime": "20261125110000",
        "PlateNo": "浙A12345",
        "LeftTopX": 10,
        "SubImageList": {"SubImageInfoObject": [still]},
        **more,
    }


async def push(client: httpx2.AsyncClient, objects: list[dict[str, Any]], device: str = CAMERA) -> Any:
    body = json.dumps({"MotorVehicleListObject": {"MotorVehicleObject": objects}})
    headers = {"User-Identify": device, "Content-Type": "application/VIID+JSON;charset=UTF-8"}
    return await client.post("/VIID/MotorVehicles", content=body, headers=headers)


def events(kept: Kept) -> list[dict[str, Any]]:
    return [json.loads(batch.body) | {"topic": batch.topic} for batch in kept.batches]


def test_a_camera_registers_and_what_it_saw_becomes_an_event_with_its_still(
    kept: Kept, table: dict[str, Any], tmp_path: Path
) -> None:
    async def play(client: httpx2.AsyncClient) -> None:
        bare = await client.post("/VIID/System/Register", content=json.dumps({"RegisterObject": {"DeviceID": CAMERA}}))
        assert bare.status_code == 401
        assert bare.headers["www-authenticate"].startswith("Digest ")
        assert bare.json()["ResponseStatusObject"]["StatusCode"] == 4
        assert (await push(client, [vehicle()])).status_code == 401
        registered = (await register(client)).json()["ResponseStatusObject"]
        assert (registered["StatusCode"], registered["Id"], registered["LocalTime"]) == (0, CAMERA, "20261125110000")
        answer = await push(client, [vehicle(), vehicle(2)])
        statuses = answer.json()["ResponseStatusListObject"]["ResponseStatusObject"]
        assert [(s["StatusCode"], s["Id"], s["RequestURL"]) for s in statuses] == [
            (0, f"{n:048d}", "/VIID/MotorVehicles") for n in (1, 2)
        ]
        time = (await client.get("/VIID/System/Time")).json()["SystemTimeObject"]
        assert time["LocalTime"] == "20261125110000"

    scene(kept, table, play)
    first, second = events(kept)
    assert (first["kind"], first["site"], first["point"], first["topic"]) == (
        "vehicle_black_smoke",
        "S1",
        "DA001",
        "video-events",
    )
    assert first["start"] == "2026-11-25T11:00:00+08:00"
    body = first["body"]
    assert (body["still"], body["plate"], body["snapshot_uri"]) == (SHA, "浙A12345", "http://c/1")
    assert body["fields"]["LeftTopX"] == 10
    assert DATA not in json.dumps(body)
    assert first["id"] != second["id"]
    [still] = [p for p in (tmp_path / "stills").rglob("*") if p.is_file()]
    assert (still.name, still.read_bytes()) == (f"{SHA}.jpg", JPEG)


def test_nothing_is_confirmed_before_it_is_durable(kept: Kept, table: dict[str, Any]) -> None:
    async def play(client: httpx2.AsyncClient) -> None:
        await register(client)
        kept.errors = [Retry("disk full", after=9)]
        full = await push(client, [vehicle()])
        assert (full.status_code, full.headers["retry-after"]) == (503, "9")
        assert full.json()["ResponseStatusObject"]["StatusCode"] == 2
        assert (await push(client, [vehicle()])).status_code == 200

    scene(kept, table, play)
    assert len(events(kept)) == 1


def test_a_bad_object_is_named_and_the_others_are_kept(kept: Kept, table: dict[str, Any]) -> None:
    async def play(client: httpx2.AsyncClient) -> None:
        await register(client)
        broken = {"SubImageInfoObject": [{"Data": "!!!"}, {"Data": base64.b64encode(b"no picture").decode()}, {"Data": DATA}]}
        answer = await push(client, [vehicle(1, PassTime="yesterday", SubImageList={}), vehicle(2, SubImageList=broken)])
        statuses = answer.json()["ResponseStatusListObject"]["ResponseStatusObject"]
        assert [s["StatusCode"] for s in statuses] == [8, 0]
        assert "start" in statuses[0]["StatusString"]
        nothing = await client.post("/VIID/Faces", content=b"{}", headers={"User-Identify": CAMERA})
        assert (nothing.status_code, nothing.json()["ResponseStatusObject"]["StatusCode"]) == (400, 7)
        assert "FaceListObject" in nothing.json()["ResponseStatusObject"]["StatusString"]

    scene(kept, table, play)
    [event] = events(kept)
    assert (event["body"]["still"], len(event["body"]["still_faults"])) == (SHA, 2)
    assert [r.reason for r in kept.refused] == ["missing_field"]


def test_notifications_of_a_platform_for_many_devices(kept: Kept, table: dict[str, Any]) -> None:
    person = {"PersonID": "p1", "DeviceID": CAMERA, "PersonAppearTime": "20261125105900"}
    one = {
        "NotificationID": "n1",
        "TriggerTime": "20261125110000",
        "PersonObjectList": {"PersonObject": [person, {**person, "PersonID": "p2", "DeviceID": STRANGER}]},
        "DeviceStatusList": {"APEStatusObject": [{"ApeID": SECOND, "IsOnline": "2", "CurrentTime": "20261125105500"}]},
    }

    async def play(client: httpx2.AsyncClient) -> None:
        body = json.dumps({"SubscribeNotificationListObject": {"SubscribeNotificationObject": [one]}})
        auth = httpx2.DigestAuth("platform", "shared-secret")
        answer = await client.post("/VIID/SubscribeNotifications", content=body, auth=auth)
        [status] = answer.json()["ResponseStatusListObject"]["ResponseStatusObject"]
        assert (status["StatusCode"], status["Id"]) == (0, "n1")

    scene(kept, table, play)
    assert [(e["kind"], e["site"], e["by"]) for e in events(kept)] == [
        ("intrusion", "S1", "gat1400:platform"),
        ("ai_linkage", STRANGER, "gat1400:platform"),
        ("stream_offline", "S2", "gat1400:platform"),
    ]


def test_images_carry_their_data_beside_their_description(kept: Kept, table: dict[str, Any]) -> None:
    image = {"ImageInfo": {"ImageID": "img1", "DeviceID": CAMERA, "ShotTime": "20261125110000", "Title": "站房"}, "Data": DATA}

    async def play(client: httpx2.AsyncClient) -> None:
        await register(client)
        body = json.dumps({"ImageListObject": {"Image": [image]}})
        assert (await client.post("/VIID/Images", content=body, headers={"User-Identify": CAMERA})).status_code == 200

    scene(kept, table, play)
    [event] = events(kept)
    assert (event["kind"], event["body"]["still"], event["body"]["fields"]["Title"]) == ("ai_linkage", SHA, "站房")


def test_a_device_speaks_for_itself_only_and_not_for_ever(kept: Kept, table: dict[str, Any]) -> None:
    alive = json.dumps({"KeepaliveObject": {"DeviceID": SECOND}})

    async def play(client: httpx2.AsyncClient) -> None:
        assert (await register(client, SECOND, SECOND, "wrong")).status_code == 401
        assert (await register(client, CAMERA, SECOND, "second-secret")).status_code == 403
        assert (await register(client, SECOND, SECOND, "second-secret")).status_code == 200
        identity = {"User-Identify": SECOND}
        for _ in range(3):
            kept.now += 170_000
            assert (await client.post("/VIID/System/Keepalive", content=alive, headers=identity)).status_code == 200
        kept.now += 181_000
        assert (await client.post("/VIID/System/Keepalive", content=alive, headers=identity)).status_code == 401
        assert (await register(client, SECOND, SECOND, "second-secret")).status_code == 200
        gone = json.dumps({"UnRegisterObject": {"DeviceID": SECOND}})
        assert (await client.post("/VIID/System/UnRegister", content=gone, headers=identity)).status_code == 200
        assert (await client.post("/VIID/System/Keepalive", content=alive, headers=identity)).status_code == 401

    scene(kept, table, play)


def test_a_camera_that_falls_silent_is_an_event_and_so_is_its_return(kept: Kept, table: dict[str, Any]) -> None:
    async def play(client: httpx2.AsyncClient) -> None:
        await register(client, SECOND, SECOND, "second-secret")
        kept.now += 599_000
        await asyncio.sleep(1.1)
        assert not kept.batches
        kept.now += 2_000
        await until(lambda: len(kept.batches) == 1)
        await register(client, SECOND, SECOND, "second-secret")
        assert len(kept.batches) == 2

    scene(kept, table, play, watched=True)
    assert [(e["kind"], e["site"], e["start"]) for e in events(kept)] == [
        ("stream_offline", "S2", "2026-11-25T11:00:00+08:00"),
        ("stream_online", "S2", "2026-11-25T11:10:01+08:00"),
    ]


def test_stills_are_bounded_and_kept_once(tmp_path: Path) -> None:
    stills = Stills(str(tmp_path / "s"), largest=200)
    assert stills.put(JPEG) == stills.put(JPEG) == SHA
    with pytest.raises(Refused, match="at most 200"):
        stills.put(JPEG + b"x" * 200)
    with pytest.raises(Refused, match="JPEG"):
        stills.put(b"<svg/>")
    assert len([p for p in (tmp_path / "s").rglob("*") if p.is_file()]) == 1
    memory = Stills("memory://stills")
    assert memory.put(JPEG) == SHA
    found = read("MotorVehicles", json.dumps({"MotorVehicleListObject": {"MotorVehicleObject": vehicle()}}).encode())
    assert len(found.objects) == 1
    many = vehicle(SubImageList={"SubImageInfoObject": [{"Data": DATA}] * (STILLS + 3)})
    [(_, seen)] = read("MotorVehicles", json.dumps({"MotorVehicleListObject": {"MotorVehicleObject": [many]}}).encode()).objects
    assert (len(seen.stills), seen.left_out) == (STILLS, 3)


def test_every_fault_of_the_settings_is_named(kept: Kept, table: dict[str, Any]) -> None:
    wrong = {
        **table,
        "password": "hunter2",
        "kinds": {"Horse": "intrusion"},
        "alive_s": 1,
        "devices": {CAMERA: {"point": "x", "sit": 1}},
    }
    with pytest.raises(TableFaults) as caught:
        from_table(wrong, "inputs[0]", kept.doors, secret)
    keys = {fault.partition(":")[0] for fault in caught.value.faults}
    place = "inputs[0]"
    device = f"{place}.devices.{CAMERA}"
    assert keys == {f"{place}.password", f"{place}.kinds.Horse", f"{place}.alive_s", f"{device}.site", f"{device}.sit"}


@pytest.mark.servers
def test_stills_on_a_store_that_speaks_s3(s3: S3) -> None:
    stills = Stills(s3.bucket(), s3.options)
    assert stills.put(JPEG) == stills.put(JPEG) == SHA
    s3.stop()
    try:
        with pytest.raises(Retry):
            stills.put(JPEG + b"more")
    finally:
        s3.start()
    assert stills.put(JPEG + b"more") == hashlib.sha256(JPEG + b"more").hexdigest()


JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=6),
    max_leaves=30,
)


@given(body=st.dictionaries(st.sampled_from(WORDS), JSONS, max_size=3) | JSONS, path=st.sampled_from(PATHS))
def test_no_body_raises_anything_but_refused(body: Any, path: str) -> None:
    try:
        found = read(path, json.dumps(body).encode("utf-8", "surrogatepass"))
    except Refused:
        return
    for _, seen in found.objects:
        assert all(isinstance(text, str) for text in (seen.id, seen.device, seen.time, *seen.stills, *seen.urls))
        json.dumps(dict(seen.fields))
        for text in seen.stills:
            with suppress(Refused):
                picture(text)
