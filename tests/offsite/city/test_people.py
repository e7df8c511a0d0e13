"""The people: from an alert to a closed case through the desk's interface, each in their own role."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit

import pytest

from cases.moves import MOVES
from offsite.city.api import Api
from offsite.city.people import CASE_STEPS, People, draw
from offsite.city.reports import rfc3339
from offsite.city.tables import DAY_MS, HOUR_MS, PEOPLE

ROLE = {p.person: p.role for p in PEOPLE}


class FakeDesk:
    """Alerts, leads and cases in dictionaries, with the states and moves of the real table."""

    def __init__(self, clock):
        self.clock = clock
        self.alerts, self.leads, self.cases = {}, {}, {}
        self.log = []
        self.closed_to_all = False

    def alert(self, key, site, opened, *, level=2, active=True):
        row = {"id": key, "site": site, "level": level, "state": "open", "active": active}
        self.alerts[key] = row | {
            "opened": rfc3339(opened),
            "seen": rfc3339(opened),
            "closed": None if active else rfc3339(opened + HOUR_MS),
        }

    def lead(self, key, site, opened):
        self.leads[key] = {"id": key, "site": site, "state": "open", "opened": rfc3339(opened), "seen": rfc3339(opened)}

    def __call__(self, method, path, body, headers):
        parts = urlsplit(path)
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        what, *rest = parts.path.removeprefix("/api/v1/").split("/")
        if method == "GET":
            rows = [r for r in getattr(self, what).values() if self.fits(r, query)]
            return 200, {what: list(reversed(rows)), "next": None}
        if self.closed_to_all:
            return 409, {"detail": "somebody was faster"}
        return self.change(what, rest, body, headers["X-Offsite-Person"])

    @staticmethod
    def fits(row, query):
        wanted = {k: v for k, v in query.items() if k != "limit"}
        return all(str(row.get(k)).lower() == v for k, v in wanted.items())

    def change(self, what, rest, body, person):
        row = getattr(self, what)[rest[0]]
        self.log.append((what, rest[0], body.get("action") or body.get("move") or "open", ROLE[person]))
        if what == "alerts":
            row["state"] = {"ack": "acked", "close": "closed"}[body["action"]]
            row["reason"] = body.get("reason")
        elif what == "leads":
            row["state"] = "case"
            key = f"case-{rest[0]}"
            now = rfc3339(self.clock())
            self.cases[key] = {"id": key, "site": row["site"], "state": "open", "opened": now, "since": now, "said": {}}
        else:
            move = MOVES[body["move"]]
            assert row["state"] in move.before
            assert ROLE[person] in move.roles
            assert all(body["body"].get(f.name) for f in move.fields if f.required)
            assert all(body["body"][f.name] in f.choices for f in move.fields if f.choices)
            row |= {"state": move.to, "since": rfc3339(self.clock())}
            row["said"] |= body["body"]
        return 200, row


@pytest.fixture
def world(full_city, serve_web):
    """Run a job with the people at a fake desk; `now` is the virtual time in a list of one."""

    def run(prepare, until_ms, *, visitor=False, step=HOUR_MS // 2):
        now = [full_city.live_ms]
        desk = FakeDesk(lambda: now[0])
        prepare(desk)

        async def job(base):
            api = Api(base)
            people = People(full_city, api, lambda: now[0], visitor)
            while now[0] < until_ms:
                await people.look()
                now[0] += step
            api.close()
            return people

        with serve_web(desk) as base:
            return desk, asyncio.run(job(base))

    return run


def test_a_case_is_taken_to_its_end(full_city, world):
    fault = next(f for f in full_city.faults if f.id == "treatment-stopped-live")
    start = full_city.live_ms + HOUR_MS

    def prepare(desk):
        desk.alert("a1", fault.site, start, level=1)
        desk.lead("l1", fault.site, start)

    desk, people = world(prepare, start + 2 * DAY_MS)
    assert desk.cases["case-l1"]["state"] == "closed"
    assert desk.cases["case-l1"]["said"]["verdict"] == "属实"
    steps = [(action, role) for what, _, action, role in desk.log if what != "alerts"]
    assert steps == [("open", "shift_lead"), ("dispatch", "shift_lead"), ("verify", "officer"), ("close", "leader")]
    assert ("alerts", "a1", "ack", "operator") in desk.log
    assert desk.alerts["a1"]["state"] == "acked"  # the condition has not ended: nobody closes it
    assert people.decisions == len(desk.log)


def test_a_false_alarm_is_found_to_be_one(full_city, world):
    wrong = {f.site for f in full_city.faults} | {
        full_city.inventory.outlets[i].site for f in full_city.faults for i in f.outlets
    }
    quiet = next(s.site for s in full_city.inventory.sites if s.site not in wrong)

    def prepare(desk):
        desk.lead("l1", quiet, full_city.live_ms)
        desk.alert("a1", quiet, full_city.live_ms, active=False)

    desk, _ = world(prepare, full_city.live_ms + 2 * DAY_MS)
    assert desk.cases["case-l1"]["said"]["verdict"] == "不属实"
    assert (desk.alerts["a1"]["state"], desk.alerts["a1"]["reason"]) == ("closed", "规则误报")


def test_nobody_answers_before_a_plausible_time(full_city, world):
    desk, _ = world(lambda d: d.alert("a1", "S0001", full_city.live_ms, level=3), full_city.live_ms + 14 * 60_000, step=60_000)
    assert desk.log == []


def test_a_visitor_keeps_what_comes_in_live_operation(full_city, world):
    def prepare(desk):
        desk.alert("old", "S0001", full_city.live_ms - DAY_MS)
        desk.alert("new", "S0001", full_city.live_ms + 1000)
        desk.lead("new", "S0001", full_city.live_ms + 1000)

    desk, _ = world(prepare, full_city.live_ms + DAY_MS, visitor=True)
    assert desk.log == [("alerts", "old", "ack", "operator")]


def test_a_refused_decision_is_not_repeated_for_ever(full_city, world):
    def prepare(desk):
        desk.alert("a1", "S0001", full_city.live_ms)
        desk.closed_to_all = True

    _, people = world(prepare, full_city.live_ms + DAY_MS)
    assert people.refused == {"ack:a1": 3}
    assert people.decisions == 0


def test_a_desk_that_is_away_is_tried_again(full_city, serve_web, eventually):
    desk = FakeDesk(lambda: full_city.live_ms + DAY_MS)
    desk.alert("a1", "S0001", full_city.live_ms)
    failures = iter(range(7))

    def answer(*request):
        return desk(*request) if next(failures, None) is None else (503, {})

    async def job(base):
        stop = asyncio.Event()
        api = Api(base)
        people = People(full_city, api, desk.clock)
        working = asyncio.create_task(people.work(stop, pause=0.01))
        await eventually(lambda: people.decisions)
        stop.set()
        await working
        api.close()

    with serve_web(answer) as base:
        asyncio.run(asyncio.wait_for(job(base), 10))
    assert desk.alerts["a1"]["state"] == "acked"


def test_delays_are_fixed_by_the_key_and_stay_in_their_span():
    drawn = [draw(f"k{n}", (4, 20)) for n in range(300)]
    assert drawn == [draw(f"k{n}", (4, 20)) for n in range(300)]
    assert (min(drawn), max(drawn)) == (4, 20)


def test_the_steps_fit_the_real_table_and_staff():
    for state, step in CASE_STEPS.items():
        assert state in MOVES[step.move].before
        assert step.role in MOVES[step.move].roles
        assert any(p.role == step.role for p in PEOPLE)
