"""The plan: data, loaded into frozen dataclasses, every fault at once and with its path (design §3)."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from detectors.catalog import CATALOG
from streams.plan import PlanFaults, load_plan
from streams.plan.load import DEFAULT, FAMILIES
from tests.streams.driven import PLAN

RULE = """[[rules]]
id = "r"
detector = "limit"
family = "limits"
cadence = "hour"
zh = "z"
en = "e"
clause = "G-01"
"""


def load(tmp_path: Path, text: str):
    file = tmp_path / "plan.toml"
    file.write_text(text, encoding="utf-8")
    return load_plan(file)


def faults(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(PlanFaults) as caught:
        load(tmp_path, text)
    assert str(tmp_path / "plan.toml") in str(caught.value)
    return caught.value.faults


def test_the_packaged_plan_is_pinned_by_its_hash() -> None:
    assert PLAN.hash == hashlib.sha256(DEFAULT.read_bytes()).hexdigest()[:16]
    assert PLAN.version
    assert (PLAN.time.hour_close_min, PLAN.time.grace_min, PLAN.time.ahead_max_min) == (30, 10, 10)
    assert dataclasses.astuple(PLAN.validity) == (12, 0.75, 45, 20)
    assert dataclasses.astuple(PLAN.cross_site) == (0.3, 3)


def test_every_rule_names_a_detector_of_its_family_and_words_that_can_be_filled() -> None:
    words = dict.fromkeys(["factor", "observed", "expected", "limit", "unit", "multiple", "source", "minutes", "last"], "x")
    for rule in PLAN.rules:
        detector = CATALOG[rule.detector]
        assert detector.family == rule.family, rule.id
        assert detector.scope == rule.scope, rule.id
        assert rule.zh.format(**words)
        assert rule.en.format(**words)
        assert rule.basis
    for lead in PLAN.leads:
        assert lead.counts <= set(FAMILIES)
        assert lead.zh.format(families=2, n=3)
        assert lead.en.format(families=2, n=3)


def test_a_plan_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLAN.rules[0].enter = 2.0  # type: ignore[misc]


def test_what_is_left_out_has_the_default(tmp_path: Path) -> None:
    plan = load(tmp_path, RULE)
    assert plan.time == PLAN.time
    assert plan.validity == PLAN.validity
    [rule] = plan.rules
    assert (rule.enter, rule.exit, rule.hold, rule.levels) == (1.0, 1.0, 1, ((0.0, 4),))


def test_another_text_has_another_hash(tmp_path: Path) -> None:
    assert load(tmp_path, RULE).hash != load(tmp_path, RULE + "# a remark\n").hash


def test_all_faults_are_listed_at_once_each_with_its_path(tmp_path: Path) -> None:
    text = (
        RULE
        + RULE.replace('id = "r"', 'id = "q"').replace('"hour"', '"weekly"').replace('"limits"', '"gossip"')
        + "levels = [[1.0, 7]]\nhysteresis = 3\nwindow_of = { a = -1 }\n"
        + '[[rules]]\nid = "r"\n'
        + '[time]\ngrace_min = "ten"\nlunch_min = 30\n'
        + '[ranges]\na = [3, 1]\n[replay.limits]\nb = -4\n[[leads]]\ntype = "t"\nfamilies = 0\ncounts = ["rumour"]\nclause=""\nzh=""\nen=""\n'
    )
    found = faults(tmp_path, text)
    for start in (
        "rules[1].cadence: 'weekly' is not one of",
        "rules[1].family: 'gossip' is not one of",
        "rules[1].levels: must be pairs",
        "rules[1].hysteresis: unknown; known are",
        "rules[1].window_of.a: must be a number above 0",
        "rules[2].detector: is required",
        "rules[2].clause: is required",
        "rules: id 'r' is used twice",
        "time.grace_min: must be a number",
        "time.lunch_min: unknown; known are",
        "ranges.a: must be [low, high]",
        "replay.limits.b: must be a number above 0",
        "leads[0].families: must be a whole number from 1",
        "leads[0].counts: 'rumour' is not one of",
    ):
        assert any(fault.startswith(start) for fault in found), (start, found)


def test_a_plan_that_is_no_toml_says_so(tmp_path: Path) -> None:
    [fault] = faults(tmp_path, "rules = [")
    assert fault


@pytest.mark.parametrize(("factor", "minutes"), [("a21026", 60), ("w01018", 720), ("a01014", 1440), ("a01012", 60)])
def test_the_longest_prefix_decides_a_window(factor: str, minutes: float) -> None:
    assert PLAN.rule("constant").window(factor) == minutes


def test_exempt_beats_only() -> None:
    rule = dataclasses.replace(PLAN.rule("step"), only=frozenset({"a2"}), exempt=frozenset({"a21002"}))
    assert [rule.serves(f) for f in ("a21026", "a21002", "w01018")] == [True, False, False]
    constant = PLAN.rule("constant")
    assert [constant.serves(f) for f in ("a21026", "w01018", "w01001", "w00000", "d00001")] == [True, True, False, False, False]
