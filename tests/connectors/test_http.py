"""HTTP ingest: answered after durability, bounded in every direction, and every refusal says what to do."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
import zstandard

from connectors.core import Lost, Refused, Retry
from connectors.http import Batch, HttpLimits, Refusal, Scope, ingest_app
from connectors.http_keys import AnswerBook, Mismatch

GOOD = [{"site": "S1"}, {"site": "S2"}, {"site": "S1"}]
URL = "/api/v1/readings"


def decode(content_type: str, body: bytes, kind: str) -> tuple[list[Batch], list[Refusal]]:
    """A stand-in for the codecs: JSON arrays of {"site": …}; a row without a site is refused."""
    try:
        rows = json.loads(body)
    except ValueError as error:
        raise Refused(f"not JSON: {error}") from error
    sites = {row["site"]: None for row in rows if "site" in row}
    batches = [
        Batch(site, tuple(i for i, row in enumerate(rows) if row.get("site") == site), content_type, f"{kind}:{site}".encode())
        for site in sites
    ]
    return batches, [Refusal(i, "no_site", "name the site") for i, row in enumerate(rows) if "site" not in row]


class World:
    def __init__(self, limits: HttpLimits | None = None, path: Path | str = ":memory:") -> None:
        self.accepted: list[tuple[str, list[Batch], list[Refusal]]] = []
        self.errors: list[Exception] = []
        self.hold: asyncio.Event | None = None
        self.entered = asyncio.Event()
        self.now = 0
        self.answers = AnswerBook(path, lambda: self.now)
        self.app = ingest_app(self.accept, self.authenticate, decode=decode, answers=self.answers, limits=limits)

    async def accept(self, kind: str, batches: Sequence[Batch], refused: Sequence[Refusal]) -> None:
        self.entered.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.accepted.append((kind, list(batches), list(refused)))

    @staticmethod
    def authenticate(key: str) -> Scope | None:
        return {"all": Scope("all"), "s1": Scope("s1", frozenset({"S1"})), "s9": Scope("s9", frozenset({"S9"}))}.get(key)

    def client(self) -> httpx2.AsyncClient:
        headers = {"Authorization": "Bearer all", "Content-Type": "application/json"}
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app), base_url="http://offsite", headers=headers)


def scene(play: Callable[[World, httpx2.AsyncClient], Awaitable[None]], world: World | None = None) -> World:
    stage = world or World()

    async def run() -> None:
        async with stage.client() as client:
            await play(stage, client)

    asyncio.run(run())
    stage.answers.close()
    return stage


def is_problem(response: Any, status: int, words: str) -> bool:
    body = response.json()
    assert response.status_code == body["status"] == status, body
    assert response.headers["content-type"] == "application/problem+json"
    assert words in body["detail"], body
    return True


def test_rows_are_taken_by_site_and_the_bad_ones_named() -> None:
    async def play(world: World, client: httpx2.AsyncClient) -> None:
        response = await client.post(URL, content=json.dumps([*GOOD, {}]))
        assert response.status_code == 200
        assert response.json() == {"accepted": 3, "rejected": [{"row": 3, "reason": "no_site", "detail": "name the site"}]}
        [(kind, batches, refused)] = world.accepted
        assert (kind, [b.site for b in batches], [r.row for r in refused]) == ("readings", ["S1", "S2"], [3])
        assert (await client.post("/api/v1/events", content=json.dumps(GOOD))).json()["accepted"] == 3
        assert world.accepted[1][0] == "events"
        counters = world.app.state.counters
        assert (counters.rows, counters.rejected, counters.status) == ({"accepted": 6, "rejected": 1}, {"no_site": 1}, {200: 2})

    scene(play)


def test_the_answer_waits_for_durability() -> None:
    async def play(world: World, client: httpx2.AsyncClient) -> None:
        world.hold = asyncio.Event()
        posting = asyncio.ensure_future(client.post(URL, content=json.dumps(GOOD)))
        await world.entered.wait()
        await asyncio.sleep(0.02)
        assert not posting.done()
        world.hold.set()
        assert (await posting).status_code == 200

    scene(play)


@pytest.mark.parametrize("error", [Retry("disk full", after=7), Lost("the log is gone")])
def test_what_could_not_be_stored_is_503_and_says_when_to_come_back(error: Exception) -> None:
    async def play(world: World, client: httpx2.AsyncClient) -> None:
        world.errors = [error]
        response = await client.post(URL, content=json.dumps(GOOD), headers={"Idempotency-Key": "k"})
        assert is_problem(response, 503, "send it again")
        assert int(response.headers["retry-after"]) > 0
        assert (await client.post(URL, content=json.dumps(GOOD), headers={"Idempotency-Key": "k"})).status_code == 200

    scene(play)


def test_a_key_is_needed_in_either_header() -> None:
    async def play(world: World, client: httpx2.AsyncClient) -> None:
        for headers in ({"Authorization": ""}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic all"}):
            response = await client.post(URL, content="[]", headers=headers)
            assert is_problem(response, 401, "Authorization: Bearer KEY")
            assert response.headers["www-authenticate"] == "Bearer"
        assert (await client.post(URL, content="[]", headers={"Authorization": "", "X-API-Key": "all"})).status_code == 200
        assert world.accepted == []

    scene(play)


def test_a_scope_lets_through_its_own_sites_only() -> None:
    async def play(world: World, client: httpx2.AsyncClient) -> None:
        response = await client.post(URL, content=json.dumps(GOOD), headers={"Authorization": "Bearer s1"})
        assert response.json()["accepted"] == 2
        assert [(r["row"], r["reason"]) for r in response.json()["rejected"]] == [(1, "forbidden_site")]
        assert [b.site for b in world.accepted[0][1]] == ["S1"]
        assert is_problem(await client.post(URL, content=json.dumps(GOOD), headers={"Authorization": "Bearer s9"}), 403, "S1")
        assert len(world.accepted) == 1

    scene(play)


def test_other_types_paths_and_methods_are_refused_with_the_remedy() -> None:
    async def play(_: World, client: httpx2.AsyncClient) -> None:
        response = await client.post(URL, content="<a/>", headers={"Content-Type": "text/xml"})
        assert is_problem(response, 415, "application/x-ndjson")
        assert is_problem(await client.post(URL, content="[]", headers={"Content-Encoding": "br"}), 415, "gzip, zstd")
        assert is_problem(await client.get(URL), 405, "POST to /api/v1/readings")
        assert is_problem(await client.post("/nowhere", content="[]"), 404, "POST to /api/v1/readings")
        assert is_problem(await client.post(URL, content="{"), 422, "not JSON")

    scene(play)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_compressed_bodies_of_one_or_several_members_are_taken(pack: Callable[[bytes], bytes]) -> None:
    encoding = "gzip" if pack is gzip.compress else "zstd"

    async def play(world: World, client: httpx2.AsyncClient) -> None:
        body = json.dumps(GOOD).encode()
        response = await client.post(URL, content=pack(body[:10]) + pack(body[10:]), headers={"Content-Encoding": encoding})
        assert response.json() == {"accepted": 3, "rejected": []}
        broken = pack(body)[:-6]
        response = await client.post(URL, content=broken, headers={"Content-Encoding": encoding})
        assert response.status_code == 422
        assert len(world.accepted) == 1

    scene(play)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor(level=19).compress])
def test_a_bomb_is_refused_at_the_limit(pack: Callable[[bytes], bytes]) -> None:
    encoding = "gzip" if pack is gzip.compress else "zstd"
    bomb = pack(b" " * (64 << 20))
    assert len(bomb) < 100_000

    async def play(_: World, client: httpx2.AsyncClient) -> None:
        response = await client.post(URL, content=bomb, headers={"Content-Encoding": encoding})
        assert is_problem(response, 413, "inflated")

    scene(play, World(HttpLimits(inflated=1 << 20)))


def test_a_body_over_the_limit_is_refused_declared_or_not() -> None:
    async def play(_: World, client: httpx2.AsyncClient) -> None:
        assert is_problem(await client.post(URL, content=b" " * 2000), 413, "as sent")

        async def drip() -> Any:
            for _ in range(20):
                yield b" " * 100

        assert is_problem(await client.post(URL, content=drip()), 413, "several requests")

    scene(play, World(HttpLimits(body=1000)))


def test_a_body_that_dribbles_is_ended_by_time() -> None:
    async def play(_: World, client: httpx2.AsyncClient) -> None:
        async def drip() -> Any:
            yield b"["
            await asyncio.sleep(5)

        assert is_problem(await client.post(URL, content=drip()), 408, "send less at once")

    scene(play, World(HttpLimits(seconds=0.02)))


def test_a_caller_beyond_its_rate_waits_and_others_do_not() -> None:
    async def play(_: World, client: httpx2.AsyncClient) -> None:
        statuses = [(await client.post(URL, content="[]")).status_code for _ in range(4)]
        assert statuses == [200, 200, 429, 429]
        response = await client.post(URL, content="[]")
        assert is_problem(response, 429, "more rows into each request")
        assert response.headers["retry-after"]
        assert (await client.post(URL, content="[]", headers={"Authorization": "Bearer s1"})).status_code == 200

    scene(play, World(HttpLimits(rate=0.001, burst=2)))


def test_the_same_key_and_body_get_the_same_answer_even_after_a_restart(tmp_path: Path) -> None:
    async def play(world: World, client: httpx2.AsyncClient) -> None:
        body = json.dumps([*GOOD, {}])
        first = await client.post(URL, content=body, headers={"Idempotency-Key": "k1"})
        again = await client.post(URL, content=body, headers={"Idempotency-Key": "k1"})
        assert (again.status_code, again.content) == (200, first.content)
        assert len(world.accepted) <= 1
        assert is_problem(await client.post(URL, content="[]", headers={"Idempotency-Key": "k1"}), 422, "use a new key")
        other = await client.post("/api/v1/events", content=body, headers={"Idempotency-Key": "k1"})
        assert is_problem(other, 422, "use a new key")
        foreign = await client.post(URL, content=body, headers={"Idempotency-Key": "k1", "Authorization": "Bearer s1"})
        assert foreign.json()["accepted"] == 2
        assert is_problem(await client.post(URL, content="[]", headers={"Idempotency-Key": "k" * 256}), 422, "255")

    first = scene(play, World(path=tmp_path / "answers.sqlite"))
    assert len(first.accepted) == 2
    second = scene(play, World(path=tmp_path / "answers.sqlite"))
    assert second.accepted == []


def test_the_same_key_while_the_first_is_under_way_is_a_conflict() -> None:
    async def play(world: World, client: httpx2.AsyncClient) -> None:
        world.hold = asyncio.Event()
        posting = asyncio.ensure_future(client.post(URL, content=json.dumps(GOOD), headers={"Idempotency-Key": "k"}))
        await world.entered.wait()
        response = await client.post(URL, content=json.dumps(GOOD), headers={"Idempotency-Key": "k"})
        assert is_problem(response, 409, "ask again")
        world.hold.set()
        assert (await posting).status_code == 200

    scene(play)


def test_answers_are_dropped_by_age_and_number() -> None:
    now = [1_000_000]
    book = AnswerBook(":memory:", lambda: now[0], keep_ms=1000, keep_rows=3)

    def answered(key: str) -> bool:
        found = book.begin("me", key, b"d")
        book.leave("me", key)
        return found is not None

    for i in range(5):
        assert not answered(f"k{i}")
        book.finish("me", f"k{i}", b"d", 200, b"{}")
    assert [answered(f"k{i}") for i in range(5)] == [False, False, True, True, True]
    with pytest.raises(Mismatch):
        book.begin("me", "k4", b"other")
    now[0] += 1000
    assert not answered("k4")
    book.finish("me", "new", b"d", 200, b"{}")
    assert book._table.execute("SELECT count(*) FROM answers").fetchone() == (1,)
    book.close()
