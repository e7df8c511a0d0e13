"""Letters of the product to a real mail server: to whom the rules say, once, through quiet hours, floods, absences and kill -9."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cases.clocks import parse_time
from connectors.core import JSON
from connectors.outbound import Queue
from connectors.outbound_entries import Entry
from offsite.data_dir import now
from offsite.outputs import Outputs, faults, made, queue_url
from offsite.settings import Settings, load_settings
from tests.cases.made import alert, lead
from tests.conftest import ROOT
from tests.connectors.doors import until
from tests.connectors.outbound_process import Sender
from tests.real.smtp import SmtpServer

DUTY, BOSS = "duty@example.com", "boss@example.com"
CARDS = {"S1": {"name": "示例厂", "district": "510104"}, "S2": {"name": "邻居", "district": "510106"}}


def table(server: SmtpServer, *, rules: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    where = {"host": "127.0.0.1", "port": server.port, "security": "none", "from": "Offsite <offsite@example.com>"}
    return {"kind": "mail", "name": "mail", **where, "rules": rules or {"duty": {"to": [DUTY]}}, **more}


def clock(hour: str) -> Callable[[], int]:
    return lambda: parse_time(f"2026-11-24T{hour}:00+08:00")


@asynccontextmanager
async def running(tmp_path: Path, given: dict[str, Any], time: Callable[[], int] = now) -> AsyncIterator[Outputs]:
    outputs = Outputs(
        Settings(data=tmp_path, outputs=(given,)), time, owner="me", chance=Random(1), card=lambda s: CARDS.get(s, {})
    )
    for one in outputs.outputs:
        object.__setattr__(one.common, "backoff", (0.01, 0.05))
    task = asyncio.create_task(outputs.run())
    try:
        yield outputs
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        outputs.close()


async def offer(outputs: Outputs, *bodies: dict[str, Any]) -> None:
    for body in bodies:
        kind = "lead" if "window" in body else "case-event" if "subject" in body else "alert"
        await outputs.offer(kind, body["site"], body["seq"], json.dumps(body).encode())


def book(outputs: Outputs) -> dict[str, Any]:
    return outputs.queue.books().get("mail", {"queued": 0, "sent": 0, "refused": 0, "waiting": 0, "fault": None})


def subjects(server: SmtpServer, to: str = DUTY) -> list[str]:
    return [taken.message["Subject"] for taken in server.letters if taken.to == to]


def test_each_person_is_told_what_their_rules_say_once(tmp_path: Path, smtp: SmtpServer) -> None:
    rules = {
        "duty": {"to": [DUTY], "level": 3},
        "boss": {"to": [BOSS, DUTY], "level": 1, "send": ["alert"]},
        "north": {"to": ["north@example.com"], "districts": ["510106*"]},
    }
    bodies = [alert("a1", 9, level=1), alert("a2", 3, level=3, site="S2"), alert("a3", 10, level=4), lead("l1", 11, level=2)]

    async def scenario() -> None:
        async with running(tmp_path, table(smtp, rules=rules)) as outputs:
            for _ in range(2):
                await offer(outputs, *bodies)
            await until(lambda: book(outputs)["sent"] == 5)
            assert book(outputs)["queued"] == 5
            (answer,) = {row["answer"] for row in outputs.queue.log("mail")}
            assert answer == "250 2.0.0 queued as 17"

    asyncio.run(scenario())
    assert sorted(subjects(smtp)) == ["【Ⅰ级 红 告警】示例厂：超标", "【Ⅱ级 橙 线索】示例厂：超标", "【Ⅲ级 黄 告警】邻居：超标"]
    assert subjects(smtp, BOSS) == ["【Ⅰ级 红 告警】示例厂：超标"]
    assert subjects(smtp, "north@example.com") == ["【Ⅲ级 黄 告警】邻居：超标"]


def test_the_night_holds_what_can_wait_and_the_morning_tells_all_of_it(tmp_path: Path, smtp: SmtpServer) -> None:
    given = table(smtp, quiet="22:00-07:00", expire_hours=100)
    night = [alert(f"a{n}", n, level=3) for n in range(1, 6)] + [alert("red", 6, level=1)]

    async def scenario() -> None:
        async with running(tmp_path, given, clock("23:10")) as outputs:
            await offer(outputs, *night)
            held = lambda: [row["answer"] for row in outputs.queue.log("mail", state="waiting") if row["answer"]]
            await until(lambda: book(outputs)["sent"] and held())
            assert (book(outputs)["waiting"], held()) == (5, ["held until 07:00: quiet hours"])
        assert subjects(smtp) == ["【Ⅰ级 红 告警】示例厂：超标"]
        morning = lambda: parse_time("2026-11-25T07:00:01+08:00")
        async with running(tmp_path, given, morning) as outputs:
            await until(lambda: book(outputs)["sent"] == 6)

    asyncio.run(scenario())
    _, told = smtp.letters
    assert told.message["Subject"].startswith("【汇总】5 条：示例厂")
    assert "静默时段内到达" in told.part("plain")
    assert told.part("plain").count("超标") == 5


def test_a_flood_becomes_one_letter(tmp_path: Path, smtp: SmtpServer) -> None:
    time = [parse_time("2026-11-24T10:00:00+08:00")]

    async def scenario() -> None:
        async with running(tmp_path, table(smtp, most=2, per_minutes=10), lambda: time[0]) as outputs:
            await offer(outputs, alert("a1", 1))
            await until(lambda: book(outputs)["sent"] == 1)
            await offer(outputs, alert("a2", 2))
            await until(lambda: book(outputs)["sent"] == 2)
            await offer(outputs, *(alert(f"a{n}", n) for n in range(3, 300)))
            await until(lambda: book(outputs)["fault"])
            assert book(outputs)["fault"] == "held until 10:10: 2 letters in 10 min"
            assert len(smtp.letters) == 2
            time[0] += 600_001
            await until(lambda: book(outputs)["sent"] == 299)

    asyncio.run(scenario())
    counts = [re.findall(r"】(\d+) 条", subject) for subject in subjects(smtp)]
    assert counts == [[], [], ["200"], ["97"]]


def test_killed_between_the_servers_yes_and_writing_it_down(tmp_path: Path, smtp: SmtpServer) -> None:
    url = queue_url(Settings(data=tmp_path))
    queue = Queue(url)
    bodies = [alert(f"a{n}", n) for n in (1, 2)]
    queue.put("mail", [Entry("alert", DUTY, n, JSON, json.dumps(body).encode(), now(), "S1") for n, body in enumerate(bodies)])
    with Sender(url, table(smtp)) as sender:
        killed: list[bool] = []

        def answer(verb: str, _argument: str) -> str | None:
            if verb != "." or killed:
                return None
            killed.append(True)
            sender.kill()
            return ""

        smtp.answer = answer
        sender.again()
        assert sender.process.wait(60) == 0
    idents = [taken.message["Message-ID"] for taken in smtp.letters]
    assert idents == ["<alert.a1.1@example.com>", "<alert.a1.1@example.com>", "<alert.a2.2@example.com>"]
    assert smtp.letters[0].part("html") == smtp.letters[1].part("html")
    assert queue.books()["mail"]["sent"] == 2
    queue.close()


def test_a_server_that_was_away_gets_everything_and_one_person_delays_no_other(tmp_path: Path, smtp: SmtpServer) -> None:
    async def scenario() -> None:
        smtp.stop()
        async with running(tmp_path, table(smtp, rules={"all": {"to": [DUTY, BOSS]}})) as outputs:
            await offer(outputs, alert("a1", 1), alert("a2", 2))
            await until(lambda: book(outputs)["fault"])
            assert "not reached" in book(outputs)["fault"]
            smtp.answer = lambda verb, argument: "452 mailbox full" if verb == "RCPT" and BOSS in argument else None
            smtp.start()
            await until(lambda: book(outputs)["sent"] == 2)
            assert (subjects(smtp, BOSS), book(outputs)["waiting"]) == ([], 2)
            smtp.answer = lambda verb, argument: "550 no such user" if verb == "RCPT" and BOSS in argument else None
            await until(lambda: book(outputs)["refused"] == 2)
            assert len(subjects(smtp)) == 2
            smtp.answer = lambda verb, argument: None
            outputs.queue.again("mail")
            await until(lambda: book(outputs)["sent"] == 4)
            assert len(subjects(smtp, BOSS)) == 2

    asyncio.run(scenario())


def test_sites_whose_sequences_differ_are_all_told(tmp_path: Path, smtp: SmtpServer) -> None:
    async def scenario() -> None:
        async with running(tmp_path, table(smtp)) as outputs:
            await offer(
                outputs, alert("a1", 900), alert("b1", 1, site="S2"), alert("b2", 2, site="S2"), alert("b2", 2, site="S2")
            )
            await until(lambda: book(outputs)["sent"] == 3)
            assert book(outputs)["queued"] == 3

    asyncio.run(scenario())
    assert len({taken.message["Message-ID"] for taken in smtp.letters}) == 3


def test_every_fault_of_a_table_is_named(tmp_path: Path, smtp: SmtpServer) -> None:
    wrong = table(smtp, quiet="22-7", desk="desk", most=0, rules={"a": {"to": ["nobody"], "send": ["fax"], "colour": 1}})
    found = [fault.split(":")[0].removeprefix("outputs[0].") for fault in faults(Settings(data=tmp_path, outputs=(wrong,)))]
    assert sorted(found) == ["desk", "most", "quiet", "rules.a.colour", "rules.a.send", "rules.a.to"]
    (none,) = faults(Settings(data=tmp_path, outputs=({**table(smtp), "rules": {}},)))
    assert "[outputs.rules.NAME]" in none
    (strange,) = faults(Settings(data=tmp_path, outputs=({"kind": "fax", "name": "f"},)))
    assert strange.endswith("known are webhook, kafka, hj212-relay, mail")


def test_the_example_loads_and_the_guide_has_every_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFSITE_MAIL_PASSWORD", "secret")
    (output,) = made(load_settings(ROOT / "deploy" / "examples" / "mail.toml", {}), now)
    assert output.common.name == "duty-mail"
    strange = {"kind": "mail", "name": "n", "no such key": 1, "rules": {"a": {"no such key": 1}}}
    told = faults(Settings(data=tmp_path, outputs=(strange,)))
    guide = (ROOT / "docs" / "outputs.md").read_text("utf-8")
    known = {key for fault in told if "no such key" in fault for key in fault.partition("known are ")[2].split(", ")}
    assert {"quiet", "districts", "start"} <= known
    assert [key for key in known if not re.search(rf"^\|[^|]*`{key}`", guide, re.MULTILINE)] == []
