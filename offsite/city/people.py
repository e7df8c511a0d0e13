"""The people of the city: they answer alerts and carry cases to their end through the desk's HTTP interface.

Each decision has a delay in virtual time and a content that follow from the thing's id, so a city of one seed behaves the same
whenever its people look. What they know is the truth of the scenario: a check finds 属实 where something was really wrong.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connectors.core import Clock
from offsite.city.api import Api
from offsite.city.model import City
from offsite.city.tables import HOUR_MS, MINUTE_MS, PEOPLE

ANSWER_MIN: Mapping[int, tuple[int, int]] = {1: (4, 20), 2: (8, 60), 3: (15, 180), 4: (30, 480)}
"""Virtual minutes until an alert is answered, from … to, by level (inside the response times of rules F.1)."""
CLOSE_MIN = (60, 360)
OPEN_CASE_MIN = (15, 120)


@dataclass(frozen=True, slots=True)
class CaseStep:
    """What follows a state of a case: the move, who makes it, the delay in virtual minutes from … to."""

    move: str
    role: str
    delay: tuple[int, int]


CASE_STEPS: Mapping[str, CaseStep] = {
    "open": CaseStep("dispatch", "shift_lead", (10, 60)),
    "dispatched": CaseStep("verify", "officer", (60, 240)),
    "verified": CaseStep("close", "leader", (30, 240)),
}
AT_ONCE = 20
"""Most decisions in one look at the desk."""


def draw(key: str, span: tuple[int, int]) -> int:
    """Return a number of [from, to] that is fixed by `key`."""
    share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / (1 << 48)
    return span[0] + int(share * (span[1] - span[0] + 1))


def instant(text: str | None) -> int:
    """Return ms UTC of an RFC 3339 time; 0 for none."""
    return int(datetime.fromisoformat(text).timestamp() * 1000) if text else 0


@dataclass(slots=True)
class People:
    """The staff at work. With `visitor` they finish what came before live operation and leave the rest to the user."""

    city: City
    api: Api
    clock: Clock
    visitor: bool = False
    decisions: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    """Decisions that the desk refused (somebody else was faster), by id: tried at most three times."""

    async def work(self, stop: asyncio.Event, *, pause: float = 1.0) -> None:
        """Look at the desk every `pause` seconds until `stop`; a desk that does not answer is tried again."""
        while not stop.is_set():
            try:
                await self.look()
            except OSError:
                await asyncio.sleep(pause)
            try:
                async with asyncio.timeout(pause):
                    await stop.wait()
            except TimeoutError:
                continue

    async def look(self) -> int:
        """Make every decision that is due, at most `AT_ONCE`; return how many."""
        before = self.decisions
        await self._alerts()
        await self._leads()
        await self._cases()
        return self.decisions - before

    def _due(self, row: Mapping[str, Any], since: str, key: str, span: tuple[int, int]) -> bool:
        """Tell whether the delay after the instant in column `since` is over, and the matter is not the visitor's."""
        start = instant(row.get(since) or row.get("opened"))
        mine = not self.visitor or instant(row.get("opened")) < self.city.live_ms
        tries = self.refused.get(key, 0)
        return mine and tries < 3 and self.clock() >= start + draw(key, span) * MINUTE_MS

    async def _alerts(self) -> None:
        """Acknowledge open alerts, and close acknowledged ones whose condition has ended."""
        for alert in (await self._rows("alerts", "state=open"))[:AT_ONCE]:
            if self._due(alert, "seen", f"ack:{alert['id']}", ANSWER_MIN[int(alert["level"])]):
                operator = _pick("operator", alert["id"])
                await self._say(f"ack:{alert['id']}", f"/api/v1/alerts/{alert['id']}/actions", {"action": "ack"}, operator)
        for alert in (await self._rows("alerts", "state=acked&active=false"))[:AT_ONCE]:
            key = f"close:{alert['id']}"
            if self._due(alert, "closed", key, CLOSE_MIN):
                body = {"action": "close", "reason": self._reason(alert)}
                await self._say(key, f"/api/v1/alerts/{alert['id']}/actions", body, _pick("shift_lead", alert["id"]))

    async def _leads(self) -> None:
        """Open a case for every open lead."""
        for lead in (await self._rows("leads", ""))[:AT_ONCE]:
            key = f"case:{lead['id']}"
            if lead.get("state", "open") == "open" and self._due(lead, "seen", key, OPEN_CASE_MIN):
                await self._say(key, f"/api/v1/leads/{lead['id']}/case", {}, _pick("shift_lead", lead["id"]))

    async def _cases(self) -> None:
        """Move every case one step on."""
        for state, step in CASE_STEPS.items():
            for case in (await self._rows("cases", f"state={state}"))[:AT_ONCE]:
                key = f"{step.move}:{case['id']}"
                if self._due(case, "since", key, step.delay):
                    body = {"move": step.move, "body": self._fields(step.move, case)}
                    await self._say(key, f"/api/v1/cases/{case['id']}/moves", body, _pick(step.role, case["id"]))

    def _fields(self, move: str, case: Mapping[str, Any]) -> dict[str, str]:
        if move == "dispatch":
            return {"assignee": "示例东区执法大队", "note": "请核查现场运行情况并反馈"}
        true = self.wrong(case)
        if move == "verify":
            finding = "现场核查，情况与平台线索一致" if true else "现场核查，设备运行正常，未发现线索所述情形"
            return {"verdict": "属实" if true else "不属实", "finding": finding}
        return {"conclusion": "移交立案，责令改正" if true else "核查不属实，办结"}

    def _reason(self, alert: Mapping[str, Any]) -> str:
        kinds = {f.kind for f in self._faults(alert)}
        if kinds & {"outage", "operator_outage"}:
            return "通讯中断"
        return "确认线索(移交)" if kinds else "规则误报"

    def wrong(self, row: Mapping[str, Any]) -> bool:
        """Tell whether something was really wrong at the site of an alert or case around the time it opened."""
        return bool(self._faults(row))

    def _faults(self, row: Mapping[str, Any]) -> list[Any]:
        opened = instant(row.get("opened"))
        here = [f for f in self.city.faults if f.site == row["site"] or self._touches(f.outlets, row["site"])]
        return [f for f in here if f.start - HOUR_MS <= opened <= f.end + 24 * HOUR_MS]

    def _touches(self, outlets: tuple[int, ...], site: str) -> bool:
        return any(self.city.inventory.outlets[index].site == site for index in outlets)

    async def _rows(self, what: str, query: str) -> list[dict[str, Any]]:
        """Return rows of the desk, oldest first; nothing while it answers with an error (it may still be starting)."""
        status, body = await self.api.get(f"/api/v1/{what}?limit=1000" + (f"&{query}" if query else ""))
        return list(reversed(body[what])) if status == 200 else []

    async def _say(self, key: str, path: str, body: dict[str, Any], person: str) -> None:
        status, _ = await self.api.post(path, body, person=person)
        if status >= 400:
            self.refused[key] = self.refused.get(key, 0) + 1
        else:
            self.decisions += 1


def _pick(role: str, key: str) -> str:
    """Return one of the persons of a role, fixed by `key`."""
    known = [p.person for p in PEOPLE if p.role == role]
    return known[draw(key, (0, len(known) - 1))]
