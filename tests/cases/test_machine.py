"""Random people and a random judge at one desk: whatever they do, in whatever order, the laws of the desk hold."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cases.clocks import SHELVE_LIMIT, parse_time
from cases.moves import ACTIONS, CLOSE_REASONS, MOVES, VERDICTS
from cases.people import ROLES
from connectors.core import Refused
from tests.cases.made import HOUR, Hand, alert, lead, outputs, ready

ROLE = st.sampled_from(sorted(ROLES))
NUMBER = st.integers(1, 3)
REASON = st.sampled_from(("", "检修", *CLOSE_REASONS, "other:x"))
WORDS = st.fixed_dictionaries(
    {}, optional={"assignee": st.just("甲"), "reason": st.just("因"), "verdict": st.sampled_from((*VERDICTS, "?")),
                  "finding": st.just("查"), "conclusion": st.just("完"), "text": st.just("文"), "version": st.integers(1, 4)},
)  # fmt: skip


class Machine(RuleBasedStateMachine):
    """The judge sends, people act, time passes."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(mkdtemp(prefix="desk"))
        self.clock = Hand()
        self.desk = ready(self.folder, self.clock)
        self.seq = 0
        self.done = self.desk.audit_verify().rows
        self.events = 0

    def send(self, body: dict[str, Any]) -> None:
        self.desk.project(outputs(body), self.seq)

    @rule(key=NUMBER, level=st.integers(1, 4), active=st.booleans(), gone=st.sampled_from((False, False, False, True)))
    def judge_alert(self, key: int, level: int, active: bool, gone: bool) -> None:
        self.seq += 1
        self.send(alert(f"a{key}", self.seq, at=self.clock.now, level=level, active=active, withdrawn=gone))

    @rule(key=NUMBER, level=st.integers(1, 4), auto=st.booleans(), on=st.sets(NUMBER))
    def judge_lead(self, key: int, level: int, auto: bool, on: set[int]) -> None:
        self.seq += 1
        self.send(lead(f"l{key}", self.seq, at=self.clock.now, level=level, auto_case=auto, alerts=[f"a{one}" for one in on]))

    def attempt(self, call: Any) -> None:
        """Do what a person wants; a refusal must leave no trace, a success exactly one audit row."""
        try:
            call()
        except Refused:
            return
        self.done += 1

    @rule(key=NUMBER, action=st.sampled_from(sorted(ACTIONS)), by=ROLE, reason=REASON, hours=st.integers(-1, 26))
    def act(self, key: int, action: str, by: str, reason: str, hours: int) -> None:
        until = self.clock.now + hours * HOUR
        self.attempt(lambda: self.desk.act(f"a{key}", action, by, reason=reason, until=until))

    @rule(key=NUMBER, by=ROLE)
    def open_case(self, key: int, by: str) -> None:
        if not any(one["lead_id"] == f"l{key}" for one in self.desk.cases()):
            self.attempt(lambda: self.desk.open_case(f"l{key}", by))

    @rule(key=NUMBER, by=ROLE, reason=st.sampled_from(("", "已查")))
    def dismiss(self, key: int, by: str, reason: str) -> None:
        self.attempt(lambda: self.desk.dismiss_lead(f"l{key}", by, reason))

    @rule(key=NUMBER, move=st.sampled_from(sorted(MOVES)), by=ROLE, words=WORDS)
    def move(self, key: int, move: str, by: str, words: dict[str, Any]) -> None:
        found = [one["id"] for one in self.desk.cases() if one["lead_id"] == f"l{key}"]
        self.attempt(lambda: self.desk.move(found[0] if found else "none", move, by, words))

    @rule(key=NUMBER)
    def push(self, key: int) -> None:
        """Take a case one step on, so that random walks reach its end."""
        for one in self.desk.cases():
            if one["lead_id"] == f"l{key}" and one["state"] != "closed":
                move, by = {"open": ("dispatch", "leader"), "dispatched": ("verify", "officer"), "verified": ("close", "leader")}[
                    one["state"]
                ]
                words = {"assignee": "甲", "verdict": "属实", "finding": "查", "conclusion": "完"}
                self.attempt(lambda case=one["id"], move=move, by=by, words=words: self.desk.move(case, move, by, words))

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        self.clock.now += hours * HOUR
        self.desk.tick()

    @invariant()
    def the_audit_has_one_row_a_change(self) -> None:
        assert self.desk.audit_verify() == (True, self.done, None)

    @invariant()
    def a_case_is_the_fold_of_its_events(self) -> None:
        rows = self.desk.cases()
        assert sorted(one["number"] for one in rows) == [f"案-2026-{k:06d}" for k in range(1, len(rows) + 1)]
        assert max(Counter(one["lead_id"] for one in rows).values(), default=1) == 1
        for one in rows:
            case = self.desk.case(one["id"])
            assert case is not None
            versions = [event["version"] for event in case["events"]]
            assert versions == list(range(1, case["version"] + 1))
            states = ["", *(event["after"] for event in case["events"])]
            assert [event["before"] for event in case["events"]] == states[:-1]
            assert case["state"] == states[-1]
            assert (case["state"] == "closed") == (case["closed"] is not None) == (case["conclusion"] is not None)
            assert (case["verdict"] is not None) == (case["state"] in ("verified", "closed"))
            assert (case["assignee"] is None) == (case["state"] == "open")
            assert (case["due"] is None) == (case["state"] == "closed")
            assert case["lead"]["state"] == "cased"

    @invariant()
    def an_alert_is_where_its_ledger_left_it(self) -> None:
        for one in self.desk.alerts():
            assert (one["due"] is None) == (one["state"] in ("closed", "withdrawn"))
            assert (one["shelved_until"] is not None) == (one["state"] == "shelved")
            if one["shelved_until"]:
                assert self.clock.now < parse_time(one["shelved_until"]) <= self.clock.now + SHELVE_LIMIT
            if one["state"] in ("acked", "shelved", "closed"):
                found = self.desk.alert(one["id"])
                assert found is not None
                assert found["actions"][-1]["after"] == one["state"]
                assert (one["close_reason"] is not None) == (one["state"] == "closed")

    @invariant()
    def counts_agree_with_the_lists_and_events_have_no_gap(self) -> None:
        counts, rows = self.desk.counts(), self.desk.alerts()
        assert counts["unhandled"] == sum(one["state"] == "open" for one in rows)
        assert counts["overdue"] == sum(one["state"] == "open" and one["overdue"] for one in rows)
        assert counts["leads"] == len(self.desk.leads(state="open"))
        assert sum(counts["cases"].values()) == len(self.desk.cases())
        new = [one["id"] for one in self.desk.events_since(self.events)]
        assert new == list(range(self.events + 1, self.desk.last_event_id() + 1))
        self.events = self.desk.last_event_id()

    def teardown(self) -> None:
        self.desk.close()
        shutil.rmtree(self.folder)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=8, stateful_step_count=25, deadline=None)
